package absint

import (
	"math"
	"math/bits"

	"portcullis/internal/prog"
)

// jclear is the opposite of OpJset, which RFC 9669 has no code for.
const jclear = prog.OpJset | 1

// opposite is the comparison that holds where op does not.
func opposite(op uint8) uint8 {
	switch op {
	case prog.OpJeq:
		return prog.OpJne
	case prog.OpJne:
		return prog.OpJeq
	case prog.OpJgt:
		return prog.OpJle
	case prog.OpJle:
		return prog.OpJgt
	case prog.OpJge:
		return prog.OpJlt
	case prog.OpJlt:
		return prog.OpJge
	case prog.OpJsgt:
		return prog.OpJsle
	case prog.OpJsle:
		return prog.OpJsgt
	case prog.OpJsge:
		return prog.OpJslt
	case prog.OpJslt:
		return prog.OpJsge
	}
	return op ^ (prog.OpJset ^ jclear)
}

// Refine keeps of a and b what a op b leaves possible, and tells whether
// anything is left: false means that the branch cannot be taken.
func Refine(op uint8, w Width, a, b Scalar) (Scalar, Scalar, bool) {
	ok := true
	switch op {
	case prog.OpJeq:
		ok = equal(w, &a, &b)
	case prog.OpJne:
		differ(w, &a, &b)
		differ(w, &b, &a)
	case prog.OpJset:
		ok = shareBit(w, &a, &b)
	case jclear:
		ok = shareNone(w, &a, &b)
	case prog.OpJgt, prog.OpJge, prog.OpJsgt, prog.OpJsge:
		ok = order(swapped(op), w, &b, &a)
	default:
		ok = order(op, w, &a, &b)
	}
	if !ok {
		return a, b, false
	}
	okA, okB := a.deduce(), b.deduce()
	return a, b, okA && okB
}

func swapped(op uint8) uint8 {
	switch op {
	case prog.OpJgt:
		return prog.OpJlt
	case prog.OpJge:
		return prog.OpJle
	case prog.OpJsgt:
		return prog.OpJslt
	}
	return prog.OpJsle
}

// order handles the comparisons that put a below b.
func order(op uint8, w Width, a, b *Scalar) bool {
	switch {
	case op == prog.OpJlt && w == W64:
		return below(&a.U, &b.U, 1)
	case op == prog.OpJle && w == W64:
		return below(&a.U, &b.U, 0)
	case op == prog.OpJslt && w == W64:
		return below(&a.S, &b.S, 1)
	case op == prog.OpJsle && w == W64:
		return below(&a.S, &b.S, 0)
	case op == prog.OpJlt:
		return below(&a.U32, &b.U32, 1)
	case op == prog.OpJle:
		return below(&a.U32, &b.U32, 0)
	case op == prog.OpJslt:
		return below(&a.S32, &b.S32, 1)
	}
	return below(&a.S32, &b.S32, 0)
}

// below keeps a + gap <= b, gap 0 or 1. The test of the ends comes first: b.Max
// - 1 and a.Min + 1 must not wrap.
func below[T uint32 | int32 | uint64 | int64](a, b *Range[T], gap T) bool {
	if a.Min > b.Max || gap == 1 && a.Min == b.Max {
		return false
	}
	if a.Max > b.Max-gap {
		a.Max = b.Max - gap
	}
	if b.Min < a.Min+gap {
		b.Min = a.Min + gap
	}
	return true
}

func equal(w Width, a, b *Scalar) bool {
	ta, tb := a.Bits, b.Bits
	if w == W32 {
		const high = uint64(math.MaxUint32) << 32
		tb = Tnum{tb.Value &^ high, tb.Mask | high}
		ta = Tnum{ta.Value &^ high, ta.Mask | high}
	} else {
		a.U.meet(b.U.Min, b.U.Max)
		a.S.meet(b.S.Min, b.S.Max)
		b.U, b.S = a.U, a.S
	}
	a.U32.meet(b.U32.Min, b.U32.Max)
	a.S32.meet(b.S32.Min, b.S32.Max)
	b.U32, b.S32 = a.U32, a.S32
	var okA, okB bool
	a.Bits, okA = a.Bits.Intersect(tb)
	b.Bits, okB = b.Bits.Intersect(ta)
	return okA && okB
}

// differ drops the one number b is from the ends of a's ranges.
func differ(w Width, a, b *Scalar) {
	if w == W32 {
		if low := b.Bits.Low(32); low.IsConst() {
			trim(&a.U32, uint32(low.Value))
			trim(&a.S32, int32(low.Value))
		}
		return
	}
	if v, ok := b.Const(); ok {
		trim(&a.U, v)
		trim(&a.S, int64(v))
	}
}

// trim may leave an empty range, with Min > Max, but never lets an end wrap.
func trim[T uint32 | int32 | uint64 | int64](r *Range[T], v T) {
	switch {
	case r.Min == v && r.Max == v:
		r.Min, r.Max = 1, 0
	case r.Min == v:
		r.Min++
	case r.Max == v:
		r.Max--
	}
}

func low(w Width, t Tnum) Tnum { return t.Low(uint(w)) }

func shareBit(w Width, a, b *Scalar) bool {
	ta, tb := low(w, a.Bits), low(w, b.Bits)
	if ta.Max()&tb.Max() == 0 {
		return false
	}
	if tb.IsConst() && bits.OnesCount64(tb.Value) == 1 {
		a.Bits = Tnum{a.Bits.Value | tb.Value, a.Bits.Mask &^ tb.Value}
	}
	return true
}

func shareNone(w Width, a, b *Scalar) bool {
	ta, tb := low(w, a.Bits), low(w, b.Bits)
	if ta.Value&tb.Value != 0 {
		return false
	}
	a.Bits.Mask &^= tb.Value
	b.Bits.Mask &^= ta.Value
	return true
}
