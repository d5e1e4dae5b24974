//go:build linux && amd64

package main

import (
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/bench/tables"
	"portcullis/internal/policy"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
	"portcullis/policies"
)

// readyPolicies times what becomes of each ready policy before it is installed: from YAML to
// instructions, which the bar is for, and from there to the program in front of the agent.
func readyPolicies(l *lab) error {
	for _, name := range policies.Names() {
		var compiled, whole []float64
		var n int
		for i := 0; i < l.rounds; i++ {
			start := time.Now()
			p, err := compilePolicy(name)
			if err != nil {
				return err
			}
			program := time.Now()
			if err := provePolicy(p); err != nil {
				return err
			}
			n = len(p.Insns)
			compiled, whole = append(compiled, elapsed(start, program)), append(whole, elapsed(start, time.Now()))
		}
		l.Row(name, millis(median(compiled)).AtMost(20), millis(median(whole)), tables.Value(float64(n), 0, "instructions"))
	}
	return nil
}

// compilePolicy makes a program of a ready policy.
func compilePolicy(name string) (*prog.Program, error) {
	text, _ := policies.Policy(name)
	m, err := policy.Load(name+".yaml", text, nil)
	if err != nil {
		return nil, err
	}
	return policy.Compile(m)
}

// provePolicy takes a program the rest of the way.
func provePolicy(p *prog.Program) error {
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		return err
	}
	t := split.Split(v)
	t.Ranges(abi.ArchX86_64)
	_, err = prefilter.Build([]*split.Tree{t}, prefilter.Options{})
	return err
}
