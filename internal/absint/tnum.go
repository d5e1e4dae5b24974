package absint

import (
	"fmt"
	"math/bits"
)

// Tnum is a tristate number: a bit is known where Mask is 0, and has then the
// bit of Value. Bits of Value under Mask are 0. The operations are those of
// Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with
// Tristate Numbers" (CGO 2022).
type Tnum struct{ Value, Mask uint64 }

// ConstTnum is the number v.
func ConstTnum(v uint64) Tnum { return Tnum{Value: v} }

// UnknownTnum is any number.
func UnknownTnum() Tnum { return Tnum{Mask: ^uint64(0)} }

// RangeTnum is the smallest tristate number that holds lo … hi, lo <= hi.
func RangeTnum(lo, hi uint64) Tnum {
	n := bits.Len64(lo ^ hi)
	if n > 63 {
		return UnknownTnum()
	}
	low := uint64(1)<<n - 1
	return Tnum{Value: lo &^ low, Mask: low}
}

// IsConst tells whether every bit of t is known.
func (t Tnum) IsConst() bool { return t.Mask == 0 }

// Contains tells whether v is one of t's numbers.
func (t Tnum) Contains(v uint64) bool { return v&^t.Mask == t.Value }

// Covers tells whether every number of o is one of t's.
func (t Tnum) Covers(o Tnum) bool {
	return o.Mask&^t.Mask == 0 && o.Value&^t.Mask == t.Value
}

// Max is the largest number of t, unsigned.
func (t Tnum) Max() uint64 { return t.Value | t.Mask }

// Aligned tells whether every number of t is a multiple of size, a power of two.
func (t Tnum) Aligned(size uint64) bool { return t.Max()&(size-1) == 0 }

// Intersect holds what is in both; false where nothing is.
func (t Tnum) Intersect(o Tnum) (Tnum, bool) {
	if (t.Value^o.Value)&^t.Mask&^o.Mask != 0 {
		return Tnum{}, false
	}
	mask := t.Mask & o.Mask
	return Tnum{Value: (t.Value | o.Value) &^ mask, Mask: mask}, true
}

// Low is t without the bits above the lowest n.
func (t Tnum) Low(n uint) Tnum {
	if n >= 64 {
		return t
	}
	m := uint64(1)<<n - 1
	return Tnum{Value: t.Value & m, Mask: t.Mask & m}
}

// Add is t + o.
func (t Tnum) Add(o Tnum) Tnum {
	sm := t.Mask + o.Mask
	sv := t.Value + o.Value
	mask := (sm + sv) ^ sv | t.Mask | o.Mask
	return Tnum{Value: sv &^ mask, Mask: mask}
}

// Sub is t - o.
func (t Tnum) Sub(o Tnum) Tnum {
	dv := t.Value - o.Value
	mask := (dv + t.Mask) ^ (dv - o.Mask) | t.Mask | o.Mask
	return Tnum{Value: dv &^ mask, Mask: mask}
}

// And is t & o.
func (t Tnum) And(o Tnum) Tnum {
	v := t.Value & o.Value
	return Tnum{Value: v, Mask: t.Max() & o.Max() &^ v}
}

// Or is t | o.
func (t Tnum) Or(o Tnum) Tnum {
	v := t.Value | o.Value
	return Tnum{Value: v, Mask: (t.Mask | o.Mask) &^ v}
}

// Xor is t ^ o.
func (t Tnum) Xor(o Tnum) Tnum {
	mask := t.Mask | o.Mask
	return Tnum{Value: (t.Value ^ o.Value) &^ mask, Mask: mask}
}

// Lsh is t << n.
func (t Tnum) Lsh(n uint) Tnum { return Tnum{Value: t.Value << n, Mask: t.Mask << n} }

// Rsh is t >> n, unsigned.
func (t Tnum) Rsh(n uint) Tnum { return Tnum{Value: t.Value >> n, Mask: t.Mask >> n} }

// Arsh is t >> n, signed: an unknown sign makes every copy of it unknown.
func (t Tnum) Arsh(n uint) Tnum {
	return Tnum{Value: uint64(int64(t.Value) >> n), Mask: uint64(int64(t.Mask) >> n)}
}

// Mul is t * o: the product of what is known, plus what each unknown bit may add.
func (t Tnum) Mul(o Tnum) Tnum {
	known := ConstTnum(t.Value * o.Value)
	extra := Tnum{}
	for t.Max() != 0 {
		switch {
		case t.Value&1 != 0:
			extra = extra.Add(Tnum{Mask: o.Mask})
		case t.Mask&1 != 0:
			extra = extra.Add(Tnum{Mask: o.Max()})
		}
		t, o = t.Rsh(1), o.Lsh(1)
	}
	return known.Add(extra)
}

// String is the kernel's "(value; mask)".
func (t Tnum) String() string { return fmt.Sprintf("(%#x; %#x)", t.Value, t.Mask) }
