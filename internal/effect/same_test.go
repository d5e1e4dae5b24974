package effect

import (
	"testing"

	"portcullis/internal/prog"
)

func array(size uint32) *prog.Map {
	return &prog.Map{Name: "m", MaxEntries: size, KeySize: 4, ValueSize: 8}
}

// using is a program that refers to maps.
func using(name string, ms ...*prog.Map) *prog.Program {
	p := &prog.Program{Name: name, Maps: ms, Lines: []prog.Line{{File: name}}}
	for i := range ms {
		p.Insns = append(p.Insns, prog.Insn{Op: prog.OpLoadImm64, Dst: 1, Src: prog.PseudoMapFD, Imm: int32(i)}, prog.Insn{})
	}
	return p
}

func TestTwins(t *testing.T) {
	a, b, other := array(1), array(1), array(2)
	swapped := using("swapped", b, a)
	swapped.Insns[0].Imm, swapped.Insns[2].Imm = 1, 0
	text, changed := array(1), array(1)
	text.Contents, changed.Contents = []byte("one"), []byte("two")
	tail := func(to *prog.Program) *prog.Map {
		m := array(1)
		m.Tails = []prog.Tail{{Program: to}}
		return m
	}
	for name, c := range map[string]struct {
		before, after []*prog.Program
		same          bool
	}{
		"other names":             {[]*prog.Program{using("x", a)}, []*prog.Program{using("y", array(1))}, true},
		"another order of maps":   {[]*prog.Program{using("x", array(1), array(2))}, []*prog.Program{{Maps: []*prog.Map{other, a}, Insns: using("", a, b).Insns}}, false},
		"the same, by other ways": {[]*prog.Program{using("x", a, b)}, []*prog.Program{swapped}, true},
		"another size":            {[]*prog.Program{using("x", a)}, []*prog.Program{using("x", other)}, false},
		"other constants":         {[]*prog.Program{using("x", text)}, []*prog.Program{using("x", changed)}, false},
		"one map for two":         {[]*prog.Program{using("x", a, b)}, []*prog.Program{using("x", a, a)}, false},
		"two maps for one":        {[]*prog.Program{using("x", a, a)}, []*prog.Program{using("x", a, b)}, false},
		"shared no longer":        {[]*prog.Program{using("x", a), using("y", a)}, []*prog.Program{using("x", a), using("y", b)}, false},
		"shared by both":          {[]*prog.Program{using("x", a), using("y", a)}, []*prog.Program{using("x", b), using("y", b)}, true},
		"the same tail":           {[]*prog.Program{using("x", tail(using("t", a)))}, []*prog.Program{using("x", tail(using("u", b)))}, true},
		"another tail":            {[]*prog.Program{using("x", tail(using("t", a)))}, []*prog.Program{using("x", tail(using("u", other)))}, false},
	} {
		tw := newTwins()
		same := true
		for i := range c.before {
			same = same && tw.program(c.before[i], c.after[i])
		}
		if same != c.same {
			t.Errorf("%s: %v", name, same)
		}
	}
}
