package bpfgen

import (
	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

func movReg(dst, src uint8) prog.Insn {
	return prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: dst, Src: src}
}

func movImm(dst uint8, v int32) prog.Insn {
	return prog.Insn{Op: prog.ClassALU64 | prog.OpMov, Dst: dst, Imm: v}
}

func memory(class, size, dst, src uint8, off int16) prog.Insn {
	return prog.Insn{Op: class | prog.ModeMem | size, Dst: dst, Src: src, Off: off}
}

func call(id helper.ID) prog.Insn { return prog.Insn{Op: prog.OpCallInsn, Imm: int32(id)} }

func (g *generator) mapHandle(dst uint8, m int) {
	g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: dst, Src: prog.PseudoMapFD, Imm: int32(m)}, prog.Insn{})
}

func (g *generator) mapValue(dst uint8, m int) {
	g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: dst, Src: prog.PseudoMapValue, Imm: int32(m)}, prog.Insn{Imm: int32(g.r.Intn(2) * 8)})
}

// arith is one operation on numbers.
func (g *generator) arith() {
	ops := []uint8{prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpDiv, prog.OpOr, prog.OpAnd, prog.OpLsh, prog.OpRsh, prog.OpNeg, prog.OpMod, prog.OpXor, prog.OpMov, prog.OpArsh}
	op := ops[g.r.Intn(len(ops))]
	in := prog.Insn{Op: prog.ClassALU64 | op, Dst: g.number(), Imm: g.imm()}
	if g.oneIn(2) {
		in.Op = prog.ClassALU | op
	}
	switch op {
	case prog.OpNeg:
		in.Imm = 0
		g.emit(in)
		return
	case prog.OpDiv, prog.OpMod:
		in.Off = int16(g.r.Intn(2))
		in.Imm |= 1
	case prog.OpLsh, prog.OpRsh, prog.OpArsh:
		in.Imm = int32(g.r.Intn(32))
	}
	if g.oneIn(2) {
		in.Op, in.Src, in.Imm = in.Op|prog.SrcX, g.number(), 0
	}
	g.emit(in)
}

// extend is a sign extension or a change of byte order.
func (g *generator) extend() {
	dst := g.number()
	if g.oneIn(2) {
		off := []int16{8, 16, 32}[g.r.Intn(3)]
		op := uint8(prog.ClassALU64)
		if off < 32 && g.oneIn(2) {
			op = prog.ClassALU
		}
		g.emit(prog.Insn{Op: op | prog.OpMov | prog.SrcX, Dst: dst, Src: g.number(), Off: off})
		return
	}
	ops := []uint8{prog.ClassALU | prog.SrcK, prog.ClassALU | prog.SrcX, prog.ClassALU64}
	g.emit(prog.Insn{Op: ops[g.r.Intn(3)] | prog.OpEnd, Dst: dst, Imm: 16 << g.r.Intn(3)})
}

// field reads the context, or draws a number where there is none.
func (g *generator) field() {
	dst := g.number()
	if g.o.Context == Opaque || g.depth > 8 {
		g.emit(call(helper.GetPrandomU32))
		if dst != 0 {
			g.emit(movReg(dst, 0))
		}
		return
	}
	if g.oneIn(2) {
		g.emit(memory(prog.ClassLDX, prog.SizeDW, dst, 9, int16(abi.OffArgs+8*g.r.Intn(6))))
		return
	}
	in := memory(prog.ClassLDX, prog.SizeW, dst, 9, int16(4*g.r.Intn(16)))
	if g.oneIn(4) {
		in.Op = in.Op&^prog.ModeMask | prog.ModeMemSX
	}
	g.emit(in)
}

// bound makes a register an index, by a mask, a test or a remainder.
func (g *generator) bound(r uint8, most int32) {
	kind := g.r.Intn(4)
	if g.o.Context == Opaque {
		kind |= 1 // the kernel knows nothing about remainders
	}
	switch kind {
	case 0:
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMod, Dst: r, Imm: most + 1})
	case 3:
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAnd, Dst: r, Imm: most})
	case 2:
		g.emit(prog.Insn{Op: prog.ClassALU | prog.OpAnd, Dst: r, Imm: most})
	default:
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJle, Dst: r, Imm: most, Off: 1}, movImm(r, int32(g.r.Intn(4))))
	}
}

// indexed accesses the globals or the constants at an offset in a register.
// The bound is right, or off by a little.
func (g *generator) indexed() {
	size := g.size()
	width := int32(memory(0, size, 0, 0, 0).Width())
	most := int32(g.r.Intn(valueSize))
	room := valueSize - 8 - most - width + 1
	if g.oneIn(10) {
		room += int32(g.r.Intn(12))
	}
	if room < 0 {
		most, room = 7, valueSize-8-7-width
	}
	m := g.r.Intn(2)
	g.emit(movReg(1, g.number()))
	g.bound(1, most)
	g.mapValue(2, m)
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcX, Dst: 2, Src: 1})
	off := int16(g.r.Int31n(room + 1))
	if m == globals && g.oneIn(2) {
		g.emit(memory(prog.ClassSTX, size, 2, g.number(), off))
		return
	}
	g.emit(memory(prog.ClassLDX, size, g.number(), 2, off))
}

// slotAt is an offset at which every statement finds a number.
func (g *generator) slotAt(width int) int16 {
	return int16(-32 + g.r.Intn(32/width)*width)
}

func (g *generator) stack() {
	size := g.size()
	off := g.slotAt(memory(0, size, 0, 0, 0).Width())
	if g.oneIn(2) {
		g.emit(memory(prog.ClassSTX, size, prog.R10, g.number(), off))
		return
	}
	in := memory(prog.ClassLDX, size, g.number(), prog.R10, off)
	if size != prog.SizeDW && g.oneIn(3) {
		in.Op = in.Op&^prog.ModeMask | prog.ModeMemSX
	}
	g.emit(in)
}

// stackIndexed accesses the stack at an offset in a register.
func (g *generator) stackIndexed() {
	most := int32(31)
	if g.oneIn(10) {
		most = 63
	}
	g.emit(movReg(1, g.number()))
	g.bound(1, most)
	g.emit(movReg(2, prog.R10),
		prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 2, Imm: -32},
		prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcX, Dst: 2, Src: 1})
	if g.oneIn(2) {
		g.emit(memory(prog.ClassSTX, prog.SizeB, 2, g.number(), 0))
		return
	}
	g.emit(memory(prog.ClassLDX, prog.SizeB, g.number(), 2, 0))
}

// spill saves a pointer or a number, and gets it back.
func (g *generator) spill() {
	const at = -56
	if g.oneIn(2) {
		g.emit(memory(prog.ClassSTX, prog.SizeDW, prog.R10, g.number(), at), memory(prog.ClassLDX, g.size(), g.number(), prog.R10, at))
		return
	}
	g.mapValue(1, globals)
	g.emit(memory(prog.ClassSTX, prog.SizeDW, prog.R10, 1, at))
	if g.oneIn(8) {
		g.emit(memory(prog.ClassSTX, g.size(), prog.R10, g.number(), at))
	}
	g.emit(memory(prog.ClassLDX, prog.SizeDW, 2, prog.R10, at), memory(prog.ClassLDX, g.size(), g.number(), 2, int16(g.r.Intn(8))))
}

func (g *generator) atomic() {
	ops := []int32{prog.AtomicAdd, prog.AtomicOr, prog.AtomicAnd, prog.AtomicXor, prog.AtomicXchg, prog.AtomicCmpXchg}
	op := ops[g.r.Intn(len(ops))]
	if op < prog.AtomicXchg && g.oneIn(2) {
		op |= prog.AtomicFetch
	}
	size, off := uint8(prog.SizeDW), int16(8*g.r.Intn(3))
	if g.oneIn(2) {
		size, off = prog.SizeW, int16(4*g.r.Intn(6))
	}
	base := uint8(1)
	if g.oneIn(3) {
		base, off = prog.R10, g.slotAt(8)
	} else {
		g.mapValue(1, globals)
	}
	g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeAtomic | size, Dst: base, Src: g.number(), Off: off, Imm: op})
}

func (g *generator) helper() {
	ids := []helper.ID{helper.KtimeGetNs, helper.GetPrandomU32, helper.GetSmpProcessorID}
	if g.o.Context == Seccomp && g.oneIn(2) {
		g.userString()
		return
	}
	g.emit(call(ids[g.r.Intn(len(ids))]))
}

// userString reads memory of the caller, of constant or bounded size.
func (g *generator) userString() {
	g.emit(movReg(3, g.number()), movImm(2, int32(g.r.Intn(33))))
	if g.oneIn(2) {
		g.emit(movReg(2, g.number()))
		g.bound(2, 31)
	}
	g.emit(movReg(1, prog.R10), prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 1, Imm: -32})
	id := helper.ProbeReadUser
	if g.oneIn(2) {
		id = helper.ProbeReadUserStr
	}
	g.emit(call(id))
}

func (g *generator) update() {
	g.emit(memory(prog.ClassSTX, prog.SizeW, prog.R10, g.number(), -40), movReg(2, prog.R10), movReg(3, prog.R10),
		prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 2, Imm: -40},
		prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 3, Imm: int32(-16 - 8*g.r.Intn(3))},
		movImm(4, int32(g.r.Intn(4))))
	g.mapHandle(1, counts+g.r.Intn(2))
	g.emit(call(helper.MapUpdateElem))
}
