// Package absint is an abstract interpreter for eBPF: the value domains, the
// machine state, the checks that make an instruction safe, the one transfer
// function, and the path-sensitive exploration that package verify and package
// split are clients of.
//
// Check and Step are apart: Check says whether the instruction at hand is safe
// in a state, Step says what state follows. Step is total, it never fails, and
// over-approximates: whatever a concrete run can do from a state described by
// s, the states Step yields describe it. Everything else (joins, pruning,
// forgetting) only ever makes a state describe more runs.
package absint
