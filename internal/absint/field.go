package absint

import (
	"math"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Field says that a number is a part of the context:
//
//	((the Size bytes at Off) & Mask) >> Right << Left  +  Add
//
// whose lowest Sign bits are sign-extended before Add, if Sign is not 0. The sum
// is modulo 2^32 if it is Narrow, else modulo 2^64. A Size of 0 says that it is no
// such part. Like Origin, a Field says nothing about the
// value that the analysis rests on: it is for turning tests into ones that
// classic BPF can do.
type Field struct {
	Off, Size, Right, Left, Sign uint8
	Narrow                       bool
	Add                          int32
	Mask                         uint64
}

// fieldAt is a whole field as it is loaded.
func fieldAt(off int64, size int) Field {
	if off < 0 || off+int64(size) > abi.DataSize {
		return Field{}
	}
	f := Field{Off: uint8(off), Size: uint8(size), Mask: math.MaxUint64}
	if size < 8 {
		f.Mask = 1<<(8*size) - 1
	}
	return f
}

// fieldAfter is the field that a part of the context is after arithmetic with a
// constant.
func fieldAfter(in prog.Insn, dst, src *Reg) Field {
	if k, known := src.Const(); known {
		return dst.Field.after(in, k)
	}
	if op := in.Op & prog.OpMask; op != prog.OpAnd && op != prog.OpAdd {
		return Field{}
	}
	if k, known := dst.Const(); known {
		return src.Field.after(in, k)
	}
	return Field{}
}

// after is f after arithmetic of in's kind with k.
func (f Field) after(in prog.Insn, k uint64) Field {
	if f.Size == 0 {
		return Field{}
	}
	w := width(in)
	narrow := w == W32
	if narrow {
		f, k = f.Truncate(), uint64(int64(int32(k)))
	}
	amount := uint8(k) & uint8(w-1)
	switch in.Op & prog.OpMask {
	case prog.OpAdd:
		return f.plus(int64(k), narrow)
	case prog.OpSub:
		return f.plus(-int64(k), narrow)
	case prog.OpAnd:
		if narrow {
			k &= math.MaxUint32
		}
		return f.and(k)
	case prog.OpLsh:
		if f = f.lsh(amount); narrow {
			f = f.Truncate()
		}
		return f
	case prog.OpRsh:
		return f.rsh(amount)
	case prog.OpArsh:
		if !narrow {
			return f.arsh(amount)
		}
	}
	return Field{}
}

// plus adds k; sums that are not small are of no use.
func (f Field) plus(k int64, narrow bool) Field {
	sum := int64(f.Add) + k
	if f.Size == 0 || k != int64(int32(k)) || sum != int64(int32(sum)) || f.Narrow && !narrow {
		return Field{}
	}
	f.Add, f.Narrow = int32(sum), narrow
	return f
}

// Summed tells whether something was added.
func (f Field) Summed() bool { return f.Add != 0 || f.Narrow }

func (f Field) and(k uint64) Field {
	if f.Size == 0 || f.Sign != 0 || f.Summed() {
		return Field{}
	}
	f.Mask &= k >> f.Left << f.Right
	return f
}

// Truncate drops all but the lower 32 bits.
func (f Field) Truncate() Field {
	add := f.Add
	f.Sign = 0 // sign-extended bits are among those dropped: Sign is 32 at most
	f.Add, f.Narrow = 0, false
	if f = f.and(math.MaxUint32); f.Size != 0 && add != 0 {
		f.Add, f.Narrow = add, true // what is carried into the upper half is dropped
	}
	return f
}

func (f Field) lsh(n uint8) Field {
	if f.Sign != 0 || f.Left+n > 63 || f.Summed() {
		return Field{}
	}
	f.Left += n
	f.Mask &= math.MaxUint64 >> f.Left << f.Right
	return f
}

func (f Field) rsh(n uint8) Field {
	switch {
	case f.Sign != 0 || f.Size == 0 || f.Summed():
		return Field{}
	case n <= f.Left:
		f.Left -= n
		return f
	}
	f.Right += n - f.Left
	f.Left = 0
	if f.Right > 63 {
		return Field{}
	}
	return f
}

// arsh knows the pair of shifts that extends the sign of the lower half.
func (f Field) arsh(n uint8) Field {
	if n != 32 || f.Left != 32 || f.Summed() {
		return Field{}
	}
	f.Left = 0
	return f.signed()
}

// signed extends the sign of the lower half, if it is all there.
func (f Field) signed() Field {
	if f = f.Truncate(); f.Summed() || f.Right != 0 || f.Left != 0 || f.Mask != math.MaxUint32 {
		return Field{}
	}
	f.Sign = 32
	return f
}

// Within turns "f op k", in so many bits, into a statement about what f is before
// Add: it lies in lo … hi, or outside of that if negated. ok is false where that
// is no such interval.
func (f Field) Within(op uint8, w Width, k uint64) (lo, hi uint64, negated, ok bool) {
	all := uint64(math.MaxUint64)
	if w == W32 {
		f, k = f.Truncate(), uint64(uint32(k))
	}
	if w == W32 || f.Narrow {
		all = math.MaxUint32
	}
	if f.Size == 0 || f.Sign != 0 || k > all {
		return 0, 0, false, false
	}
	switch add := uint64(int64(f.Add)); {
	case op == prog.OpJeq:
		lo, hi = (k-add)&all, (k-add)&all
	case op == prog.OpJgt && k < all: // not 0 … k
		lo, hi, negated = -add&all, (k-add)&all, true
	case op == prog.OpJge && k > 0: // not 0 … k-1
		lo, hi, negated = -add&all, (k-1-add)&all, true
	default:
		return 0, 0, false, false
	}
	if lo > hi { // around the end: what lies between is out
		lo, hi, negated = hi+1, lo-1, !negated
	}
	return lo, hi, negated, lo <= hi
}
