package absint

import (
	"math"
	"math/bits"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Numbers is a set of system-call numbers: closed intervals in ascending order
// that neither overlap nor touch. It is never changed once it is made, so that
// states can share it; nil is for states that are not told apart by number.
type Numbers []Range[uint32]

// NumbersBetween is the numbers lo … hi, lo <= hi.
func NumbersBetween(lo, hi uint32) Numbers { return Numbers{{lo, hi}} }

// hull is the smallest interval around the set, which is not empty.
func (n Numbers) hull() Scalar {
	return Between(uint64(n[0].Min), uint64(n[len(n)-1].Max))
}

// Same tells whether two sets are one and the same; equal sets may be two.
func (n Numbers) Same(o Numbers) bool {
	return len(n) == len(o) && (len(n) == 0 || &n[0] == &o[0])
}

// Equal tells whether two sets have the same numbers.
func (n Numbers) Equal(o Numbers) bool {
	for i := 0; i < len(n) && len(n) == len(o); i++ {
		if n[i] != o[i] {
			return false
		}
	}
	return len(n) == len(o)
}

// covers tells whether every number of o is one of n's. A nil set says nothing,
// and so covers and is covered.
func (n Numbers) covers(o Numbers) bool {
	if n == nil || o == nil || n.Same(o) {
		return true
	}
	i := 0
	for _, r := range o {
		for i < len(n) && n[i].Max < r.Min {
			i++
		}
		if i == len(n) || !n[i].covers(r) {
			return false
		}
	}
	return true
}

// meets tells whether n and o share a number. Nil sets do.
func (n Numbers) meets(o Numbers) bool {
	if n == nil || o == nil {
		return true
	}
	for len(n) > 0 && len(o) > 0 {
		switch {
		case n[0].Max < o[0].Min:
			n = n[1:]
		case o[0].Max < n[0].Min:
			o = o[1:]
		default:
			return true
		}
	}
	return false
}

// Cut parts n into what lies in the intervals of by, and what does not.
func (n Numbers) Cut(by Numbers) (in, out Numbers) {
	if len(n) == 1 && n[0].Min == n[0].Max {
		if by.contains(n[0].Min) {
			return n, nil
		}
		return nil, n
	}
	in, out = make(Numbers, 0, len(by)), make(Numbers, 0, len(n)+len(by))
	for _, r := range n {
		from, whole := r.Min, true
		for _, b := range by {
			if b.Max < from || b.Min > r.Max {
				continue
			}
			if b.Min > from {
				out = append(out, Range[uint32]{from, b.Min - 1})
				from = b.Min
			}
			last := min(r.Max, b.Max)
			in = append(in, Range[uint32]{from, last})
			if whole = last < r.Max; !whole {
				break
			}
			from = last + 1
		}
		if whole {
			out = append(out, Range[uint32]{from, r.Max})
		}
	}
	return in, out
}

func (n Numbers) contains(v uint32) bool {
	for _, r := range n {
		if r.contains(v) {
			return true
		}
	}
	return false
}

// isNumber tells whether r holds the number of the call, whole.
func (r *Reg) isNumber() bool { return r.isNumberPlus() && !r.Field.Summed() }

// isNumberPlus tells whether r holds the number of the call plus a constant.
func (r *Reg) isNumberPlus() bool {
	f := &r.Field
	return f.Size == 4 && f.Off == abi.OffNr && f.Mask == math.MaxUint32 && f.Right|f.Left|f.Sign == 0 && r.Kind == Number
}

// parts tells whether a test of r parts the calls by their number.
func (r *Reg) parts() bool { return r.Table != 0 || r.isNumberPlus() }

// partsLike tells whether the calls that a test of r parts are parted by one of cur
// in the same way.
func (r *Reg) partsLike(cur *Reg) bool {
	return (r.Table == 0 || r.Table == cur.Table) && (!r.isNumberPlus() || cur.isNumberPlus() && r.Field == cur.Field)
}

// ByNumber tells whether r is known exactly for each number of the calls.
func (r *Reg) ByNumber() bool { return r.Table != 0 }

// passing is the numbers nr for which "nr op k" holds, where that takes a few
// intervals. A number is zero-extended, whatever the width of the comparison.
func passing(op uint8, w Width, k uint64) (few, bool) {
	if w == W32 {
		k = uint64(uint32(k))
	}
	switch op {
	case prog.OpJeq:
		return few{}.and(k, k), true
	case prog.OpJgt:
		return above(k), true
	case prog.OpJge:
		return few{}.and(k, math.MaxUint32), true
	case prog.OpJset:
		return sharing(uint32(k))
	case prog.OpJsgt:
		return passingSigned(w, k, 1), true
	case prog.OpJsge:
		return passingSigned(w, k, 0), true
	}
	return few{}, false
}

// holds is "a op k", op as Positive leaves it.
func holds(op uint8, w Width, a, k uint64) bool {
	sa, sk := int64(a), int64(k)
	if w == W32 {
		a, k, sa, sk = uint64(uint32(a)), uint64(uint32(k)), int64(int32(a)), int64(int32(k))
	}
	switch op {
	case prog.OpJeq:
		return a == k
	case prog.OpJgt:
		return a > k
	case prog.OpJge:
		return a >= k
	case prog.OpJset:
		return a&k != 0
	case prog.OpJsgt:
		return sa > sk
	}
	return sa >= sk
}

// few is a set of at most eight intervals, like Numbers.
type few struct {
	r [8]Range[uint32]
	n int
}

// and adds lo … hi as far as those are numbers; they follow what is there.
func (f few) and(lo, hi uint64) few {
	if lo <= math.MaxUint32 && lo <= hi {
		f.r[f.n] = Range[uint32]{uint32(lo), uint32(min(hi, math.MaxUint32))}
		f.n++
	}
	return f
}

func above(k uint64) few {
	if k >= math.MaxUint32 {
		return few{}
	}
	return few{}.and(k+1, math.MaxUint32)
}

// passingSigned is the numbers at least k + gap, gap 0 or 1. In 64 bits a number
// is never negative; in 32 those from 2^31 on are.
func passingSigned(w Width, k uint64, gap int64) few {
	least := int64(k)
	if w == W32 {
		least = int64(int32(k))
	}
	if least == math.MaxInt64 {
		return few{}
	}
	least += gap
	switch {
	case w == W64:
		return few{}.and(uint64(max(least, 0)), math.MaxUint32)
	case least >= 0:
		return few{}.and(uint64(least), math.MaxInt32)
	case least == math.MinInt32:
		return few{}.and(0, math.MaxUint32)
	}
	return few{}.and(0, math.MaxInt32).and(uint64(uint32(least)), math.MaxUint32)
}

// lowestBit bounds how many intervals a test of one bit parts the numbers into.
const lowestBit = 28

// sharing is the numbers that have one of k's bits: where k is one high bit, or
// all bits from one on.
func sharing(k uint32) (n few, ok bool) {
	low := bits.TrailingZeros32(k)
	switch {
	case k == 0:
		return n, true
	case k == math.MaxUint32<<low:
		return n.and(uint64(k&-k), math.MaxUint32), true
	case k&(k-1) != 0 || low < lowestBit:
		return n, false
	}
	for from := uint64(k); from <= math.MaxUint32; from += 2 * uint64(k) {
		n = n.and(from, from+uint64(k)-1)
	}
	return n, true
}

// byNumber tells which numbers of s the branch in sends where it jumps, and which
// it lets go on; false if that is not a matter of the number alone.
func (s *State) byNumber(in prog.Insn, op uint8, w Width) (jump, on Numbers, ok bool) {
	if s.Nr == nil {
		return nil, nil, false
	}
	nr, op, k, ok := s.numberTest(in, op)
	if !ok {
		return nil, nil, false
	}
	op, negated := Positive(op)
	if v, single := nr.Const(); single && !nr.Field.Summed() {
		if holds(op, w, v, k) != negated {
			return s.Nr, nil, true
		}
		return nil, s.Nr, true
	}
	pass, ok := passing(op, w, k)
	if nr.Field.Summed() {
		lo, hi, outside, known := nr.Field.Within(op, w, k)
		pass, ok, negated = few{}.and(lo, hi), known, negated != outside
	}
	if !ok {
		return nil, nil, false
	}
	if jump, on = s.Nr.Cut(pass.r[:pass.n]); negated {
		jump, on = on, jump
	}
	return jump, on, true
}

// numberTest finds the register with the number, perhaps plus a constant, that in
// compares with the constant k by op.
func (s *State) numberTest(in prog.Insn, op uint8) (nr *Reg, with uint8, k uint64, ok bool) {
	f := s.Top()
	if nr = &f.Regs[in.Dst]; in.Op&prog.SrcMask != prog.SrcX {
		return nr, op, uint64(int64(in.Imm)), nr.isNumberPlus()
	}
	other := &f.Regs[in.Src]
	if !nr.isNumberPlus() {
		nr, other, op = other, nr, Mirrored(op)
	}
	k, ok = other.Const()
	return nr, op, k, ok && other.Kind == Number && nr.isNumberPlus()
}

// keep leaves s with the calls n, in every copy of the number.
func (m *Machine) keep(s *State, n Numbers) {
	if s.Nr.Same(n) {
		return
	}
	hull := n.hull()
	s.Nr, s.hull = n, hull
	s.each(func(r *Reg) {
		if r.isNumber() {
			r.Scalar = hull
		}
		m.settle(r, n)
	})
}

// branchByNumber goes where each number of s goes.
func (m *Machine) branchByNumber(s *State, jump, on Numbers, there, here int) (jumped *State) {
	switch {
	case len(on) == 0:
		s.PC = there
	case len(jump) == 0:
		s.PC = here
	default:
		jumped = m.clone(s)
		m.keep(jumped, jump)
		jumped.PC = there
		m.keep(s, on)
		s.PC = here
	}
	return jumped
}

// Mirrored is comparison op with its operands exchanged.
func Mirrored(op uint8) uint8 {
	switch op {
	case prog.OpJgt:
		return prog.OpJlt
	case prog.OpJlt:
		return prog.OpJgt
	case prog.OpJge:
		return prog.OpJle
	case prog.OpJle:
		return prog.OpJge
	case prog.OpJsgt:
		return prog.OpJslt
	case prog.OpJslt:
		return prog.OpJsgt
	case prog.OpJsge:
		return prog.OpJsle
	case prog.OpJsle:
		return prog.OpJsge
	}
	return op
}

// Positive writes op by ==, >, >=, & and their signed forms, or the negation of
// one of them.
func Positive(op uint8) (with uint8, negated bool) {
	switch op {
	case prog.OpJne:
		return prog.OpJeq, true
	case prog.OpJlt:
		return prog.OpJge, true
	case prog.OpJle:
		return prog.OpJgt, true
	case prog.OpJslt:
		return prog.OpJsge, true
	case prog.OpJsle:
		return prog.OpJsgt, true
	}
	return op, false
}

// Single tells whether the set is one number.
func (n Numbers) Single() bool { return len(n) == 1 && n[0].Min == n[0].Max }

// Halves parts the set in two, unless it is one number. Real numbers of calls, below
// 1024, come apart from others first.
func (n Numbers) Halves() []Numbers {
	const real = 1023
	first, last := n[0].Min, n[len(n)-1].Max
	by := first + (last-first)/2
	switch {
	case n.Single():
		return []Numbers{n}
	case first <= real && last > real:
		by = real
	case len(n) > 1:
		by = n[(len(n)-1)/2].Max
	}
	a, b := n.Cut(NumbersBetween(first, by))
	return []Numbers{a, b}
}
