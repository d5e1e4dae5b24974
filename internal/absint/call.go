package absint

import (
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// jump does classes JMP and JMP32.
func (m *Machine) jump(s *State, in prog.Insn) (jumped *State, end bool) {
	switch {
	case in.Op == prog.OpExitInsn:
		if others := m.partExit(s); others != nil {
			return others, false
		}
		return nil, s.leave()
	case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
		m.enter(s, s.PC+1+int(in.Imm))
		return nil, false
	case in.Op == prog.OpCallInsn && m.leaves(s):
		return nil, true
	case in.Op == prog.OpCallInsn:
		m.help(s, m.code.Signature(in))
		s.PC++
		return nil, false
	case !IsBranch(in):
		next, _ := Next(m.code.Prog, s.PC)
		s.PC = next[0]
		return nil, false
	}
	return m.branch(s, in)
}

// TailCall tells whether instruction s.PC is a tail call, in which map it looks,
// and under which index: the kernel takes the lower half of R3.
func (c *Code) TailCall(s *State) (m *prog.Map, index Scalar, ok bool) {
	sig := c.Signature(c.Prog.Insns[s.PC])
	if sig == nil || sig.ID != helper.TailCall {
		return nil, Scalar{}, false
	}
	f := s.Top()
	return c.Prog.Maps[f.Regs[2].Map], f.Regs[3].Scalar.Truncate(), true
}

// leaves tells whether s is at a tail call that does not come back.
func (m *Machine) leaves(s *State) bool {
	if m.gone == nil {
		return false
	}
	array, index, ok := m.code.TailCall(s)
	return ok && m.gone(array, index)
}

// enter calls the function at target: it sees the arguments and a stack of its own.
func (m *Machine) enter(s *State, target int) {
	caller := s.Top()
	depth := uint8(len(s.Frames))
	f := s.grow()
	*f = Frame{Func: m.code.FuncAt(target), CallSite: s.PC, Stack: f.Stack[:0]}
	copy(f.Regs[1:6], caller.Regs[1:6])
	f.Regs[prog.R10] = Reg{Scalar: Const(0), Kind: Stack, Frame: depth}
	forget(caller)
	s.PC = target
}

// forget makes the registers unreadable that a call clobbers.
func forget(f *Frame) {
	for i := 0; i < 6; i++ {
		f.Regs[i] = Reg{}
	}
}

// leave returns from the running function, and tells whether it was the entry.
func (s *State) leave() bool {
	if len(s.Frames) == 1 {
		return true
	}
	callee := s.Top()
	s.Frames = s.Frames[:len(s.Frames)-1]
	s.Top().Regs[prog.R0] = callee.Regs[prog.R0]
	s.PC = callee.CallSite + 1
	return false
}

// help does what a helper call does to the state.
func (m *Machine) help(s *State, sig *helper.Signature) {
	f := s.Top()
	if sig == nil {
		forget(f)
		f.Regs[prog.R0] = number(Unknown())
		return
	}
	args := f.Regs
	r0 := m.result(s, sig, &args)
	for i, a := range sig.Args {
		switch r := &args[i+1]; a {
		case helper.MemWrite:
			s.fill(r, &args[i+2], readsFrom(sig))
		case helper.Record:
			s.release(r.Ref)
		case helper.Lock:
			s.Lock = lockAfter(sig.ID, r)
		}
	}
	forget(f)
	f.Regs[prog.R0] = r0
}

func lockAfter(id helper.ID, r *Reg) Lock {
	if id == helper.SpinLock {
		return Lock{Map: r.Map, ID: r.ID}
	}
	return Lock{Map: -1}
}

// result is what the call leaves in R0.
func (m *Machine) result(s *State, sig *helper.Signature, args *[11]Reg) Reg {
	switch sig.Ret {
	case helper.Void:
		return Reg{}
	case helper.ValueOrNull:
		return Reg{Scalar: Const(0), Kind: ValueOrNull, Map: args[1].Map, ID: m.fresh(), Origin: m.storageOrigin(args)}
	case helper.RecordOrNull:
		id := m.fresh()
		s.Refs = append(s.Refs, id)
		return Reg{Scalar: Const(0), Kind: RecordOrNull, Size: uint32(args[2].U.Max), ID: id, Ref: id}
	}
	return Reg{Scalar: integerResult(sig.ID, args), Kind: Number, Origin: readsFrom(sig)}
}

// readsFrom is where the memory a helper reads belongs.
func readsFrom(sig *helper.Signature) Origin {
	if sig.Effect&helper.Memory != 0 && sig.Effect&helper.Pins == 0 {
		return FromUser
	}
	return 0
}

// storageOrigin is FromStorage for values that surprise who forgets fork. Who asks for a
// thread's value has said that each thread begins anew.
func (m *Machine) storageOrigin(args *[11]Reg) Origin {
	r := &args[1]
	if r.Kind != MapHandle {
		return 0
	}
	if spec := m.code.Prog.Maps[r.Map]; spec.Type != prog.TaskStorage || spec.Flags&prog.FlagClone != 0 {
		return 0
	}
	if flags, ok := args[4].Const(); ok && flags&helper.StorageThread != 0 {
		return 0
	}
	return FromStorage
}

// maxErrno is the largest error number a helper returns, negated.
const maxErrno = 4095

func integerResult(id helper.ID, args *[11]Reg) Scalar {
	switch id {
	case helper.ProbeReadUserStr, helper.SafeReadUserStr:
		if most := args[2].S.Max; most >= 0 {
			return SignedBetween(-maxErrno, most)
		}
	case helper.GetPrandomU32, helper.GetSmpProcessorID:
		return Bytes(4)
	}
	return Unknown()
}

// fill lets a helper write the memory at r. A constant size is written in
// full; of any other size Check has every byte be readable before.
func (s *State) fill(r, size *Reg, o Origin) {
	if r.Kind != Stack {
		return
	}
	f := s.Frames[r.Frame]
	to := r.S.Max + size.S.Max
	_, fixed := size.Const()
	if _, ok := r.Const(); !ok || !fixed {
		s.writeRange(f, r.S.Min, to, Data, o|r.Origin|size.Origin)
		return
	}
	for off := r.S.Min; off < to && off < 0 && off >= -maxStack; off++ {
		f.put(off, Data, o)
	}
}

// release makes every copy of a record unreadable.
func (s *State) release(ref uint32) {
	s.dropRef(ref)
	for _, f := range s.Frames {
		for i := range f.Regs {
			if r := &f.Regs[i]; r.Ref == ref && r.IsPointer() {
				*r = Reg{}
			}
		}
		for i := range f.Stack {
			if sl := &f.Stack[i]; sl.Bytes[0] == Spill && sl.Reg.Ref == ref && sl.Reg.IsPointer() {
				sl.clear()
			}
		}
	}
}

func (s *State) dropRef(ref uint32) {
	kept := s.Refs[:0]
	for _, r := range s.Refs {
		if r != ref {
			kept = append(kept, r)
		}
	}
	s.Refs = kept
}

// branch splits s at a conditional jump. Where only one side is possible, s
// goes there; where none is, the path ends.
func (m *Machine) branch(s *State, in prog.Insn) (jumped *State, end bool) {
	f := s.Top()
	op, w := in.Op&prog.OpMask, width(in)
	a, b := f.Regs[in.Dst], source(f, in)
	there, here := s.PC+1+int(in.Off), s.PC+1
	if a.IsPointer() || b.IsPointer() {
		return m.branchPointer(s, op, w, &a, &b, there, here)
	}
	if jump, on, ok := s.byNumber(in, op, w); ok {
		return m.branchByNumber(s, jump, on, there, here), false
	}
	if jump, on, ok := m.byTable(s, in, op, w); ok {
		return m.branchByNumber(s, jump, on, there, here), false
	}
	a1, b1, may := Refine(op, w, a.Scalar, b.Scalar)
	a2, b2, mayNot := Refine(opposite(op), w, a.Scalar, b.Scalar)
	if in.Op&prog.SrcMask == prog.SrcX && in.Dst == in.Src {
		// One register compared with itself: each side must satisfy both views.
		return m.branchSelf(s, op, there, here)
	}
	switch {
	case may && mayNot:
		jumped = m.clone(s)
		jumped.learn(in, a, a1, b, b1)
		jumped.PC = there
		s.learn(in, a, a2, b, b2)
		s.PC = here
	case may:
		s.learn(in, a, a1, b, b1)
		s.PC = there
	case mayNot:
		s.learn(in, a, a2, b, b2)
		s.PC = here
	default:
		return nil, true
	}
	return jumped, false
}

// branchSelf decides what compares a number with itself; a bit test is open.
func (m *Machine) branchSelf(s *State, op uint8, there, here int) (*State, bool) {
	switch op {
	case prog.OpJeq, prog.OpJge, prog.OpJle, prog.OpJsge, prog.OpJsle:
		s.PC = there
		return nil, false
	case prog.OpJset:
		jumped := m.clone(s)
		jumped.PC, s.PC = there, here
		return jumped, false
	}
	s.PC = here
	return nil, false
}

// learn stores what a comparison says about its operands, and about every
// register that is tied to them.
func (s *State) learn(in prog.Insn, a Reg, va Scalar, b Reg, vb Scalar) {
	f := s.Top()
	f.Regs[in.Dst].Scalar = va
	s.spread(a, va)
	if in.Op&prog.SrcMask == prog.SrcX {
		f.Regs[in.Src].Scalar = vb
		s.spread(b, vb)
	}
}

func (s *State) spread(was Reg, v Scalar) {
	if was.ID == 0 || was.Scalar == v {
		return
	}
	s.each(func(r *Reg) {
		if r.Kind == Number && r.ID == was.ID {
			r.Scalar = v
		}
	})
}

// branchPointer tests a pointer for NULL, the one comparison that Check lets
// pass; nothing is learnt from another.
func (m *Machine) branchPointer(s *State, op uint8, w Width, a, b *Reg, there, here int) (*State, bool) {
	if op == prog.OpJne {
		there, here = here, there
	} else if op != prog.OpJeq {
		a = nil
	}
	if a != nil && b.IsPointer() {
		a, b = b, a
	}
	if a == nil || w != W64 || b.Kind != Number || !b.Is(0) {
		jumped := m.clone(s)
		jumped.PC, s.PC = there, here
		return jumped, false
	}
	if !a.MayBeNull() {
		s.PC = here
		return nil, false
	}
	null := m.clone(s)
	null.settle(m.code.Prog, a.ID, a.Ref, Number)
	null.PC = there
	s.settle(m.code.Prog, a.ID, 0, a.Kind-1)
	s.PC = here
	return null, false
}

// settle turns every copy of a tested pointer into kind: the tested pointer, or
// the number 0, whose reservation is then gone.
func (s *State) settle(p *prog.Program, id, ref uint32, kind Kind) {
	s.each(func(r *Reg) {
		if r.ID != id || !r.MayBeNull() {
			return
		}
		switch r.Kind = kind; {
		case kind == Number:
			*r = number(Const(0))
		case kind == Value && p.Maps[r.Map].SpinLock < 0:
			r.ID = 0 // only a lock needs to be told from another
		}
	})
	if ref != 0 {
		s.dropRef(ref)
	}
}
