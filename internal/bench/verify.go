//go:build linux && amd64

package main

import (
	"math/rand"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// verifyAndSplit times the proof and the split of a filter of 4,000
// instructions: a chain of comparisons of the number and of arguments with
// arithmetic between them, as an allow-list with argument rules compiles to.
func verifyAndSplit(l *lab) error {
	p := &prog.Program{Name: "long", Insns: ladder(4000), Funcs: []prog.Func{{Name: "long"}}}
	var proof, parts []float64
	var v *verify.Verified
	for i := 0; i < l.rounds; i++ {
		start := time.Now()
		var err error
		if v, err = verify.Program(p, verify.Options{}); err != nil {
			return err
		}
		between := time.Now()
		split.Split(v).Ranges(abi.ArchX86_64) // what is asked for is split
		proof = append(proof, float64(between.Sub(start))/1e6)
		parts = append(parts, float64(time.Since(between))/1e6)
	}
	row("verify, 4,000 instructions", "%.2f ms, %d visited", median(proof), v.Visited())
	row("split, 4,000 instructions", "%.2f ms", median(parts))
	return nil
}

// ladder is a filter of about n instructions, ten to a rule.
func ladder(n int) []prog.Insn {
	r := rand.New(rand.NewSource(1))
	var insns []prog.Insn
	add := func(op, dst, src uint8, off int16, imm int32) {
		insns = append(insns, prog.Insn{Op: op, Dst: dst, Src: src, Off: off, Imm: imm})
	}
	const ldw, ldd = prog.ClassLDX | prog.ModeMem | prog.SizeW, prog.ClassLDX | prog.ModeMem | prog.SizeDW
	for len(insns)+12 < n {
		add(ldw, 2, prog.R1, 0, 0)
		add(prog.ClassJMP|prog.OpJne|prog.SrcK, 2, 0, 8, int32(r.Intn(460)))
		add(ldd, 3, prog.R1, int16(16+8*r.Intn(6)), 0)
		add(prog.ClassALU64|prog.OpMov|prog.SrcX, 4, 3, 0, 0)
		add(prog.ClassALU64|prog.OpAnd|prog.SrcK, 4, 0, 0, int32(r.Intn(1<<20)))
		add(prog.ClassALU64|prog.OpRsh|prog.SrcK, 3, 0, 0, 32)
		add(prog.ClassJMP|prog.OpJne|prog.SrcX, 3, 4, 2, 0)
		add(prog.ClassALU|prog.OpMov|prog.SrcK, 0, 0, 0, 0x00050000|int32(r.Intn(100)))
		add(prog.OpExitInsn, 0, 0, 0, 0)
		add(prog.ClassALU64|prog.OpMov|prog.SrcK, 5, 0, 0, 0)
	}
	add(prog.ClassALU|prog.OpMov|prog.SrcK, 0, 0, 0, 0x7fff0000)
	add(prog.OpExitInsn, 0, 0, 0, 0)
	return insns
}
