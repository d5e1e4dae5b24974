package absint

import (
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Coarse is c for programs that are too complex to be followed exactly: where
// paths meet, numbers that safety hardly depends on are forgotten, so that more
// states look alike. Needed are numbers that become part of an address or an
// argument, that are returned by the entry, or that count rounds of a loop.
//
// Forgetting only ever makes a state describe more runs. What is needed is
// therefore a matter of judgement, not of soundness: a number is not followed
// past the instruction that bounds it, a mask or a test.
func (c *Code) Coarse() *Code {
	d := *c
	d.need = make([]liveness, len(c.Prog.Insns))
	d.calleesFirst(func(f Func) {
		loops := d.loops(f)
		d.backwards(f, d.need, func(pc int, at *addresses, after liveness) liveness {
			return d.needBefore(pc, at, after, loops[pc-f.Start])
		})
	})
	return &d
}

// loops lists, for each instruction of f, the registers that a loop it is in
// counts with: those that an instruction of the loop changes by a constant.
func (c *Code) loops(f Func) []uint16 {
	cycle := c.cycles(f)
	counters := map[int32]uint16{}
	for i, id := range cycle {
		if id != 0 {
			counters[id] |= counted(c.Prog.Insns[f.Start+i])
		}
	}
	regs := make([]uint16, len(cycle))
	for i, id := range cycle {
		regs[i] = counters[id]
	}
	return regs
}

func counted(in prog.Insn) uint16 {
	if in.Class() != prog.ClassALU64 && in.Class() != prog.ClassALU || in.Op&prog.SrcMask == prog.SrcX {
		return 0
	}
	switch in.Op & prog.OpMask {
	case prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpDiv, prog.OpLsh, prog.OpRsh, prog.OpArsh:
		return 1 << in.Dst
	}
	return 0
}

// cycles numbers the strongly connected components of f's control flow, as
// Tarjan does, without recursion; 0 is for instructions in no cycle.
func (c *Code) cycles(f Func) []int32 {
	n := f.End - f.Start
	t := &tarjan{index: make([]int32, n), low: make([]int32, n), cycle: make([]int32, n)}
	type visit struct{ pc, edge int }
	work := []visit{{f.Start, 0}}
	t.enter(0)
	for len(work) > 0 {
		v := &work[len(work)-1]
		i := v.pc - f.Start
		next, edges := Next(c.Prog, v.pc)
		if v.edge == edges {
			t.leave(i)
			if work = work[:len(work)-1]; len(work) > 0 {
				t.meet(work[len(work)-1].pc-f.Start, t.low[i])
			}
			continue
		}
		j := next[v.edge] - f.Start
		v.edge++
		switch {
		case t.index[j] == 0:
			t.enter(j)
			work = append(work, visit{j + f.Start, 0})
		case t.cycle[j] == 0:
			t.meet(i, t.index[j])
		}
	}
	for i, id := range t.cycle {
		if id < 0 {
			t.cycle[i] = 0
		}
	}
	return t.cycle
}

// tarjan is the state of the algorithm: the order of discovery from 1, the
// earliest instruction on the stack that is reached, and the component once it
// is complete, negative if it is a single instruction.
type tarjan struct {
	index, low, cycle []int32
	stack             []int
	found, components int32
}

func (t *tarjan) enter(i int) {
	t.found++
	t.index[i], t.low[i] = t.found, t.found
	t.stack = append(t.stack, i)
}

func (t *tarjan) meet(i int, low int32) {
	if low < t.low[i] {
		t.low[i] = low
	}
}

// leave completes the component that i is the first of.
func (t *tarjan) leave(i int) {
	if t.low[i] != t.index[i] {
		return
	}
	t.components++
	id := t.components
	if t.stack[len(t.stack)-1] == i {
		id = -id // a jump to itself counts nothing
	}
	for {
		j := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.cycle[j] = id
		if j == i {
			return
		}
	}
}

// needBefore is what is needed before pc, given l, what is needed after it.
func (c *Code) needBefore(pc int, at *addresses, l liveness, counters uint16) liveness {
	in := c.Prog.Insns[pc]
	dst, src := uint16(1)<<in.Dst, uint16(1)<<in.Src
	switch in.Class() {
	case prog.ClassALU, prog.ClassALU64:
		l.regs = needALU(in, l.regs)
	case prog.ClassLD:
		l.regs &^= dst
	case prog.ClassLDX:
		if l.regs&dst != 0 && in.Width() >= 4 {
			l.slots |= c.slotsRead(in, at)
		}
		l.regs = l.regs&^dst | src
	case prog.ClassST, prog.ClassSTX:
		if needsStored(in, at, l.slots) {
			l.regs |= src
		}
		l.slots &^= slotsWritten(in, at)
		l.regs |= dst
	default:
		return c.needJump(in, pc, at, l, counters)
	}
	return l
}

// needsStored tells whether the slot that in stores a register to is needed.
func needsStored(in prog.Insn, at *addresses, needed uint64) bool {
	if in.Class() != prog.ClassSTX || at[in.Dst].kind == elsewhere {
		return false
	}
	return oneSlot(at[in.Dst], int32(in.Off))&needed != 0
}

func needALU(in prog.Insn, regs uint16) uint16 {
	dst, src := uint16(1)<<in.Dst, uint16(0)
	if in.Op&prog.SrcMask == prog.SrcX && in.Op&prog.OpMask != prog.OpEnd {
		src = 1 << in.Src
	}
	switch op := in.Op & prog.OpMask; {
	case regs&dst == 0:
		return regs
	case op == prog.OpMov:
		return regs&^dst | src
	case src == 0 && bounds(in):
		return regs &^ dst
	}
	return regs | src
}

// bounds tells whether the result of in has a bound whatever goes into it.
func bounds(in prog.Insn) bool {
	const small = 16 // bits
	switch in.Op & prog.OpMask {
	case prog.OpAnd:
		return in.Imm >= 0 && in.Imm < 1<<small
	case prog.OpMod:
		return in.Off == 0 && in.Imm > 0 && in.Imm <= 1<<small
	case prog.OpRsh:
		return int(in.Imm) >= int(width(in))-small
	}
	return false
}

func (c *Code) needJump(in prog.Insn, pc int, at *addresses, l liveness, counters uint16) liveness {
	switch {
	case in.Op == prog.OpExitInsn:
		return liveness{regs: 1}
	case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
		l.regs = l.regs&^callerRgs | c.need[pc+1+int(in.Imm)].regs&argRegs
		l.slots |= c.slotsRead(in, at)
	case in.Op == prog.OpCallInsn:
		l.regs &^= callerRgs
		if sig := c.Signature(in); sig != nil {
			for i, a := range sig.Args {
				if a != helper.None && a != helper.Any {
					l.regs |= 2 << i
				}
			}
		}
	case IsBranch(in):
		l.regs = needBranch(in, l.regs, counters)
	}
	return l
}

// needBranch: a loop's own test needs its counter; another test bounds what it
// compares with a constant.
func needBranch(in prog.Insn, regs, counters uint16) uint16 {
	operands := uint16(1) << in.Dst
	if in.Op&prog.SrcMask == prog.SrcX {
		operands |= 1 << in.Src
	}
	switch {
	case operands&counters != 0:
		return regs | operands
	case in.Op&prog.SrcMask == prog.SrcK && in.Op&prog.OpMask != prog.OpJset:
		return regs &^ operands
	}
	return regs
}

// forgetUnneeded forgets the numbers that are not needed at s.PC.
func (c *Code) forgetUnneeded(s *State) {
	for i, f := range s.Frames {
		l := c.need[s.PC]
		if i+1 < len(s.Frames) {
			call := s.Frames[i+1].CallSite
			l = liveness{regs: c.need[call+1].regs, slots: c.need[call].slots}
		}
		for r := range f.Regs {
			if f.Regs[r].Kind == Number && l.regs>>r&1 == 0 {
				f.Regs[r].set(Unknown(), f.Regs[r].Origin)
			}
		}
		for i := range f.Stack {
			if l.slots>>uint(i)&1 == 0 {
				f.Stack[i].forget()
			}
		}
	}
}

// forget keeps of a slot that its bytes can be read; pointers stay.
func (sl *Slot) forget() {
	if sl.Bytes[0] == Spill {
		if sl.Reg.IsPointer() {
			return
		}
		sl.clear()
	}
	for i, b := range sl.Bytes {
		if b == Zero {
			sl.Bytes[i] = Data
		}
	}
}
