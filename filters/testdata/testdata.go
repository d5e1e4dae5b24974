// Package testdata holds the objects that the tests and benchmarks of both
// engines run, compiled from the C beside them.
package testdata

import _ "embed"

// Conformance is an object of many programs, one for each case of the
// conformance suite; its source says what each does.
//
//go:embed conformance/conformance.o
var Conformance []byte

// Bench is an object of the programs that benchmarks measure.
//
//go:embed bench/bench.o
var Bench []byte
