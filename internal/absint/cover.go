package absint

// ids pairs the ties of two states: registers tied in the one must be tied in
// the other, or a test of one of them would say less about the rest.
type ids struct {
	pairs [64]struct{ old, cur uint32 }
	n     int
	// byNumber has what is made of the call's number be told from other numbers.
	byNumber bool
}

// match pairs old with cur; false if either has another partner. A full table
// says false: the states count as different.
func (m *ids) match(old, cur uint32) bool {
	if old == 0 {
		return true
	}
	if cur == 0 {
		return false
	}
	for _, p := range m.pairs[:m.n] {
		if p.old == old || p.cur == cur {
			return p.old == old && p.cur == cur
		}
	}
	if m.n == len(m.pairs) {
		return false
	}
	m.pairs[m.n].old, m.pairs[m.n].cur = old, cur
	m.n++
	return true
}

// covers tells whether s describes every run that cur describes, as far as it
// matters after it. What s has not written was not read on any path from s.
func (s *State) covers(cur *State) bool {
	if len(s.Frames) != len(cur.Frames) || len(s.Refs) != len(cur.Refs) {
		return false
	}
	if s.Lock.Map != cur.Lock.Map || s.Touched && !cur.Touched || !s.Nr.covers(cur.Nr) {
		return false
	}
	for i, f := range s.Frames {
		if g := cur.Frames[i]; f.CallSite != g.CallSite || f.Func != g.Func {
			return false
		}
	}
	m := ids{byNumber: s.Nr != nil}
	for i, f := range s.Frames {
		if !f.covers(cur.Frames[i], &m) {
			return false
		}
	}
	for i, r := range s.Refs {
		if !m.match(r, cur.Refs[i]) {
			return false
		}
	}
	return m.match(s.Lock.ID, cur.Lock.ID) && (s.Lock.ID != 0 || cur.Lock.ID == 0)
}

func (f *Frame) covers(cur *Frame, m *ids) bool {
	for i := range f.Regs {
		if !f.Regs[i].covers(&cur.Regs[i], m) {
			return false
		}
	}
	for i := range f.Stack {
		if !f.Stack[i].covers(cur, i, m) {
			return false
		}
	}
	return true
}

func (r *Reg) covers(cur *Reg, m *ids) bool {
	switch {
	case r.Kind == None:
		return true
	case r.Kind != cur.Kind:
		return false
	case r.Frame != cur.Frame || r.Map != cur.Map || r.Size != cur.Size:
		return false
	case r.Bits.Mask == 0 && r.Bits != cur.Bits:
		return false
	case m.byNumber && !r.partsLike(cur):
		// A test of r parts the calls, one of cur does not, or elsewhere.
		return false
	case !r.Scalar.Covers(&cur.Scalar):
		return false
	}
	return m.match(r.ID, cur.ID) && m.match(r.Ref, cur.Ref)
}

func (sl *Slot) covers(frame *Frame, i int, m *ids) bool {
	var cur Slot
	if i < len(frame.Stack) {
		cur = frame.Stack[i]
	}
	same := sl.Bytes[0] == Spill && sameSpill(&sl.Bytes, &cur.Bytes)
	switch {
	case same && !sl.Reg.covers(&cur.Reg, m):
		return false
	case !same && sl.Bytes[0] == Spill && (!sl.anyNumber() || m.byNumber && sl.Reg.parts()):
		return false
	}
	for b, k := range sl.Bytes {
		if k == Spill && !same {
			k = Data
		}
		if !k.covers(cur.Bytes[b], &cur.Reg) {
			return false
		}
	}
	return true
}

// anyNumber tells whether the spilled register says no more than its bytes.
func (sl *Slot) anyNumber() bool {
	n := 0
	for n < 8 && sl.Bytes[n] == Spill {
		n++
	}
	any := Bytes(n)
	return sl.Reg.Kind == Number && sl.Reg.ID == 0 && sl.Reg.Scalar.Covers(&any)
}

func sameSpill(a, b *[8]ByteKind) bool {
	for i := range a {
		if (a[i] == Spill) != (b[i] == Spill) {
			return false
		}
	}
	return true
}

// covers: a Spill of the same shape has been compared as a register before.
func (k ByteKind) covers(cur ByteKind, spilled *Reg) bool {
	switch k {
	case Zero, Spill:
		return cur == k
	case Data:
		return cur == Data || cur == Zero || cur == Spill && spilled.Kind == Number
	}
	return true
}

// untie drops the ties of numbers that no other register shares: they say
// nothing, and would make states look different.
func (s *State) untie() {
	var regs [16]*Reg
	n := 0
	s.each(func(r *Reg) {
		if r.Kind == Number && r.ID != 0 && n < len(regs) {
			regs[n] = r
			n++
		}
	})
	if n == len(regs) {
		return
	}
	for i, r := range regs[:n] {
		if single(regs[:n], i) {
			r.ID = 0
		}
	}
}

func single(regs []*Reg, i int) bool {
	for j, r := range regs {
		if j != i && r.ID == regs[i].ID {
			return false
		}
	}
	return true
}
