package absint

import (
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// liveness says what may still be read from an instruction on: registers, one
// bit each, and slots of the running frame's stack, one bit each. What is not
// live can be forgotten, so that more states look alike. It errs on the side
// of live.
type liveness struct {
	regs  uint16
	slots uint64
}

const (
	allSlots  = ^uint64(0)
	argRegs   = uint16(0x3e)     // R1-R5
	callerRgs = argRegs | 1      // R0-R5, clobbered by a call
	keptRegs  = uint16(0xf << 6) // R6-R9, kept by a call
	fpReg     = uint16(1 << 10)  // R10
)

// findLiveness computes liveness backwards to a fixed point, callees before
// callers: a call reads the arguments its callee does.
func (c *Code) findLiveness() {
	c.live = make([]liveness, len(c.Prog.Insns))
	c.calleesFirst(func(f Func) { c.backwards(f, c.live, c.liveBefore) })
}

// calleesFirst visits the functions, those that are called before their callers.
func (c *Code) calleesFirst(do func(Func)) {
	done := make([]bool, len(c.Funcs))
	var visit func(fn int)
	visit = func(fn int) {
		done[fn] = true
		f := c.Funcs[fn]
		for pc := f.Start; pc < f.End; pc += slots(c.Prog.Insns[pc]) {
			in := c.Prog.Insns[pc]
			if in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall {
				if callee := c.FuncAt(pc + 1 + int(in.Imm)); !done[callee] {
					visit(callee)
				}
			}
		}
		do(f)
	}
	for i := range c.Funcs {
		if !done[i] {
			visit(i)
		}
	}
}

// maxPasses bounds the passes over a function: one for each level of loops, and
// more only for jumps no compiler makes.
const maxPasses = 24

// backwards computes facts about every instruction of f from those about what
// can follow it, to a fixed point. Where that takes too long, all is live.
func (c *Code) backwards(f Func, facts []liveness, before func(pc int, at *addresses, after liveness) liveness) {
	addr := c.frameAddresses(f)
	changed := true
	for pass := 0; changed; pass++ {
		if pass == maxPasses {
			for pc := f.Start; pc < f.End; pc++ {
				facts[pc] = liveness{regs: 1<<11 - 1, slots: allSlots}
			}
			return
		}
		changed = false
		for pc := f.End - 1; pc >= f.Start; pc-- {
			at := addr[pc-f.Start]
			if at == nil {
				continue // the second half of a 64-bit load
			}
			if l := before(pc, at, c.after(pc, facts)); l != facts[pc] {
				facts[pc] = l
				changed = true
			}
		}
	}
}

// after joins the facts about what can follow pc in its function.
func (c *Code) after(pc int, facts []liveness) (l liveness) {
	next, n := Next(c.Prog, pc)
	for _, t := range next[:n] {
		l.regs |= facts[t].regs
		l.slots |= facts[t].slots
	}
	return l
}

// liveBefore is what is live before pc, given l, what is live after it.
func (c *Code) liveBefore(pc int, at *addresses, l liveness) liveness {
	in := c.Prog.Insns[pc]
	reads, writes := c.regUse(pc, in)
	l.regs = l.regs&^writes | reads | fpReg
	l.slots = l.slots&^slotsWritten(in, at) | c.slotsRead(in, at)
	return l
}

// regUse lists the registers in reads and those it overwrites.
func (c *Code) regUse(pc int, in prog.Insn) (reads, writes uint16) {
	dst, src := uint16(1)<<in.Dst, uint16(1)<<in.Src
	switch in.Class() {
	case prog.ClassLD:
		return 0, dst
	case prog.ClassLDX:
		return src, dst
	case prog.ClassST:
		return dst, 0
	case prog.ClassSTX:
		if in.Op&prog.ModeMask == prog.ModeAtomic {
			src |= 1 // a compare and exchange compares with R0
		}
		return dst | src, 0
	case prog.ClassALU, prog.ClassALU64:
		if in.Op&prog.OpMask == prog.OpMov {
			reads = 0
		} else {
			reads = dst
		}
		if in.Op&prog.SrcMask == prog.SrcX && in.Op&prog.OpMask != prog.OpEnd {
			reads |= src
		}
		return reads, dst
	}
	return c.regUseJump(pc, in)
}

func (c *Code) regUseJump(pc int, in prog.Insn) (reads, writes uint16) {
	switch {
	case in.Op == prog.OpExitInsn:
		return 1, 0
	case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
		return c.live[pc+1+int(in.Imm)].regs & argRegs, callerRgs
	case in.Op == prog.OpCallInsn:
		sig := c.Signature(in)
		if sig == nil {
			return argRegs, callerRgs
		}
		for i, a := range sig.Args {
			if a != helper.None {
				reads |= 2 << i
			}
		}
		return reads, callerRgs
	case !IsBranch(in):
		return 0, 0
	case in.Op&prog.SrcMask == prog.SrcX:
		return 1<<in.Dst | 1<<in.Src, 0
	}
	return 1 << in.Dst, 0
}

// An address is what a register may be, as far as the running frame's stack is
// concerned: nothing known yet, not into it, into it at a known offset, or
// into it somewhere.
type address struct {
	kind addressKind
	off  int32
}

type addressKind uint8

const (
	unseen addressKind = iota
	elsewhere
	inFrame
	somewhere
)

type addresses [11]address

func (a address) join(b address) address {
	switch {
	case a == b || b.kind == unseen:
		return a
	case a.kind == unseen:
		return b
	}
	return address{kind: somewhere}
}

// frameAddresses finds, for each instruction of f, what its registers may
// point to before it; nil where the instruction is not reached or the frame's
// address has been stored, which makes everything possible.
func (c *Code) frameAddresses(f Func) []*addresses {
	at := make([]*addresses, f.End-f.Start)
	start := addresses{}
	for i := range start {
		start[i].kind = elsewhere
	}
	start[prog.R10] = address{kind: inFrame}
	at[0] = &start
	work := []int{f.Start}
	for len(work) > 0 {
		pc := work[len(work)-1]
		work = work[:len(work)-1]
		after := c.addressesAfter(pc, *at[pc-f.Start])
		next, n := Next(c.Prog, pc)
		for _, t := range next[:n] {
			if flow(&at[t-f.Start], after) {
				work = append(work, t)
			}
		}
	}
	if c.frameEscapes(f, at) {
		for _, a := range at {
			if a != nil {
				*a = everywhere()
			}
		}
	}
	return at
}

func everywhere() (a addresses) {
	for i := range a {
		a[i].kind = somewhere
	}
	return a
}

// flow joins what follows an instruction into what precedes another.
func flow(into **addresses, from addresses) bool {
	if *into == nil {
		*into = &from
		return true
	}
	changed := false
	for i, a := range *into {
		if j := a.join(from[i]); j != a {
			(*into)[i] = j
			changed = true
		}
	}
	return changed
}

func (c *Code) addressesAfter(pc int, a addresses) addresses {
	in := c.Prog.Insns[pc]
	switch in.Class() {
	case prog.ClassALU64:
		a[in.Dst] = addressAfterALU(in, a)
	case prog.ClassALU, prog.ClassLD, prog.ClassLDX:
		a[in.Dst] = address{kind: elsewhere}
	case prog.ClassSTX:
		if in.Op&prog.ModeMask == prog.ModeAtomic && in.Imm&prog.AtomicFetch != 0 {
			a[in.Src], a[0] = address{kind: elsewhere}, address{kind: elsewhere}
		}
	case prog.ClassJMP:
		if in.Op == prog.OpCallInsn {
			a[0] = addressReturned(in, a)
			for i := 1; i <= 5; i++ {
				a[i] = address{kind: elsewhere}
			}
		}
	}
	return a
}

func addressAfterALU(in prog.Insn, a addresses) address {
	dst, src := a[in.Dst], address{kind: elsewhere}
	isReg := in.Op&prog.SrcMask == prog.SrcX
	if isReg {
		src = a[in.Src]
	}
	switch op := in.Op & prog.OpMask; {
	case op == prog.OpMov:
		return src
	case dst.kind == elsewhere && src.kind == elsewhere:
		return dst
	case op == prog.OpAdd && !isReg && dst.kind == inFrame && dst.off+in.Imm <= 0 && dst.off+in.Imm >= -maxStack:
		return address{kind: inFrame, off: dst.off + in.Imm}
	}
	return address{kind: somewhere}
}

// addressReturned: a function may return a pointer it was given.
func addressReturned(in prog.Insn, a addresses) address {
	if in.Src == prog.PseudoCall {
		for _, arg := range a[1:6] {
			if arg.kind != elsewhere {
				return address{kind: somewhere}
			}
		}
	}
	return address{kind: elsewhere}
}

// frameEscapes tells whether an address into the frame is stored anywhere, or
// may be by a function that is given one.
func (c *Code) frameEscapes(f Func, at []*addresses) bool {
	for i, a := range at {
		if a == nil {
			continue
		}
		in := c.Prog.Insns[f.Start+i]
		if in.Class() == prog.ClassSTX && a[in.Src].kind != elsewhere {
			return true
		}
		if in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall && addressReturned(in, *a).kind != elsewhere {
			return true
		}
	}
	return false
}

// from is the slots at or above an offset; all of them for an unknown one.
func from(a address, off int32) uint64 {
	off += a.off
	if a.kind != inFrame || off >= 0 || off < -maxStack {
		return allSlots
	}
	i, _ := slotOf(int64(off))
	return allSlots >> (63 - uint(i))
}

// slotsRead is the slots in may read. A helper is given an address without a
// length here: it may read everything above.
func (c *Code) slotsRead(in prog.Insn, a *addresses) (read uint64) {
	switch {
	case in.Class() == prog.ClassLDX && a[in.Src].kind != elsewhere:
		return oneSlot(a[in.Src], int32(in.Off))
	case in.Class() == prog.ClassSTX && in.Op&prog.ModeMask == prog.ModeAtomic && a[in.Dst].kind != elsewhere:
		return oneSlot(a[in.Dst], int32(in.Off))
	case in.Op == prog.OpCallInsn:
		for _, arg := range a[1:6] {
			if arg.kind != elsewhere {
				read |= from(arg, 0)
			}
		}
	}
	return read
}

func oneSlot(a address, off int32) uint64 {
	at := a.off + off
	if a.kind != inFrame || at >= 0 || at < -maxStack {
		return allSlots
	}
	i, _ := slotOf(int64(at))
	return 1 << uint(i)
}

// slotsWritten is the slots in is sure to overwrite whole.
func slotsWritten(in prog.Insn, a *addresses) uint64 {
	if in.Op&prog.ModeMask != prog.ModeMem || in.Width() != 8 || a[in.Dst].kind != inFrame {
		return 0
	}
	if in.Class() != prog.ClassST && in.Class() != prog.ClassSTX {
		return 0
	}
	if at := a[in.Dst].off + int32(in.Off); at%8 != 0 || at >= 0 || at < -maxStack {
		return 0
	}
	return oneSlot(a[in.Dst], int32(in.Off))
}
