// Package archtest holds the rules of docs/ARCHITECTURE.md as tests: what may
// import what, what must be documented, and what no file may contain.
package archtest
