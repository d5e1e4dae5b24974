package absint

import (
	"math"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Field says that a number is a part of the context:
//
//	((the Size bytes at Off) & Mask) >> Right << Left
//
// whose lowest Sign bits are then sign-extended, if Sign is not 0. A Size of 0
// says that it is no such part. Like Origin, a Field says nothing about the
// value that the analysis rests on: it is for turning tests into ones that
// classic BPF can do.
type Field struct {
	Off, Size, Right, Left, Sign uint8
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

// after is the field a register holds after arithmetic with a constant.
func (f Field) after(in prog.Insn) Field {
	if f.Size == 0 || in.Op&prog.SrcMask == prog.SrcX {
		return Field{}
	}
	narrow := width(in) == W32
	if narrow {
		f = f.truncate()
	}
	switch in.Op & prog.OpMask {
	case prog.OpAnd:
		k := uint64(int64(in.Imm))
		if narrow {
			k &= math.MaxUint32
		}
		return f.and(k)
	case prog.OpLsh:
		if f = f.lsh(uint8(in.Imm)); narrow {
			f = f.truncate()
		}
		return f
	case prog.OpRsh:
		return f.rsh(uint8(in.Imm))
	case prog.OpArsh:
		if !narrow {
			return f.arsh(uint8(in.Imm))
		}
	}
	return Field{}
}

func (f Field) and(k uint64) Field {
	if f.Size == 0 || f.Sign != 0 {
		return Field{}
	}
	f.Mask &= k >> f.Left << f.Right
	return f
}

// truncate drops all but the lower 32 bits.
func (f Field) truncate() Field {
	f.Sign = 0 // sign-extended bits are among those dropped: Sign is 32 at most
	return f.and(math.MaxUint32)
}

func (f Field) lsh(n uint8) Field {
	if f.Sign != 0 || f.Left+n > 63 {
		return Field{}
	}
	f.Left += n
	f.Mask &= math.MaxUint64 >> f.Left << f.Right
	return f
}

func (f Field) rsh(n uint8) Field {
	switch {
	case f.Sign != 0 || f.Size == 0:
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
	if n != 32 || f.Left != 32 {
		return Field{}
	}
	f.Left = 0
	return f.signed()
}

// signed extends the sign of the lower half, if it is all there.
func (f Field) signed() Field {
	if f = f.truncate(); f.Right != 0 || f.Left != 0 || f.Mask != math.MaxUint32 {
		return Field{}
	}
	f.Sign = 32
	return f
}
