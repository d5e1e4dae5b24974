package absint

import (
	"fmt"
	"math"
	"strings"
)

// Range is the closed interval Min … Max.
type Range[T uint32 | int32 | uint64 | int64] struct{ Min, Max T }

func (r Range[T]) empty() bool            { return r.Min > r.Max }
func (r Range[T]) covers(o Range[T]) bool { return r.Min <= o.Min && o.Max <= r.Max }
func (r Range[T]) contains(v T) bool      { return r.Min <= v && v <= r.Max }

func (r *Range[T]) meet(lo, hi T) {
	if lo > r.Min {
		r.Min = lo
	}
	if hi < r.Max {
		r.Max = hi
	}
}

// Scalar is a set of 64-bit numbers: those that satisfy all five views of it.
// U32 and S32 are about the lower half. The zero Scalar is the number 0.
type Scalar struct {
	Bits Tnum
	U    Range[uint64]
	S    Range[int64]
	U32  Range[uint32]
	S32  Range[int32]
}

var (
	fullU   = Range[uint64]{0, math.MaxUint64}
	fullS   = Range[int64]{math.MinInt64, math.MaxInt64}
	fullU32 = Range[uint32]{0, math.MaxUint32}
	fullS32 = Range[int32]{math.MinInt32, math.MaxInt32}
)

// Unknown is any number.
func Unknown() Scalar { return fromBits(UnknownTnum()) }

// Const is the number v.
func Const(v uint64) Scalar {
	return Scalar{
		Bits: ConstTnum(v),
		U:    Range[uint64]{v, v}, S: Range[int64]{int64(v), int64(v)},
		U32: Range[uint32]{uint32(v), uint32(v)}, S32: Range[int32]{int32(v), int32(v)},
	}
}

// Between is the numbers lo … hi, unsigned, lo <= hi.
func Between(lo, hi uint64) Scalar {
	if lo == hi {
		return Const(lo)
	}
	s := fromBits(RangeTnum(lo, hi))
	s.U = Range[uint64]{lo, hi}
	return s.tight()
}

// SignedBetween is the numbers lo … hi, signed, lo <= hi.
func SignedBetween(lo, hi int64) Scalar {
	s := Unknown()
	s.S = Range[int64]{lo, hi}
	return s.tight()
}

// Bytes is any number of n bytes, zero-extended.
func Bytes(n int) Scalar {
	if n >= 8 {
		return Unknown()
	}
	return Between(0, uint64(1)<<(8*n)-1)
}

// fromBits has full ranges; tight makes them follow.
func fromBits(t Tnum) Scalar { return Scalar{t, fullU, fullS, fullU32, fullS32} }

// Const is the number s is, if it is only one.
func (s *Scalar) Const() (uint64, bool) { return s.Bits.Value, s.Bits.IsConst() }

// Is tells whether s is the one number v.
func (s *Scalar) Is(v uint64) bool { return s.Bits.Mask == 0 && s.Bits.Value == v }

// Contains tells whether v is one of s's numbers.
func (s *Scalar) Contains(v uint64) bool {
	return s.Bits.Contains(v) && s.U.contains(v) && s.S.contains(int64(v)) &&
		s.U32.contains(uint32(v)) && s.S32.contains(int32(v))
}

// Covers tells whether every number of o is known to be one of s's.
func (s *Scalar) Covers(o *Scalar) bool {
	return s.Bits.Covers(o.Bits) && s.U.covers(o.U) && s.S.covers(o.S) &&
		s.U32.covers(o.U32) && s.S32.covers(o.S32)
}

// tight lets the views learn from each other. It is for results that cannot be
// empty; a branch that may be impossible uses deduce.
func (s Scalar) tight() Scalar {
	s.deduce()
	return s
}

// deduce lets the views learn from each other until little is left to learn,
// and tells whether any number is left. Every step is an intersection with
// something implied, so that no number is ever lost.
func (s *Scalar) deduce() bool {
	if s.Bits.IsConst() {
		v := s.Bits.Value
		ok := s.Contains(v)
		*s = Const(v)
		return ok
	}
	for i := 0; i < 2; i++ {
		s.rangesFromBits()
		s.signs()
		s.halves()
		s.signs()
		if s.empty() || !s.bitsFromRanges() {
			return false
		}
	}
	s.rangesFromBits()
	return !s.empty()
}

func (s *Scalar) empty() bool {
	return s.U.empty() || s.S.empty() || s.U32.empty() || s.S32.empty()
}

func (s *Scalar) rangesFromBits() {
	const sign, sign32 = uint64(1) << 63, uint32(1) << 31
	v, most := s.Bits.Value, s.Bits.Max()
	s.U.meet(v, most)
	s.S.meet(int64(v|s.Bits.Mask&sign), int64(v|s.Bits.Mask&^sign))
	v32, m32 := uint32(v), uint32(s.Bits.Mask)
	s.U32.meet(v32, uint32(most))
	s.S32.meet(int32(v32|m32&sign32), int32(v32|m32&^sign32))
}

// signs carries over between the signed and the unsigned view where one of
// them does not cross the place at which the other wraps.
func (s *Scalar) signs() {
	if s.S.Min >= 0 || s.S.Max < 0 {
		s.U.meet(uint64(s.S.Min), uint64(s.S.Max))
	}
	if int64(s.U.Min)^int64(s.U.Max) >= 0 {
		s.S.meet(int64(s.U.Min), int64(s.U.Max))
	}
	if s.S32.Min >= 0 || s.S32.Max < 0 {
		s.U32.meet(uint32(s.S32.Min), uint32(s.S32.Max))
	}
	if int32(s.U32.Min)^int32(s.U32.Max) >= 0 {
		s.S32.meet(int32(s.U32.Min), int32(s.U32.Max))
	}
}

// halves carries over between the whole and its lower half.
func (s *Scalar) halves() {
	if s.U.Min>>32 == s.U.Max>>32 {
		s.U32.meet(uint32(s.U.Min), uint32(s.U.Max))
	}
	if s.S.Min>>32 == s.S.Max>>32 {
		s.U32.meet(uint32(s.S.Min), uint32(s.S.Max))
	}
	const high = uint64(math.MaxUint32) << 32
	s.U.meet(s.U.Min&high|uint64(s.U32.Min), s.U.Max&high|uint64(s.U32.Max))
	s.S.meet(int64(uint64(s.S.Min)&high|uint64(s.U32.Min)), int64(uint64(s.S.Max)&high|uint64(s.U32.Max)))
	if s.S.Min >= math.MinInt32 && s.S.Max <= math.MaxInt32 {
		s.S.meet(int64(s.S32.Min), int64(s.S32.Max))
		s.S32.meet(int32(max(s.S.Min, math.MinInt32)), int32(min(s.S.Max, math.MaxInt32)))
	}
}

func (s *Scalar) bitsFromRanges() bool {
	t, ok := s.Bits.Intersect(RangeTnum(s.U.Min, s.U.Max))
	if !ok {
		return false
	}
	low := RangeTnum(uint64(s.U32.Min), uint64(s.U32.Max))
	low.Mask |= uint64(math.MaxUint32) << 32
	s.Bits, ok = t.Intersect(low)
	return ok
}

// String names the number, or the views that say something, as the kernel's
// verifier log does.
func (s Scalar) String() string {
	if s.Bits.IsConst() {
		return fmt.Sprintf("%d", int64(s.Bits.Value))
	}
	var parts []string
	add := func(name string, v any) { parts = append(parts, fmt.Sprintf("%s=%v", name, v)) }
	if s.S.Min != math.MinInt64 {
		add("smin", s.S.Min)
	}
	if s.S.Max != math.MaxInt64 {
		add("smax", s.S.Max)
	}
	if s.U.Min != 0 {
		add("umin", s.U.Min)
	}
	if s.U.Max != math.MaxUint64 {
		add("umax", s.U.Max)
	}
	if s.S32.Min != math.MinInt32 && int64(s.S32.Min) != s.S.Min {
		add("smin32", s.S32.Min)
	}
	if s.S32.Max != math.MaxInt32 && int64(s.S32.Max) != s.S.Max {
		add("smax32", s.S32.Max)
	}
	if s.Bits.Mask != ^uint64(0) {
		add("var_off", s.Bits)
	}
	return "scalar(" + strings.Join(parts, ",") + ")"
}
