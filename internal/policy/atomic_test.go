package policy

import (
	"testing"

	"portcullis/internal/prog"
)

// TestStateIsChangedInOneStep: on the kernel engine threads of a process are asked about at
// the same time. What is stored where another may have stored meanwhile loses what that one
// noted, or leads back to a phase that was left.
func TestStateIsChangedInOneStep(t *testing.T) {
	for name, text := range map[string]string{
		"programs": "programs: [{path: /a, deny: read}, {path: /b, deny: write}]",
		"phases":   "phases: [{name: a, deny: read, next: [{on: kill, to: b}]}, {name: b, deny: write, next: [{on: dup, to: c}]}, {name: c, deny: dup2}]",
		"flow":     "flow: [{per: process, edges: [{from: start, to: [open, dup]}, {from: open, to: read}]}]",
	} {
		m, err := Parse("p.yaml", []byte("version: 1\ndefault: allow\n"+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		atomics := 0
		for i, in := range p.Insns[:end(p)] {
			switch class := in.Op & prog.ClassMask; {
			case class == prog.ClassSTX && in.Op&prog.ModeMask == prog.ModeAtomic:
				atomics++
			case (class == prog.ClassST || class == prog.ClassSTX) && in.Dst != 10:
				t.Errorf("%s: instruction %d stores outside of the frame: %+v", name, i, in)
			}
		}
		if name != "flow" && atomics == 0 {
			t.Errorf("%s: no atomic operation", name)
		}
	}
}

// end is where the first function ends.
func end(p *prog.Program) int {
	if len(p.Funcs) > 1 {
		return p.Funcs[1].Start
	}
	return len(p.Insns)
}
