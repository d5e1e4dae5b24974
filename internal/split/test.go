package split

import (
	"fmt"
	"math"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

// Test is a comparison of a part of the call's data with a constant:
//
//	(the Size bytes of struct seccomp_data at Off) & Mask  Op  Value
type Test struct {
	// Off and Size, 4 or 8, are a whole field or an aligned half of one.
	Off, Size uint8
	Mask      uint64
	// Op is OpJeq, OpJgt, OpJge or OpJset of package prog, or OpJsgt or OpJsge,
	// which compare Size bytes as signed numbers and have a full Mask.
	Op    uint8
	Value uint64
}

// Holds tells whether d passes the test.
func (t Test) Holds(d *abi.SeccompData) bool {
	b := d.Bytes()
	v := uint64(0)
	for i := int(t.Size) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[int(t.Off)+i])
	}
	v &= t.Mask
	shift := 64 - 8*int(t.Size)
	sv, sk := int64(v<<shift)>>shift, int64(t.Value<<shift)>>shift
	switch t.Op {
	case prog.OpJeq:
		return v == t.Value
	case prog.OpJgt:
		return v > t.Value
	case prog.OpJge:
		return v >= t.Value
	case prog.OpJset:
		return v&t.Value != 0
	case prog.OpJsgt:
		return sv > sk
	}
	return sv >= sk
}

// String writes the test in C, such as "args[0] & 0xff == 0x10".
func (t Test) String() string {
	name := fieldName(t.Off, t.Size)
	if t.Mask != full(t.Size) {
		name += fmt.Sprintf(" & %#x", t.Mask)
	}
	op := map[uint8]string{
		prog.OpJeq: "==", prog.OpJgt: ">", prog.OpJge: ">=", prog.OpJset: "&", prog.OpJsgt: "s>", prog.OpJsge: "s>=",
	}[t.Op]
	return fmt.Sprintf("%s %s %#x", name, op, t.Value)
}

func fieldName(off, size uint8) string {
	half := ""
	if size == 4 {
		half = [...]string{".low", ".high"}[off%8/4]
	}
	switch {
	case off == abi.OffNr:
		return "nr"
	case off == abi.OffArch:
		return "arch"
	case off < abi.OffArgs:
		return "instruction_pointer" + half
	}
	return fmt.Sprintf("args[%d]%s", (off-abi.OffArgs)/8, half)
}

func full(size uint8) uint64 { return math.MaxUint64 >> (64 - 8*size) }

// branchTest is the test that a conditional jump in state s makes of the
// context; false if classic BPF cannot make it. negated says that the jump is
// taken where the test fails.
func branchTest(p *prog.Program, s *absint.State) (t Test, negated, ok bool) {
	in := p.Insns[s.PC]
	f := s.Top()
	op, field := in.Op&prog.OpMask, f.Regs[in.Dst].Field
	k := uint64(int64(in.Imm))
	if in.Op&prog.SrcMask == prog.SrcX {
		if k, ok = f.Regs[in.Src].Const(); !ok || f.Regs[in.Src].Kind != absint.Number {
			if k, ok = f.Regs[in.Dst].Const(); !ok || f.Regs[in.Dst].Kind != absint.Number {
				return t, false, false
			}
			op, field = absint.Mirrored(op), f.Regs[in.Src].Field
		}
	}
	if in.Class() == prog.ClassJMP32 {
		return narrowTest(op, field, k)
	}
	return wideTest(op, field, k)
}

// wideTest compares all 64 bits of a field with k.
func wideTest(op uint8, f absint.Field, k uint64) (t Test, negated, ok bool) {
	op, negated = absint.Positive(op)
	if f.Sign != 0 {
		// A sign-extended half compares like the half, if k is one as well.
		if uint64(int64(int32(k))) != k || op == prog.OpJgt || op == prog.OpJge || op == prog.OpJset {
			return t, false, false
		}
		f.Sign, k = 0, uint64(uint32(k))
		if op != prog.OpJeq {
			return Test{f.Off, 4, math.MaxUint32, op, k}, negated, f.Size >= 4
		}
	}
	if op == prog.OpJsgt || op == prog.OpJsge {
		switch {
		case f.Mask>>f.Right <= math.MaxInt64 && int64(k) >= 0:
			op = unsigned(op)
		case f.Mask != math.MaxUint64 || f.Right != 0:
			return t, false, false
		}
	}
	return shiftedTest(op, f, k, negated)
}

// narrowTest compares the lower 32 bits of a field with those of k.
func narrowTest(op uint8, f absint.Field, k uint64) (t Test, negated, ok bool) {
	op, negated = absint.Positive(op)
	f.Sign, k = 0, uint64(uint32(k))
	f.Mask &= math.MaxUint32 << f.Right
	if op == prog.OpJsgt || op == prog.OpJsge {
		switch {
		case f.Mask>>f.Right <= math.MaxInt32 && k <= math.MaxInt32:
			op = unsigned(op)
		case f.Mask != math.MaxUint32 || f.Right != 0 || f.Left != 0:
			return t, false, false
		default:
			return Test{f.Off, 4, math.MaxUint32, op, k}, negated, f.Size >= 4
		}
	}
	return shiftedTest(op, f, k, negated)
}

func unsigned(op uint8) uint8 {
	if op == prog.OpJsgt {
		return prog.OpJgt
	}
	return prog.OpJge
}

// shiftedTest moves the shift of a field to the constant: what is shifted out
// is masked, and the rest compares like what was shifted.
func shiftedTest(op uint8, f absint.Field, k uint64, negated bool) (Test, bool, bool) {
	if f.Size < 4 || f.Left != 0 || f.Sign != 0 {
		return Test{}, false, false
	}
	mask := f.Mask &^ (1<<f.Right - 1)
	value := k << f.Right
	if op == prog.OpJset {
		value &= mask
	} else if value>>f.Right != k {
		return Test{}, false, false
	}
	t := Test{Off: f.Off, Size: f.Size, Mask: mask & full(f.Size), Op: op, Value: value}
	if t.Size == 8 && op != prog.OpJsgt && op != prog.OpJsge {
		t = t.half()
	}
	return t, negated, t.Size == 8 || t.Value <= math.MaxUint32
}

// half tests one half where the other does not matter.
func (t Test) half() Test {
	switch {
	case t.Mask <= math.MaxUint32 && t.Value <= math.MaxUint32:
		t.Size = 4
	case uint32(t.Mask) == 0 && uint32(t.Value) == 0:
		t.Off, t.Size, t.Mask, t.Value = t.Off+4, 4, t.Mask>>32, t.Value>>32
	}
	return t
}
