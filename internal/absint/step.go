package absint

import (
	"encoding/binary"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Input is what is known about the call a program is asked about.
type Input struct {
	// Nr and Arch are the fields of struct seccomp_data, zero-extended.
	Nr, Arch Scalar
	// Calls, if not nil, has paths told apart by number: a test of the number
	// parts the calls in two. Nr is then the smallest range around them.
	Calls Numbers
}

// AnyInput is every call.
func AnyInput() Input { return Input{Nr: Bytes(4), Arch: Bytes(4)} }

// InputOf is the calls of one architecture with one of the numbers calls, which
// paths are told apart by.
func InputOf(arch abi.Arch, calls Numbers) Input {
	return Input{Nr: calls.hull(), Arch: Const(uint64(arch)), Calls: calls}
}

// Machine interprets one program for one set of inputs.
type Machine struct {
	code *Code
	in   Input
	ids  uint32
	gone func(*prog.Map, Scalar) bool
	// dropped are states whose memory can be used again.
	dropped []*State
	tables  tables
	x       explorer
}

// NewMachine interprets c for the calls in describes.
func NewMachine(c *Code, in Input) *Machine {
	return &Machine{code: c, in: in, tables: tables{room: NewRoom()}}
}

// Reset makes m interpret its program for other calls, in the memory it has.
func (m *Machine) Reset(in Input) { m.in, m.ids = in, 0 }

// Gone makes paths end at the tail calls of which f knows that they do not fail.
// Without it every tail call may.
func (m *Machine) Gone(f func(array *prog.Map, index Scalar) bool) { m.gone = f }

// Start is the state at the program's entry.
func (m *Machine) Start() *State {
	f := &Frame{CallSite: -1}
	f.Regs[prog.R1] = Reg{Scalar: Const(0), Kind: Ctx}
	f.Regs[prog.R10] = Reg{Scalar: Const(0), Kind: Stack}
	return &State{Frames: []*Frame{f}, Lock: Lock{Map: -1}, Nr: m.in.Calls, hull: m.in.Nr}
}

func (m *Machine) fresh() uint32 {
	m.ids++
	return m.ids
}

// Step turns s into the state after its instruction. A branch of which both
// sides are possible yields the one that jumps as a second state. end tells
// that the path ends there: the program exits, or no run gets this far.
func (m *Machine) Step(s *State) (jumped *State, end bool) {
	in := m.code.Prog.Insns[s.PC]
	f := s.Top()
	switch in.Class() {
	case prog.ClassALU, prog.ClassALU64:
		m.arithmetic(s, in)
	case prog.ClassLD:
		f.Regs[in.Dst] = m.immediate(s.PC)
		s.PC++
	case prog.ClassLDX:
		made, byNumber := m.recipe(s, in)
		f.Regs[in.Dst] = m.load(s, in)
		if byNumber {
			m.tabulate(s, &f.Regs[in.Dst], made)
		}
	case prog.ClassST:
		m.store(s, in, number(Const(uint64(int64(in.Imm)))))
	case prog.ClassSTX:
		if in.Op&prog.ModeMask == prog.ModeAtomic {
			m.atomic(s, in)
		} else {
			m.store(s, in, f.Regs[in.Src])
		}
	default:
		return m.jump(s, in)
	}
	s.PC++
	return nil, false
}

// immediate is what a 64-bit immediate load loads.
func (m *Machine) immediate(pc int) Reg {
	in, next := m.code.Prog.Insns[pc], m.code.Prog.Insns[pc+1]
	switch in.Src {
	case prog.PseudoMapFD:
		return Reg{Scalar: Const(0), Kind: MapHandle, Map: in.Imm}
	case prog.PseudoMapValue:
		return Reg{Scalar: Const(uint64(uint32(next.Imm))), Kind: Value, Map: in.Imm}
	}
	return number(Const(uint64(uint32(in.Imm)) | uint64(uint32(next.Imm))<<32))
}

func width(in prog.Insn) Width {
	if in.Class() == prog.ClassALU || in.Class() == prog.ClassJMP32 {
		return W32
	}
	return W64
}

// source is the second operand of arithmetic or a comparison.
func source(f *Frame, in prog.Insn) Reg {
	if in.Op&prog.SrcMask == prog.SrcX {
		return f.Regs[in.Src]
	}
	return number(Const(uint64(int64(in.Imm))))
}

// arithmetic is alu in the running frame, and what comes of it by number. A copy has
// what it is a copy of.
func (m *Machine) arithmetic(s *State, in prog.Insn) {
	f := s.Top()
	made, byNumber := m.recipe(s, in)
	m.alu(f, in)
	if dst := &f.Regs[in.Dst]; byNumber && !(in.Op&prog.OpMask == prog.OpMov && dst.parts()) {
		m.tabulate(s, dst, made)
	}
}

func (m *Machine) alu(f *Frame, in prog.Insn) {
	dst := &f.Regs[in.Dst]
	switch op := in.Op & prog.OpMask; op {
	case prog.OpMov:
		*dst = m.move(f, in)
	case prog.OpEnd:
		dst.set(swap(in, dst.Scalar), dst.Origin)
	case prog.OpNeg:
		dst.set(Arith(prog.OpSub, width(in), 0, Const(0), dst.Scalar), dst.Origin)
	default:
		src := source(f, in)
		if dst.IsPointer() || src.IsPointer() {
			*dst = displace(op, width(in), *dst, src)
			return
		}
		field := fieldAfter(in, dst, &src)
		dst.set(Arith(op, width(in), in.Off, dst.Scalar, src.Scalar), dst.Origin|src.Origin)
		dst.Field = field
	}
}

// set makes r a number from known sources.
func (r *Reg) set(v Scalar, from Origin) {
	*r = Reg{Scalar: v, Kind: Number, Origin: from}
}

// swap does byte order on a little-endian machine: to little endian only
// truncates.
func swap(in prog.Insn, a Scalar) Scalar {
	n := int(in.Imm) / 8
	if in.Class() == prog.ClassALU && in.Op&prog.SrcMask == prog.SrcK {
		return a.ZeroExtend(n)
	}
	return a.Swap(n)
}

// displace adds a number to a pointer, or takes it from one. Nothing is known
// about other arithmetic on pointers.
func displace(op uint8, w Width, dst, src Reg) Reg {
	from := dst.Origin | src.Origin
	dst.Origin, src.Origin = from, from
	dst.Table, src.Table = 0, 0
	switch {
	case w != W64 || dst.IsPointer() && src.IsPointer():
	case op == prog.OpAdd && src.IsPointer():
		src.Scalar = src.Scalar.Add(dst.Scalar)
		return src
	case op == prog.OpAdd:
		dst.Scalar = dst.Scalar.Add(src.Scalar)
		return dst
	case op == prog.OpSub && dst.IsPointer():
		dst.Scalar = dst.Scalar.Sub(src.Scalar)
		return dst
	}
	return number(Unknown())
}

// move copies. A number that is not a constant gets tied to its copy, so that
// a test of one tells about the other.
func (m *Machine) move(f *Frame, in prog.Insn) Reg {
	if in.Op&prog.SrcMask == prog.SrcK {
		return number(immediateOf(in))
	}
	src := &f.Regs[in.Src]
	switch {
	case src.IsPointer() && (in.Off != 0 || width(in) == W32):
		return number(Bytes(int(width(in)) / 8))
	case src.IsPointer():
		return *src
	case in.Off != 0:
		r := src.Scalar.SignExtend(int(in.Off) / 8)
		if width(in) == W32 {
			r = r.Truncate()
		}
		return Reg{Scalar: r, Kind: Number, Origin: src.Origin, Field: extended(src.Field, in)}
	case width(in) == W32 && src.U.Max > fullU.Max>>32:
		return Reg{Scalar: src.Scalar.Truncate(), Kind: Number, Origin: src.Origin, Field: src.Field.Truncate()}
	}
	m.tie(src)
	return *src
}

// extended is the field after a sign extension that in does.
func extended(f Field, in prog.Insn) Field {
	if in.Off != 32 || width(in) != W64 {
		return Field{}
	}
	return f.signed()
}

func (m *Machine) tie(r *Reg) {
	if r.Kind == Number && r.ID == 0 && !r.Bits.IsConst() {
		r.ID = m.fresh()
	}
}

// immediateOf is the immediate of in, sign-extended to its width.
func immediateOf(in prog.Insn) Scalar {
	if width(in) == W32 {
		return Const(uint64(uint32(in.Imm)))
	}
	return Const(uint64(int64(in.Imm)))
}

// load is what an LDX instruction loads.
func (m *Machine) load(s *State, in prog.Insn) Reg {
	n := in.Width()
	base := &s.Top().Regs[in.Src]
	var r Reg
	switch base.Kind {
	case Ctx:
		r = number(m.field(s, base, in))
		if base.Is(0) {
			r.Field = fieldAt(int64(in.Off), n)
		}
		if !r.Bits.IsConst() && in.Off == abi.OffNr {
			r.Origin = FromNr
		}
	case Stack:
		r = s.loadStack(base, int64(in.Off), n)
	case Value:
		r = number(m.loadValue(base, in))
		r.Origin = base.Origin
	default:
		r = number(Bytes(n))
	}
	if in.Op&prog.ModeMask == prog.ModeMemSX && !r.IsPointer() {
		signed := Field{}
		if n == 4 {
			signed = r.Field.signed()
		}
		r.set(r.Scalar.SignExtend(n), r.Origin)
		r.Field = signed
	}
	return r
}

// field is a field of struct seccomp_data.
func (m *Machine) field(s *State, base *Reg, in prog.Insn) Scalar {
	off, ok := base.Const()
	switch at := int64(off) + int64(in.Off); {
	case ok && in.Width() == 4 && at == abi.OffNr && s.Nr != nil:
		return s.hull
	case ok && in.Width() == 4 && at == abi.OffNr:
		return m.in.Nr
	case ok && in.Width() == 4 && at == abi.OffArch:
		return m.in.Arch
	}
	return Bytes(in.Width())
}

// loadValue knows what is in a frozen map at a known place.
func (m *Machine) loadValue(base *Reg, in prog.Insn) Scalar {
	n := in.Width()
	spec := m.code.Prog.Maps[base.Map]
	off, ok := base.Const()
	at := int64(off) + int64(in.Off)
	if !ok || !spec.Frozen || at < 0 || at+int64(n) > int64(len(spec.Contents)) {
		return Bytes(n)
	}
	var b [8]byte
	copy(b[:], spec.Contents[at:at+int64(n)])
	v := Const(binary.LittleEndian.Uint64(b[:]))
	if in.Op&prog.ModeMask == prog.ModeMemSX {
		v = v.SignExtend(n)
	}
	return v
}

func (m *Machine) store(s *State, in prog.Insn, v Reg) {
	base := &s.Top().Regs[in.Dst]
	if base.Kind != Stack {
		return
	}
	n := in.Width()
	if v.Kind == Number {
		if in.Class() == prog.ClassSTX && v.U.Max <= Bytes(n).U.Max {
			m.tie(&s.Top().Regs[in.Src])
			v = s.Top().Regs[in.Src]
		} else {
			v.set(v.Scalar.ZeroExtend(n), v.Origin)
		}
	}
	s.storeStack(base, int64(in.Off), n, v)
}

// atomic leaves memory with anything, and a fetched register with what was there.
func (m *Machine) atomic(s *State, in prog.Insn) {
	f := s.Top()
	n := in.Width()
	base := &f.Regs[in.Dst]
	old := number(Bytes(n))
	switch base.Kind {
	case Value:
		old.Origin = base.Origin
	case Stack:
		if old = s.loadStack(base, int64(in.Off), n); old.IsPointer() {
			old = number(Bytes(n))
		}
		s.storeStack(base, int64(in.Off), n, Reg{Scalar: Bytes(n), Kind: Number, Origin: old.Origin | f.Regs[in.Src].Origin})
	}
	switch {
	case in.Imm == prog.AtomicCmpXchg:
		f.Regs[prog.R0] = old
	case in.Imm&prog.AtomicFetch != 0:
		f.Regs[in.Src] = old
	}
}
