//go:build linux && amd64

package main

import (
	"math/rand"
	"path"
	"time"

	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/bench/tables"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// verifyAndSplit times the way of two filters from instructions to a program
// for the kernel: one of 4,000 instructions, a chain of comparisons of the
// number and of arguments with arithmetic between them, as an allow-list with
// argument rules compiles to; and one of 400 rules as a C compiler emits it. Then
// that of each built-in filter, as it is without settings.
func verifyAndSplit(l *lab) error {
	ruled, err := l.program("internal/bench/testdata/filters/rules400.o", "rules400")
	if err != nil {
		return err
	}
	long, err := l.prepare(&prog.Program{Name: "long", Insns: ladder(4000), Funcs: []prog.Func{{Name: "long"}}})
	if err != nil {
		return err
	}
	l.Row("4,000 instructions: verify", millis(median(long.verify)).AtMost(30), tables.Value(float64(long.visited), 0, "visited"))
	l.Row("4,000 instructions: split", millis(median(long.split)))
	l.Row("4,000 instructions: both", millis(median(sums(long.verify, long.split))).AtMost(50))
	l.prefilterRow("4,000 instructions: prefilter", long)
	rules, err := l.prepare(ruled)
	if err != nil {
		return err
	}
	l.Row("400 rules: verify", millis(median(rules.verify)), tables.Value(float64(rules.visited), 0, "visited"),
		tables.Value(float64(len(ruled.Insns)), 0, "instructions"))
	l.Row("400 rules: split", millis(median(rules.split)))
	l.prefilterRow("400 rules: prefilter", rules)
	if rules.refused == nil {
		l.Row("400 rules: all three", millis(median(sums(rules.verify, rules.split, rules.prefilter))).AtMost(20))
	}
	return l.builtIn()
}

// builtIn times the way of each built-in filter. A proof that follows paths of files
// through memory takes longer than the rest together: paths has no bar.
func (l *lab) builtIn() error {
	for _, name := range filters.Names() {
		p, err := l.program(path.Join("filters", name, name+".o"), name)
		if err != nil {
			return err
		}
		s, err := l.prepare(p)
		if err != nil {
			return err
		}
		all := millis(median(sums(s.verify, s.split, s.prefilter)))
		if name != "paths" {
			all = all.AtMost(20)
		}
		l.Row("built-in "+name+": all three", all, tables.Value(median(s.verify), 1, "ms verify"),
			tables.Value(median(s.split), 1, "ms split"), tables.Value(median(s.prefilter), 1, "ms prefilter"))
	}
	return nil
}

// stages are what the parts of the way took, in milliseconds, round by round.
type stages struct {
	verify, split, prefilter []float64
	visited, classic         int
	// refused is why there is no prefilter.
	refused error
}

// prepare takes a program the whole way, again each round.
func (l *lab) prepare(p *prog.Program) (*stages, error) {
	s := &stages{}
	for i := 0; i < l.rounds; i++ {
		start := time.Now()
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			return nil, err
		}
		verified := time.Now()
		t := split.Split(v)
		t.Ranges(abi.ArchX86_64) // what is asked for is split
		parted := time.Now()
		pre, err := prefilter.Build([]*split.Tree{t}, prefilter.Options{})
		built := time.Now()
		s.visited = v.Visited()
		if s.refused = err; err == nil {
			s.classic = pre.Program().Len()
		}
		s.verify = append(s.verify, elapsed(start, verified))
		s.split = append(s.split, elapsed(verified, parted))
		s.prefilter = append(s.prefilter, elapsed(parted, built))
	}
	return s, nil
}

func (l *lab) prefilterRow(name string, s *stages) {
	if s.refused != nil {
		l.Note(name, "refused: "+s.refused.Error())
		return
	}
	l.Row(name, millis(median(s.prefilter)), tables.Value(float64(s.classic), 0, "classic instructions"))
}

func elapsed(from, to time.Time) float64 { return float64(to.Sub(from)) / float64(time.Millisecond) }

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
