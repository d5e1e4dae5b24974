package absint

import (
	"math"
	"math/bits"

	"portcullis/internal/prog"
)

// Width says how much of a register an operation works on.
type Width uint8

// The two widths of arithmetic and comparisons. A 32-bit operation reads the
// lower halves and clears the upper half of its result (RFC 9669, 4.1).
const (
	W64 Width = 64
	W32 Width = 32
)

// Arith is a op b for a binary arithmetic operation of RFC 9669 4.1. variant is
// the instruction's Off: 1 makes DIV and MOD signed.
func Arith(op uint8, w Width, variant int16, a, b Scalar) Scalar {
	if w == W64 {
		return arith64(op, variant, a, b)
	}
	if variant == 1 && (op == prog.OpDiv || op == prog.OpMod) {
		return signedDivMod(op, a.SignExtend(4), b.SignExtend(4)).Truncate()
	}
	b = b.Truncate()
	switch op {
	case prog.OpArsh:
		if b.U.Max > 31 {
			return Bytes(4)
		}
		return arith64(op, 0, a.SignExtend(4), b).Truncate()
	case prog.OpLsh, prog.OpRsh:
		if b.U.Max > 31 {
			return Bytes(4)
		}
	}
	return arith64(op, 0, a.Truncate(), b).Truncate()
}

func arith64(op uint8, variant int16, a, b Scalar) Scalar {
	switch op {
	case prog.OpAdd:
		return a.Add(b)
	case prog.OpSub:
		return a.Sub(b)
	case prog.OpMul:
		return a.mul(b)
	case prog.OpAnd:
		return a.and(b)
	case prog.OpOr:
		return a.or(b)
	case prog.OpXor:
		return fromBits(a.Bits.Xor(b.Bits)).tight()
	case prog.OpLsh:
		return a.lsh(b)
	case prog.OpRsh:
		return a.rsh(b)
	case prog.OpArsh:
		return a.arsh(b)
	case prog.OpDiv, prog.OpMod:
		if variant == 1 {
			return signedDivMod(op, a, b)
		}
		if op == prog.OpDiv {
			return a.div(b)
		}
		return a.mod(b)
	case prog.OpNeg:
		return Const(0).Sub(a)
	}
	return Unknown()
}

// Truncate is the lower half, zero-extended.
func (a Scalar) Truncate() Scalar {
	if a.U.Max <= math.MaxUint32 {
		return a
	}
	a.Bits = a.Bits.Low(32)
	a.U = Range[uint64]{uint64(a.U32.Min), uint64(a.U32.Max)}
	a.S = Range[int64]{int64(a.U32.Min), int64(a.U32.Max)}
	return a.tight()
}

// ZeroExtend is the lowest n bytes, zero-extended.
func (a Scalar) ZeroExtend(n int) Scalar {
	switch {
	case n >= 8:
		return a
	case n == 4:
		return a.Truncate()
	case a.U.Max < uint64(1)<<(8*n):
		return a
	}
	return fromBits(a.Bits.Low(uint(8 * n))).tight()
}

// SignExtend is the lowest n bytes, sign-extended.
func (a Scalar) SignExtend(n int) Scalar {
	if n >= 8 {
		return a
	}
	shift := uint(64 - 8*n)
	lo, hi := int64(math.MinInt64)>>shift, int64(math.MaxInt64)>>shift
	if a.S.Min >= lo && a.S.Max <= hi {
		return a
	}
	r := fromBits(a.Bits.Lsh(shift).Arsh(shift))
	r.S = Range[int64]{lo, hi}
	if n == 4 {
		r.S = Range[int64]{int64(a.S32.Min), int64(a.S32.Max)}
	}
	return r.tight()
}

// Swap reverses the lowest n bytes and clears the rest.
func (a Scalar) Swap(n int) Scalar {
	t := a.Bits.Low(uint(8 * n))
	shift := uint(64 - 8*n)
	return fromBits(Tnum{bits.ReverseBytes64(t.Value) >> shift, bits.ReverseBytes64(t.Mask) >> shift}).tight()
}

// Add is a + b, wrapping.
func (a Scalar) Add(b Scalar) Scalar {
	return Scalar{
		Bits: a.Bits.Add(b.Bits),
		U:    addUnsigned(a.U, b.U, fullU), U32: addUnsigned(a.U32, b.U32, fullU32),
		S: addSigned(a.S, b.S, fullS), S32: addSigned(a.S32, b.S32, fullS32),
	}.tight()
}

// Sub is a - b, wrapping.
func (a Scalar) Sub(b Scalar) Scalar {
	return Scalar{
		Bits: a.Bits.Sub(b.Bits),
		U:    subUnsigned(a.U, b.U, fullU), U32: subUnsigned(a.U32, b.U32, fullU32),
		S: subSigned(a.S, b.S, fullS), S32: subSigned(a.S32, b.S32, fullS32),
	}.tight()
}

// Bounds are right if both wrap or none does.
func addUnsigned[T uint32 | uint64](a, b, full Range[T]) Range[T] {
	lo, hi := a.Min+b.Min, a.Max+b.Max
	if (lo < a.Min) != (hi < a.Max) {
		return full
	}
	return Range[T]{lo, hi}
}

func subUnsigned[T uint32 | uint64](a, b, full Range[T]) Range[T] {
	if (a.Min < b.Max) != (a.Max < b.Min) {
		return full
	}
	return Range[T]{a.Min - b.Max, a.Max - b.Min}
}

func addSigned[T int32 | int64](a, b, full Range[T]) Range[T] {
	lo, hi := a.Min+b.Min, a.Max+b.Max
	if (lo < a.Min) != (b.Min < 0) || (hi < a.Max) != (b.Max < 0) {
		return full
	}
	return Range[T]{lo, hi}
}

func subSigned[T int32 | int64](a, b, full Range[T]) Range[T] {
	lo, hi := a.Min-b.Max, a.Max-b.Min
	if (lo > a.Min) != (b.Max < 0) || (hi > a.Max) != (b.Min < 0) {
		return full
	}
	return Range[T]{lo, hi}
}

func (a Scalar) mul(b Scalar) Scalar {
	r := fromBits(a.Bits.Mul(b.Bits))
	if hi, lo := bits.Mul64(a.U.Max, b.U.Max); hi == 0 {
		r.U = Range[uint64]{a.U.Min * b.U.Min, lo}
	}
	if p := uint64(a.U32.Max) * uint64(b.U32.Max); p <= math.MaxUint32 {
		r.U32 = Range[uint32]{a.U32.Min * b.U32.Min, uint32(p)}
	}
	const limit = math.MaxInt32
	if a.S.Min >= -limit && a.S.Max <= limit && b.S.Min >= -limit && b.S.Max <= limit {
		r.S = mulSigned(a.S, b.S)
	}
	return r.tight()
}

func mulSigned(a, b Range[int64]) Range[int64] {
	p := [4]int64{a.Min * b.Min, a.Min * b.Max, a.Max * b.Min, a.Max * b.Max}
	r := Range[int64]{p[0], p[0]}
	for _, v := range p[1:] {
		r = Range[int64]{min(r.Min, v), max(r.Max, v)}
	}
	return r
}

// The conjunction is at most either operand, the disjunction at least.
func (a Scalar) and(b Scalar) Scalar {
	r := fromBits(a.Bits.And(b.Bits))
	r.U.meet(0, a.U.Max)
	r.U.meet(0, b.U.Max)
	r.U32.meet(0, a.U32.Max)
	r.U32.meet(0, b.U32.Max)
	return r.tight()
}

func (a Scalar) or(b Scalar) Scalar {
	r := fromBits(a.Bits.Or(b.Bits))
	r.U.meet(a.U.Min, fullU.Max)
	r.U.meet(b.U.Min, fullU.Max)
	r.U32.meet(a.U32.Min, fullU32.Max)
	r.U32.meet(b.U32.Min, fullU32.Max)
	return r.tight()
}

// lsh: the machine takes the amount modulo 64; amounts that may be larger say
// nothing.
func (a Scalar) lsh(b Scalar) Scalar {
	if b.U.Max > 63 {
		return Unknown()
	}
	r := Unknown()
	if n, ok := b.Const(); ok {
		r.Bits = a.Bits.Lsh(uint(n))
		if n == 32 {
			r.S = Range[int64]{int64(a.S32.Min) << 32, int64(a.S32.Max) << 32}
		}
	}
	if a.U.Max<<b.U.Max>>b.U.Max == a.U.Max {
		r.U = Range[uint64]{a.U.Min << b.U.Min, a.U.Max << b.U.Max}
	}
	return r.tight()
}

func (a Scalar) rsh(b Scalar) Scalar {
	if b.U.Max > 63 {
		return Unknown()
	}
	r := Unknown()
	if n, ok := b.Const(); ok {
		r.Bits = a.Bits.Rsh(uint(n))
	}
	r.U = Range[uint64]{a.U.Min >> b.U.Max, a.U.Max >> b.U.Min}
	return r.tight()
}

func (a Scalar) arsh(b Scalar) Scalar {
	n, ok := b.Const()
	if !ok || n > 63 {
		return Unknown()
	}
	r := fromBits(a.Bits.Arsh(uint(n)))
	r.S = Range[int64]{a.S.Min >> n, a.S.Max >> n}
	return r.tight()
}

// div: a division by zero yields 0 (RFC 9669, 4.1).
func (a Scalar) div(b Scalar) Scalar {
	if b.U.Min == 0 {
		if b.U.Max == 0 {
			return Const(0)
		}
		return Between(0, a.U.Max)
	}
	return Between(a.U.Min/b.U.Max, a.U.Max/b.U.Min)
}

// mod: a remainder by zero leaves the dividend (RFC 9669, 4.1).
func (a Scalar) mod(b Scalar) Scalar {
	x, okA := a.Const()
	y, okB := b.Const()
	switch {
	case okB && y == 0:
		return a
	case okA && okB:
		return Const(x % y)
	case b.U.Min > a.U.Max:
		return a
	case b.U.Min == 0 || b.U.Max > a.U.Max:
		return Between(0, a.U.Max)
	}
	return Between(0, b.U.Max-1)
}

// signedDivMod truncates towards zero; the most negative number divided by -1
// is itself, with remainder 0 (RFC 9669, 4.1). It works on sign-extended
// operands: the 32-bit form truncates the result.
func signedDivMod(op uint8, a, b Scalar) Scalar {
	x, okA := a.Const()
	y, okB := b.Const()
	switch {
	case okB && y == 0 && op == prog.OpDiv:
		return Const(0)
	case okB && y == 0:
		return a
	case !okA || !okB:
		return Unknown()
	case int64(y) == -1 && op == prog.OpDiv:
		return Const(-x)
	case int64(y) == -1:
		return Const(0)
	case op == prog.OpDiv:
		return Const(uint64(int64(x) / int64(y)))
	}
	return Const(uint64(int64(x) % int64(y)))
}
