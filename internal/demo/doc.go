// Package demo tests what ./demo shows; the programs that it races are below.
package demo
