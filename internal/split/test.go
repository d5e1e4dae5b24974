package split

import (
	"fmt"
	"math"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

// Part is a part of the call's data, as a number:
//
//	(the Size bytes of struct seccomp_data at Off) & Mask >> Right
//
// Off and Size, 4 or 8, are a whole field or an aligned half of one. Only a Size
// of 4 has a Right other than 0. The zero Part is none.
type Part struct {
	Off, Size, Right uint8
	Mask             uint64
}

// Of is the number in d.
func (p Part) Of(d *abi.SeccompData) uint64 {
	v := uint64(0)
	switch {
	case p.Off == abi.OffNr:
		v = uint64(uint32(d.Nr))
	case p.Off == abi.OffArch:
		v = uint64(d.Arch)
	case p.Off < abi.OffArgs:
		v = d.InstructionPointer >> (8 * (p.Off & 4))
	default:
		v = d.Args[(p.Off-abi.OffArgs)/8] >> (8 * (p.Off & 4))
	}
	return v & p.Mask & full(p.Size) >> p.Right
}

// String writes the part in C, such as "args[0].low & 0xff".
func (p Part) String() string {
	name := fieldName(p.Off, p.Size)
	if p.Mask != full(p.Size) {
		name += fmt.Sprintf(" & %#x", p.Mask)
	}
	if p.Right != 0 {
		name += fmt.Sprintf(" >> %d", p.Right)
	}
	return name
}

// Test is a comparison of a part of the call's data with a constant, or with
// another part:
//
//	Part  Op  Value    or    Part  Op  With    or    Low <= Part <= Value
type Test struct {
	// Part is not shifted where it is compared with a constant.
	Part
	// Op is OpJeq, OpJgt, OpJge or OpJset of package prog, or OpJsgt or OpJsge,
	// which compare Size bytes as signed numbers and have full masks and equal
	// sizes, or OpJle, which is for Low and Value.
	Op         uint8
	Low, Value uint64
	// With is what Part is compared with, unless it is none.
	With Part
}

// Holds tells whether d passes the test.
func (t Test) Holds(d *abi.SeccompData) bool {
	v, k := t.Part.Of(d), t.Value
	if t.With.Size != 0 {
		k = t.With.Of(d)
	}
	shift := 64 - 8*int(t.Size)
	sv, sk := int64(v<<shift)>>shift, int64(k<<shift)>>shift
	switch t.Op {
	case prog.OpJeq:
		return v == k
	case prog.OpJgt:
		return v > k
	case prog.OpJge:
		return v >= k
	case prog.OpJset:
		return v&k != 0
	case prog.OpJle:
		return t.Low <= v && v <= k
	case prog.OpJsgt:
		return sv > sk
	}
	return sv >= sk
}

// String writes the test in C, such as "args[0] & 0xff == 0x10".
func (t Test) String() string {
	if t.With.Size != 0 {
		return fmt.Sprintf("%s %s %s", t.Part, operator(t.Op), t.With)
	}
	switch t.Op {
	case prog.OpJle:
		return fmt.Sprintf("%#x <= %s <= %#x", t.Low, t.Part, t.Value)
	case prog.OpJsgt, prog.OpJsge:
		shift := 64 - 8*int(t.Size)
		return fmt.Sprintf("%s %s %d", t.Part, operator(t.Op), int64(t.Value<<shift)>>shift)
	}
	return fmt.Sprintf("%s %s %#x", t.Part, operator(t.Op), t.Value)
}

func operator(op uint8) string {
	switch op {
	case prog.OpJeq:
		return "=="
	case prog.OpJgt:
		return ">"
	case prog.OpJge:
		return ">="
	case prog.OpJset:
		return "&"
	case prog.OpJsgt:
		return "s>"
	}
	return "s>="
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
	narrow := in.Class() == prog.ClassJMP32
	op, a := in.Op&prog.OpMask, &f.Regs[in.Dst]
	if in.Op&prog.SrcMask != prog.SrcX {
		return constantTest(narrow, op, a.Field, uint64(int64(in.Imm)))
	}
	b := &f.Regs[in.Src]
	if k, known := b.Const(); known && b.Kind == absint.Number {
		return constantTest(narrow, op, a.Field, k)
	}
	if k, known := a.Const(); known && a.Kind == absint.Number {
		return constantTest(narrow, absint.Mirrored(op), b.Field, k)
	}
	return partsTest(narrow, op, a.Field, b.Field)
}

func constantTest(narrow bool, op uint8, f absint.Field, k uint64) (t Test, negated, ok bool) {
	switch {
	case f.Summed():
		return sumTest(narrow, op, f, k)
	case narrow:
		return narrowTest(op, f, k)
	}
	return wideTest(op, f, k)
}

// sumTest compares what something was added to, as compilers do to test for an
// interval at once.
func sumTest(narrow bool, op uint8, f absint.Field, k uint64) (t Test, negated, ok bool) {
	op, negated = absint.Positive(op)
	w := absint.W64
	if narrow {
		f, w = f.Truncate(), absint.W32
	}
	lo, hi, outside, ok := f.Within(op, w, k)
	f.Add, f.Narrow = 0, false
	p, plain := partOf(f)
	if !ok || !plain || p.Right != 0 || lo > p.Mask {
		return t, false, false
	}
	t = Test{Part: p, Op: prog.OpJle, Low: lo, Value: min(hi, p.Mask)}
	switch {
	case lo == t.Value:
		t.Op, t.Low = prog.OpJeq, 0
	case t.Value == p.Mask:
		t.Op, t.Low, t.Value = prog.OpJge, 0, lo
	case lo == 0:
		t.Op, outside = prog.OpJgt, !outside
	}
	return t, negated != outside, true
}

// partsTest compares two fields.
func partsTest(narrow bool, op uint8, f, g absint.Field) (t Test, negated, ok bool) {
	op, negated = absint.Positive(op)
	if f.Summed() || g.Summed() {
		return t, false, false
	}
	if narrow {
		f, g = narrowed(f), narrowed(g)
	}
	if f.Sign != g.Sign {
		return t, false, false
	}
	signed, halves := op == prog.OpJsgt || op == prog.OpJsge, narrow || f.Sign != 0
	switch {
	case f.Sign != 0 && !signed && op != prog.OpJeq:
		return t, false, false // sign-extended halves compare as unsigned like nothing else
	case f.Sign != 0:
		f, g = narrowed(f), narrowed(g)
	}
	a, okA := partOf(f)
	b, okB := partOf(g)
	if !okA || !okB {
		return t, false, false
	}
	if signed && !(halves && plainHalves(a, b)) && !plainWholes(a, b) {
		limit := uint64(math.MaxInt64)
		if halves {
			limit = math.MaxInt32
		}
		if a.Mask>>a.Right > limit || b.Mask>>b.Right > limit {
			return t, false, false
		}
		op = unsigned(op)
	}
	return Test{Part: a, Op: op, With: b}, negated, true
}

// plainHalves tells whether two parts can be compared as signed 32-bit numbers,
// plainWholes as signed 64-bit numbers.
func plainHalves(a, b Part) bool {
	return a.Size == 4 && b.Size == 4 && a.Right|b.Right == 0 && a.Mask&b.Mask == math.MaxUint32
}

func plainWholes(a, b Part) bool {
	return a.Size == 8 && b.Size == 8 && a.Mask&b.Mask == math.MaxUint64
}

// narrowed is the lower half of what a field is.
func narrowed(f absint.Field) absint.Field {
	f.Sign = 0
	f.Mask &= math.MaxUint32 << f.Right
	return f
}

// partOf is a field as a Part: a half where that is all there is of it.
func partOf(f absint.Field) (Part, bool) {
	if f.Size < 4 || f.Left != 0 || f.Sign != 0 || f.Right > 63 {
		return Part{}, false
	}
	p := Part{Off: f.Off, Size: f.Size, Right: f.Right, Mask: f.Mask &^ (1<<f.Right - 1) & full(f.Size)}
	switch {
	case p.Size == 4:
	case p.Mask <= math.MaxUint32:
		p.Size = 4
	case uint32(p.Mask) == 0 && p.Right >= 32:
		p.Off, p.Size, p.Right, p.Mask = p.Off+4, 4, p.Right-32, p.Mask>>32
	}
	return p, p.Size == 4 && p.Right < 32 || p.Right == 0
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
			return Test{Part: Part{Off: f.Off, Size: 4, Mask: math.MaxUint32}, Op: op, Value: k}, negated, f.Size >= 4
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
			return Test{Part: Part{Off: f.Off, Size: 4, Mask: math.MaxUint32}, Op: op, Value: k}, negated, f.Size >= 4
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
	t := Test{Part: Part{Off: f.Off, Size: f.Size, Mask: mask & full(f.Size)}, Op: op, Value: value}
	if t.Size == 8 && op != prog.OpJsgt && op != prog.OpJsge {
		t = t.half()
	}
	if op == prog.OpJset {
		t.Mask = full(t.Size)
	}
	return t, negated, t.Size == 8 || t.Value <= math.MaxUint32
}

// half tests one half where the other does not matter.
func (t Test) half() Test {
	if t.Op == prog.OpJset {
		t.Mask = t.Value // the other bits do not matter
	}
	switch {
	case t.Mask <= math.MaxUint32 && t.Value <= math.MaxUint32:
		t.Size = 4
	case uint32(t.Mask) == 0 && uint32(t.Value) == 0:
		t.Off, t.Size, t.Mask, t.Value = t.Off+4, 4, t.Mask>>32, t.Value>>32
	}
	return t
}

// Interval is the values lo … hi of Part for which t holds, or if outside does not
// hold; lo > hi are none. ok is false if that is not what t is about.
func (t Test) Interval() (lo, hi uint64, outside, ok bool) {
	most := t.Mask
	sign := uint64(1) << (8*t.Size - 1)
	switch {
	case t.With.Size != 0:
	case t.Op == prog.OpJeq:
		return t.Value, t.Value, false, true
	case t.Op == prog.OpJle:
		return t.Low, t.Value, false, true
	case t.Op == prog.OpJgt: // not 0 … Value
		return 0, t.Value, true, true
	case t.Op == prog.OpJge:
		return t.Value, most, false, true
	case t.Op == prog.OpJsgt: // not the least number … Value, which may be around 0
		if v := t.Value & most; v >= sign {
			return sign, v, true, true
		} else {
			return v + 1, sign - 1, false, true
		}
	case t.Op == prog.OpJsge:
		if v := t.Value & most; v > sign {
			return sign, v - 1, true, true
		} else if v < sign {
			return v, sign - 1, false, true
		}
		return 0, most, false, true
	}
	return 0, 0, false, false
}
