package absint

import (
	"sort"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Func is a function of a program: instructions Start … End-1.
type Func struct {
	Name       string
	Start, End int
}

// Code is a program prepared for interpretation. Its instructions must be
// structurally valid: known opcodes, jumps inside functions, no recursion.
type Code struct {
	Prog *prog.Program
	// Funcs are the functions in ascending order; Funcs[0] is the entry.
	Funcs []Func
	fn    []int32
	sigs  map[int32]*helper.Signature
	join  []int32 // 1 … joins where paths meet, else 0
	joins int
	loop  []bool // is part of a loop
	live  []liveness
	need  []liveness // nil unless coarse
}

// NewCode prepares p, whose functions are funcs.
func NewCode(p *prog.Program, funcs []Func) *Code {
	c := &Code{Prog: p, Funcs: funcs, fn: make([]int32, len(p.Insns)), sigs: map[int32]*helper.Signature{}}
	for i, f := range funcs {
		for pc := f.Start; pc < f.End; pc++ {
			c.fn[pc] = int32(i)
		}
	}
	for _, in := range p.Insns {
		if in.Op == prog.OpCallInsn && in.Src == 0 {
			if sig, ok := helper.Lookup(helper.ID(in.Imm)); ok {
				c.sigs[in.Imm] = sig
			}
		}
	}
	c.findJoins()
	c.findLoops()
	c.findLiveness()
	return c
}

// Functions finds the functions of p: those it names and those it calls.
func Functions(p *prog.Program) []Func {
	names := map[int]string{0: p.Name}
	for _, f := range p.Funcs {
		names[f.Start] = f.Name
	}
	for pc, in := range p.Insns {
		if t := pc + 1 + int(in.Imm); in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall {
			if _, ok := names[t]; !ok {
				names[t] = ""
			}
		}
	}
	starts := make([]int, 0, len(names))
	for s := range names {
		if s >= 0 && s < len(p.Insns) {
			starts = append(starts, s)
		}
	}
	sort.Ints(starts)
	funcs := make([]Func, len(starts))
	for i, s := range starts {
		funcs[i] = Func{Name: names[s], Start: s, End: len(p.Insns)}
		if i > 0 {
			funcs[i-1].End = s
		}
	}
	return funcs
}

// FuncAt is the index of the function that begins at pc.
func (c *Code) FuncAt(pc int) int { return int(c.fn[pc]) }

// Signature is the helper a call instruction calls; nil for other instructions.
func (c *Code) Signature(in prog.Insn) *helper.Signature {
	if in.Op != prog.OpCallInsn || in.Src != 0 {
		return nil
	}
	return c.sigs[in.Imm]
}

// Next lists where instruction pc can go inside its function: at most two
// places; a call goes on after it.
func Next(p *prog.Program, pc int) (next [2]int, n int) {
	in := p.Insns[pc]
	switch {
	case in.Op == prog.OpExitInsn:
		return next, 0
	case in.Op == prog.ClassJMP|prog.OpJa:
		return [2]int{pc + 1 + int(in.Off)}, 1
	case in.Op == prog.ClassJMP32|prog.OpJa:
		return [2]int{pc + 1 + int(in.Imm)}, 1
	case in.IsLoadImm64():
		return [2]int{pc + 2}, 1
	case IsBranch(in):
		return [2]int{pc + 1, pc + 1 + int(in.Off)}, 2
	}
	return [2]int{pc + 1}, 1
}

// IsBranch tells whether in is a conditional jump.
func IsBranch(in prog.Insn) bool {
	if in.Class() != prog.ClassJMP && in.Class() != prog.ClassJMP32 {
		return false
	}
	switch in.Op & prog.OpMask {
	case prog.OpJa, prog.OpCall, prog.OpExit:
		return false
	}
	return true
}

// findJoins marks the instructions at which paths meet: those reached from
// more than one place, and those after a call of a function.
func (c *Code) findJoins() {
	c.join = make([]int32, len(c.Prog.Insns))
	seen := make([]bool, len(c.Prog.Insns))
	mark := func(pc int) {
		if pc < 0 || pc >= len(seen) {
			return
		}
		if seen[pc] && c.join[pc] == 0 {
			c.joins++
			c.join[pc] = int32(c.joins)
		}
		seen[pc] = true
	}
	for _, f := range c.Funcs {
		mark(f.Start)
		for pc := f.Start; pc < f.End; pc += slots(c.Prog.Insns[pc]) {
			in := c.Prog.Insns[pc]
			next, n := Next(c.Prog, pc)
			for _, t := range next[:n] {
				mark(t)
			}
			if in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall {
				mark(pc + 1)
				mark(pc + 1 + int(in.Imm))
			}
		}
	}
}

// findLoops marks the instructions of loops.
func (c *Code) findLoops() {
	c.loop = make([]bool, len(c.Prog.Insns))
	if !c.jumpsBack() {
		return
	}
	for _, f := range c.Funcs {
		for i, id := range c.cycles(f) {
			next, n := Next(c.Prog, f.Start+i)
			itself := n > 0 && next[n-1] == f.Start+i
			c.loop[f.Start+i] = id != 0 || itself
		}
	}
}

func (c *Code) jumpsBack() bool {
	for _, f := range c.Funcs {
		for pc := f.Start; pc < f.End; pc += slots(c.Prog.Insns[pc]) {
			next, n := Next(c.Prog, pc)
			for _, t := range next[:n] {
				if t <= pc {
					return true
				}
			}
		}
	}
	return false
}

// slots is how many instruction slots in takes.
func slots(in prog.Insn) int {
	if in.IsLoadImm64() {
		return 2
	}
	return 1
}
