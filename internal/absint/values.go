package absint

import (
	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Bits is the bits of the context's field that f depends on.
func (f Field) Bits() uint64 { return f.Mask &^ (1<<f.Right - 1) }

// of is the number that f is if the context's field is raw.
func (f Field) of(raw uint64) uint64 {
	v := raw & f.Mask >> f.Right << f.Left
	if f.Sign != 0 {
		v = uint64(int64(int32(v))) // Sign is 32
	}
	v += uint64(int64(f.Add))
	if f.Narrow {
		v = uint64(uint32(v))
	}
	return v
}

// raw is the inverse of of: what Bits hold if f is v; false if f is never v.
func (f Field) raw(v uint64) (uint64, bool) {
	was := v
	if v -= uint64(int64(f.Add)); f.Narrow || f.Sign != 0 {
		v = uint64(uint32(v))
	}
	raw := v >> f.Left << f.Right
	return raw, raw&^f.Bits() == 0 && f.of(raw) == was
}

// maxValues bounds how many numbers Losing finds few enough to be looked at one by
// one: those of a byte.
const maxValues = 256

// Losing finds an operand of the arithmetic at hand that is a field of the call's
// arguments, has few values, and is no field any more afterwards, as in
// "1 << arg": what Bits of it may hold. It is nil if there is no such operand.
func (m *Machine) Losing(s *State) (f Field, raw []uint64) {
	in := m.code.Prog.Insns[s.PC]
	if class := in.Class(); class != prog.ClassALU && class != prog.ClassALU64 || in.Op&prog.OpMask == prog.OpMov {
		return f, nil
	}
	regs := &s.Top().Regs
	operands := []*Reg{&regs[in.Dst]}
	if in.Op&prog.SrcMask == prog.SrcX && in.Op&prog.OpMask != prog.OpEnd {
		operands = append(operands, &regs[in.Src])
	}
	for _, r := range operands {
		if !r.enumerable() {
			continue
		}
		after := Frame{Regs: *regs}
		if m.alu(&after, in); after.Regs[in.Dst].Field.Size != 0 {
			return f, nil
		}
		return r.Field, r.values()
	}
	return f, nil
}

// enumerable tells whether r is an argument that may be one of a few numbers.
func (r *Reg) enumerable() bool {
	return r.Kind == Number && r.Field.Size != 0 && r.Field.Off >= abi.OffArgs && !r.Bits.IsConst() && r.U.Max-r.U.Min < maxValues
}

// values lists what the field of r may hold in its Bits.
func (r *Reg) values() (raw []uint64) {
	for v := r.U.Min; ; v++ {
		if x, ok := r.Field.raw(v); ok && r.Scalar.Contains(v) {
			raw = append(raw, x)
		}
		if v == r.U.Max {
			return raw
		}
	}
}

// Assume keeps of s the calls of which Bits of f hold raw, in every register that
// depends on nothing else; false if there are none.
func (s *State) Assume(f Field, raw uint64) bool {
	possible := true
	s.each(func(r *Reg) {
		g := r.Field
		if r.Kind != Number || g.Off != f.Off || g.Size == 0 || g.Size != f.Size || g.Bits()&^f.Bits() != 0 {
			return
		}
		v := g.of(raw)
		possible = possible && r.Scalar.Contains(v)
		r.Scalar = Const(v)
	})
	return possible
}
