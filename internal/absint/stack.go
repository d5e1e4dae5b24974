package absint

// slotOf finds the slot and the byte in it of a stack offset below 0.
func slotOf(off int64) (slot, at int) { return int(-off-1) / 8, int(8-(-off)%8) % 8 }

// slot makes slot i of f exist.
func (f *Frame) slot(i int) *Slot {
	for len(f.Stack) <= i {
		f.Stack = append(f.Stack, Slot{})
	}
	return &f.Stack[i]
}

// byteAt is what f holds at a stack offset; Unwritten outside.
func (f *Frame) byteAt(off int64) (ByteKind, *Slot) {
	if off >= 0 {
		return Unwritten, nil
	}
	i, at := slotOf(off)
	if i >= len(f.Stack) {
		return Unwritten, nil
	}
	return f.Stack[i].Bytes[at], &f.Stack[i]
}

// clear drops a spilled register of which a part is overwritten. What is left
// of a number is data; what is left of a pointer must not be read.
func (sl *Slot) clear() {
	left := Data
	sl.Origin |= sl.Reg.Origin
	if sl.Reg.IsPointer() {
		left = Unwritten
	}
	for i, b := range sl.Bytes {
		if b == Spill {
			sl.Bytes[i] = left
		}
	}
	sl.Reg = Reg{}
}

// put makes the byte at a stack offset k.
func (f *Frame) put(off int64, k ByteKind, from Origin) {
	i, at := slotOf(off)
	sl := f.slot(i)
	if sl.Bytes[at] == Spill {
		sl.clear()
	}
	sl.Bytes[at] = k
	sl.Origin |= from
}

// maybe makes the byte at a stack offset one that may have become k: what was
// readable stays so, a pointer does not.
func (f *Frame) maybe(off int64, k ByteKind, from Origin) {
	i, at := slotOf(off)
	if i >= len(f.Stack) {
		return
	}
	sl := &f.Stack[i]
	if sl.Bytes[at] == Spill {
		sl.clear()
	}
	sl.Origin |= from
	if sl.Bytes[at] == Zero && k != Zero {
		sl.Bytes[at] = Data
	}
}

// maxStack bounds what is walked byte by byte; Check allows no larger offset.
const maxStack = 512

// storeStack writes n bytes of v at base + off.
func (s *State) storeStack(base *Reg, off int64, n int, v Reg) {
	f := s.Frames[base.Frame]
	k := Data
	if v.Kind == Number && v.Is(0) {
		k = Zero
	}
	if _, ok := base.Const(); !ok {
		s.writeRange(f, base.S.Min+off, base.S.Max+off+int64(n), k, v.Origin|base.Origin)
		return
	}
	at := base.S.Min + off
	if at < -maxStack || at+int64(n) > 0 {
		return
	}
	if at%8 != 0 {
		for i := int64(0); i < int64(n); i++ {
			f.put(at+i, k, v.Origin)
		}
		return
	}
	i, _ := slotOf(at)
	sl := f.slot(i)
	if sl.Bytes[0] == Spill {
		sl.clear()
	}
	if sl.Reg = v; n == 8 {
		sl.Origin = 0
	}
	for b := 0; b < n; b++ {
		sl.Bytes[b] = Spill
	}
}

// writeRange lets each byte of from … to-1 have been written, or not.
func (s *State) writeRange(f *Frame, from, to int64, k ByteKind, o Origin) {
	if from < -maxStack {
		from = -maxStack
	}
	for ; from < to && from < 0; from++ {
		f.maybe(from, k, o)
	}
}

// loadStack reads n bytes at base + off: a spilled register, or what can be
// said about the bytes.
func (s *State) loadStack(base *Reg, off int64, n int) Reg {
	unknown := number(Bytes(n))
	f := s.Frames[base.Frame]
	if _, ok := base.Const(); !ok {
		unknown.Origin = base.Origin | f.origins()
		return unknown
	}
	at := base.S.Min + off
	if at < -maxStack || at+int64(n) > 0 {
		return unknown
	}
	zero := true
	for i := int64(0); i < int64(n); i++ {
		k, _ := f.byteAt(at + i)
		zero = zero && k == Zero
	}
	if zero {
		return number(Const(0))
	}
	i, byte := slotOf(at)
	if i >= len(f.Stack) {
		return unknown
	}
	if f.Stack[i].Bytes[byte] != Spill {
		unknown.Origin = f.Stack[i].Origin
		return unknown
	}
	return f.Stack[i].part(byte, n)
}

// part is n bytes from byte at of the register spilled in sl.
func (sl *Slot) part(at, n int) Reg {
	unknown := Reg{Scalar: Bytes(n), Kind: Number, Origin: sl.Reg.Origin | sl.Origin}
	if at+n > 8 || sl.Bytes[at+n-1] != Spill {
		return unknown
	}
	whole := n == 8 || sl.Bytes[n%8] != Spill
	switch {
	case at == 0 && whole:
		return sl.Reg
	case sl.Reg.IsPointer():
		return unknown
	}
	shifted := sl.Reg.Scalar.rsh(Const(uint64(8 * at)))
	unknown.Scalar = shifted.ZeroExtend(n)
	return unknown
}

// origins is where anything in the frame's stack came from.
func (f *Frame) origins() (o Origin) {
	for i := range f.Stack {
		o |= f.Stack[i].Origin | f.Stack[i].Reg.Origin
	}
	return o
}
