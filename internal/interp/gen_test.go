package interp

import (
	"math/rand"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// The programs that gen makes leave everything they computed in element 0 of
// the array genMaps[0], and use the keyed maps and the ring of genMaps.
const (
	outSize    = 256 // registers and stack at the end
	outScratch = 128 // from here on the body reads and writes as it likes
	outMapOps  = 96  // results of map operations, folded
	stackBytes = 64
	hashMax    = 3
	ringBytes  = 4096
)

func genMaps() []*prog.Map {
	return []*prog.Map{
		{Name: "out", Type: prog.Array, KeySize: 4, ValueSize: outSize, MaxEntries: 1, SpinLock: -1},
		{Name: "hash", Type: prog.Hash, KeySize: 4, ValueSize: 8, MaxEntries: hashMax, SpinLock: -1},
		{Name: "ring", Type: prog.RingBuf, MaxEntries: ringBytes, SpinLock: -1},
		{Name: "array", Type: prog.Array, KeySize: 4, ValueSize: 8, MaxEntries: hashMax, SpinLock: -1},
		{Name: "pchash", Type: prog.PercpuHash, KeySize: 4, ValueSize: 8, MaxEntries: hashMax, SpinLock: -1},
		{Name: "pcarray", Type: prog.PercpuArray, KeySize: 4, ValueSize: 8, MaxEntries: hashMax, SpinLock: -1},
	}
}

// gen writes random programs that any verifier accepts. R6 counts loops and R9
// points into the output; the others hold numbers.
type gen struct {
	rnd   *rand.Rand
	insns []prog.Insn
	loops bool
	risky bool  // computes addresses that the verifier may well refuse
	fixes []int // calls of the one function
}

func generate(seed int64, size int) *prog.Program { return generateWith(seed, size, &gen{}) }

func generateRisky(seed int64, size int) *prog.Program {
	return generateWith(seed, size, &gen{risky: true})
}

func generateWith(seed int64, size int, g *gen) *prog.Program {
	g.rnd, g.loops = rand.New(rand.NewSource(seed)), true
	g.prologue()
	g.block(size)
	g.epilogue()
	funcs := []prog.Func{{Name: "main"}}
	if len(g.fixes) > 0 {
		funcs = append(funcs, prog.Func{Name: "sub", Start: len(g.insns)})
		for _, at := range g.fixes {
			g.insns[at].Imm = int32(len(g.insns) - at - 1)
		}
		g.function()
	}
	return &prog.Program{Name: "gen", Insns: g.insns, Funcs: funcs, Maps: genMaps(), License: "GPL"}
}

func (g *gen) emit(in ...prog.Insn) { g.insns = append(g.insns, in...) }

// number is one that arithmetic finds interesting.
func (g *gen) number() uint64 {
	edge := []uint64{0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1 << 63, 1<<63 - 1, 1<<64 - 1}
	switch g.rnd.Intn(4) {
	case 0:
		return g.rnd.Uint64()
	case 1:
		return uint64(int64(int32(g.rnd.Uint32())))
	case 2:
		return uint64(g.rnd.Intn(70))
	}
	return edge[g.rnd.Intn(len(edge))]
}

func (g *gen) wide(dst uint8, v uint64) {
	g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: dst, Imm: int32(uint32(v))}, prog.Insn{Imm: int32(uint32(v >> 32))})
}

func (g *gen) numbers(regs ...uint8) {
	for _, r := range regs {
		g.wide(r, g.number())
	}
}

// scalar is a register that holds a number.
func (g *gen) scalar() uint8 { return []uint8{0, 1, 2, 3, 4, 5, 7, 8}[g.rnd.Intn(8)] }

func (g *gen) prologue() {
	g.numbers(0, 1, 2, 3, 4, 5, 7, 8)
	for off := 8; off <= stackBytes; off += 8 {
		g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 10, Src: g.scalar(), Off: int16(-off)})
	}
	g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: 9, Src: prog.PseudoMapValue}, prog.Insn{})
	for off := outScratch; off < outSize; off += 8 {
		g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 9, Src: g.scalar(), Off: int16(off)})
	}
}

func (g *gen) epilogue() {
	at := int16(0)
	store := func(r uint8) {
		g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 9, Src: r, Off: at})
		at += 8
	}
	for _, r := range []uint8{0, 1, 2, 3, 4, 5, 7, 8} {
		store(r)
	}
	for off := 8; off <= 32; off += 8 {
		g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeDW, Dst: 1, Src: 10, Off: int16(-off)})
		store(1)
	}
	g.emit(prog.Insn{Op: prog.OpExitInsn})
}

// function takes two numbers and a pointer to its caller's stack.
func (g *gen) function() {
	g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeDW, Dst: 0, Src: 3, Off: 0})
	g.numbers(6, 7, 8, 9)
	for i := 0; i < 4; i++ {
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpXor | prog.SrcX, Dst: uint8(6 + g.rnd.Intn(4)), Src: uint8(1 + g.rnd.Intn(2))})
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcX, Dst: 0, Src: uint8(6 + g.rnd.Intn(4))})
	}
	g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 10, Src: 6, Off: -8})
	g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 3, Src: 7, Off: 0})
	g.emit(prog.Insn{Op: prog.OpExitInsn})
}

func (g *gen) block(n int) {
	for i := 0; i < n; i++ {
		switch g.rnd.Intn(16) {
		case 0:
			g.diamond(n / 4)
		case 1:
			g.skip(n / 4)
		case 2:
			g.loop(n / 4)
		case 3:
			g.call()
		case 4:
			g.mapOp()
		case 5, 6:
			g.load()
		case 7, 8:
			g.store()
		case 9:
			g.atomic()
		case 10:
			if g.risky {
				g.access()
			}
		case 11:
			g.ringOp()
		default:
			g.alu()
		}
	}
}

// access reads or writes at a computed address. The number it adds to a
// pointer is mostly bounded, and the bounds are near the size of the memory.
func (g *gen) access() {
	const index, base = 7, 8
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: base, Src: []uint8{9, 10, 9}[g.rnd.Intn(3)]})
	g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeDW, Dst: index, Src: base})
	if in := &g.insns[len(g.insns)-1]; g.insns[len(g.insns)-2].Src == 10 {
		in.Off = -8
	} else {
		in.Off = outScratch
	}
	var skips []int
	for n := g.rnd.Intn(4); n >= 0; n-- {
		skips = append(skips, g.bound(index)...)
	}
	add := []uint8{prog.OpAdd, prog.OpAdd, prog.OpAdd, prog.OpSub}[g.rnd.Intn(4)]
	g.emit(prog.Insn{Op: prog.ClassALU64 | add | prog.SrcX, Dst: base, Src: index})
	size, _ := g.size()
	off := int16(g.rnd.Intn(300) - 80)
	switch g.rnd.Intn(3) {
	case 0:
		g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | size, Dst: 0, Src: base, Off: off})
	case 1:
		g.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | size, Dst: base, Off: off, Imm: 7})
	default:
		g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | size, Dst: base, Src: 0, Off: off})
	}
	for _, at := range skips {
		g.insns[at].Off = int16(len(g.insns) - at - 1)
	}
	g.numbers(index, base)
}

// bound limits a register by arithmetic or by a jump; it returns jumps that
// have to be pointed past the access.
func (g *gen) bound(r uint8) (skips []int) {
	limit := int32(g.rnd.Intn(300))
	class := []uint8{prog.ClassALU64, prog.ClassALU}[g.rnd.Intn(2)]
	switch g.rnd.Intn(8) {
	case 0:
		g.emit(prog.Insn{Op: class | prog.OpAnd, Dst: r, Imm: []int32{7, 31, 63, 127, 255, 0xf8}[g.rnd.Intn(6)]})
	case 1:
		g.emit(prog.Insn{Op: class | prog.OpMod, Dst: r, Imm: limit + 1, Off: int16(g.rnd.Intn(2))})
	case 2:
		g.emit(prog.Insn{Op: class | []uint8{prog.OpRsh, prog.OpArsh, prog.OpLsh}[g.rnd.Intn(3)], Dst: r, Imm: int32(g.rnd.Intn(32))})
	case 3:
		g.emit(prog.Insn{Op: class | []uint8{prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpOr, prog.OpXor}[g.rnd.Intn(5)], Dst: r, Imm: limit - 150})
	case 4:
		g.emit(prog.Insn{Op: class | prog.OpMov | prog.SrcX, Dst: r, Src: r, Off: []int16{0, 8, 16}[g.rnd.Intn(3)]})
	default:
		in := g.branch()
		in.Dst, in.Op, in.Imm, in.Src = r, in.Op&^prog.SrcMask, limit, 0
		if g.rnd.Intn(4) == 0 {
			in.Imm = -limit
		}
		skips = append(skips, len(g.insns))
		g.emit(in)
	}
	return skips
}

func (g *gen) alu() {
	in := prog.Insn{Op: prog.ClassALU64, Dst: g.scalar()}
	if g.rnd.Intn(2) == 0 {
		in.Op = prog.ClassALU
	}
	ops := []uint8{
		prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpDiv, prog.OpOr, prog.OpAnd, prog.OpLsh,
		prog.OpRsh, prog.OpNeg, prog.OpMod, prog.OpXor, prog.OpMov, prog.OpArsh, prog.OpEnd,
	}
	op := ops[g.rnd.Intn(len(ops))]
	in.Op |= op
	switch {
	case op == prog.OpNeg:
	case op == prog.OpEnd:
		in.Imm = []int32{16, 32, 64}[g.rnd.Intn(3)]
		if in.Class() == prog.ClassALU && g.rnd.Intn(2) == 0 {
			in.Op |= prog.SrcX
		}
	case g.rnd.Intn(2) == 0:
		in.Op |= prog.SrcX
		in.Src = g.scalar()
	default:
		in.Imm = g.immediate(op, in.Class() == prog.ClassALU64)
	}
	g.variant(&in, op)
	g.emit(in)
}

// immediate is one that the operation may have.
func (g *gen) immediate(op uint8, wide bool) int32 {
	imm := int32(uint32(g.number()))
	switch op {
	case prog.OpLsh, prog.OpRsh, prog.OpArsh:
		if imm &= 31; wide {
			imm = imm*2 + 1
		}
	case prog.OpDiv, prog.OpMod:
		if imm == 0 {
			imm = -1
		}
	}
	return imm
}

// variant makes some divisions signed and some moves extend the sign.
func (g *gen) variant(in *prog.Insn, op uint8) {
	switch {
	case (op == prog.OpDiv || op == prog.OpMod) && g.rnd.Intn(2) == 0:
		in.Off = 1
	case op == prog.OpMov && in.Op&prog.SrcMask == prog.SrcX && g.rnd.Intn(2) == 0:
		widths := []int16{8, 16, 32}
		if in.Class() == prog.ClassALU {
			widths = widths[:2]
		}
		in.Off = widths[g.rnd.Intn(len(widths))]
	}
}

// place is a base register and an offset of memory of so many bytes.
func (g *gen) place(width int) (base uint8, off int16) {
	if g.rnd.Intn(2) == 0 {
		return 10, int16(-stackBytes + width*g.rnd.Intn(stackBytes/width))
	}
	return 9, int16(outScratch + width*g.rnd.Intn((outSize-outScratch)/width))
}

func (g *gen) size() (bits uint8, width int) {
	i := g.rnd.Intn(4)
	return []uint8{prog.SizeB, prog.SizeH, prog.SizeW, prog.SizeDW}[i], 1 << i
}

func (g *gen) load() {
	size, width := g.size()
	mode := uint8(prog.ModeMem)
	if width < 8 && g.rnd.Intn(2) == 0 {
		mode = prog.ModeMemSX
	}
	base, off := g.place(width)
	g.emit(prog.Insn{Op: prog.ClassLDX | mode | size, Dst: g.scalar(), Src: base, Off: off})
}

func (g *gen) store() {
	size, width := g.size()
	base, off := g.place(width)
	if g.rnd.Intn(2) == 0 {
		g.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | size, Dst: base, Off: off, Imm: int32(uint32(g.number()))})
		return
	}
	g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | size, Dst: base, Src: g.scalar(), Off: off})
}

func (g *gen) atomic() {
	kinds := []int32{
		prog.AtomicAdd, prog.AtomicOr, prog.AtomicAnd, prog.AtomicXor,
		prog.AtomicAdd | prog.AtomicFetch, prog.AtomicOr | prog.AtomicFetch, prog.AtomicAnd | prog.AtomicFetch,
		prog.AtomicXor | prog.AtomicFetch, prog.AtomicXchg, prog.AtomicCmpXchg,
	}
	size, width := uint8(prog.SizeW), 4
	if g.rnd.Intn(2) == 0 {
		size, width = prog.SizeDW, 8
	}
	in := prog.Insn{Op: prog.ClassSTX | prog.ModeAtomic | size, Src: g.scalar(), Imm: kinds[g.rnd.Intn(len(kinds))]}
	in.Dst, in.Off = g.place(width)
	if in.Imm == prog.AtomicCmpXchg && g.rnd.Intn(2) == 0 { // have it succeed at times
		g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | size, Dst: 0, Src: in.Dst, Off: in.Off})
	}
	g.emit(in)
}

// branch is a conditional jump whose offset is still to be filled in.
func (g *gen) branch() prog.Insn {
	ops := []uint8{
		prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJne, prog.OpJsgt,
		prog.OpJsge, prog.OpJlt, prog.OpJle, prog.OpJslt, prog.OpJsle,
	}
	in := prog.Insn{Op: prog.ClassJMP | ops[g.rnd.Intn(len(ops))], Dst: g.scalar()}
	if g.rnd.Intn(2) == 0 {
		in.Op = in.Op&^prog.ClassMask | prog.ClassJMP32
	}
	if g.rnd.Intn(2) == 0 {
		in.Op |= prog.SrcX
		in.Src = g.scalar()
	} else {
		in.Imm = int32(uint32(g.number()))
	}
	return in
}

func (g *gen) skip(n int) {
	at := len(g.insns)
	g.emit(g.branch())
	g.block(n)
	g.insns[at].Off = int16(len(g.insns) - at - 1)
}

// diamond is an if with an else, joined by a jump of either form.
func (g *gen) diamond(n int) {
	at := len(g.insns)
	g.emit(g.branch())
	g.block(n)
	join := len(g.insns)
	g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJa})
	g.insns[at].Off = int16(len(g.insns) - at - 1)
	g.alu()
	g.block(n)
	if g.rnd.Intn(2) == 0 {
		g.insns[join].Off = int16(len(g.insns) - join - 1)
		return
	}
	g.insns[join] = prog.Insn{Op: prog.ClassJMP32 | prog.OpJa, Imm: int32(len(g.insns) - join - 1)}
}

// loop goes round a known number of times; loops do not nest.
func (g *gen) loop(n int) {
	if !g.loops {
		return
	}
	g.loops = false
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov, Dst: 6, Imm: int32(1 + g.rnd.Intn(3))})
	at := len(g.insns)
	g.block(n)
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpSub, Dst: 6, Imm: 1})
	g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJne, Dst: 6, Off: int16(at - len(g.insns) - 1)})
	g.loops = true
}

func (g *gen) call() {
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: 3, Src: 10})
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 3, Imm: int32(-8 - 8*g.rnd.Intn(stackBytes/8))})
	g.fixes = append(g.fixes, len(g.insns))
	g.emit(prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall})
	g.numbers(1, 2, 3, 4, 5)
}

// mapOp does something to a small key of a map, and folds what came of it into
// the output. At times it reads a value through a pointer from before a
// change.
func (g *gen) mapOp() {
	const keyOff, valueOff = -stackBytes - 8, -stackBytes - 16
	mem := func(class, size, dst, src uint8, off int16, imm int32) {
		g.emit(prog.Insn{Op: class | prog.ModeMem | size, Dst: dst, Src: src, Off: off, Imm: imm})
	}
	key := func() { mem(prog.ClassST, prog.SizeW, 10, 0, keyOff, int32(g.rnd.Intn(hashMax+2))) }
	mem(prog.ClassSTX, prog.SizeDW, 10, g.scalar(), valueOff, 0)
	m := keyedMaps[g.rnd.Intn(len(keyedMaps))]
	key()
	switch g.rnd.Intn(4) {
	case 0:
		g.mapCall(m, helper.MapDeleteElem)
	case 1:
		g.mapCall(m, helper.MapLookupElem)
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJeq, Dst: 0, Off: 1})
		mem(prog.ClassLDX, prog.SizeDW, 0, 0, 0, 0)
	case 2:
		g.mapCall(m, helper.MapLookupElem)
		at := len(g.insns)
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJeq, Dst: 0})
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: 8, Src: 0})
		g.mapCall(m, helper.MapUpdateElem)
		mem(prog.ClassLDX, prog.SizeDW, 0, 8, 0, 0)
		g.insns[at].Off = int16(len(g.insns) - at - 1)
	default:
		g.mapCall(m, helper.MapUpdateElem)
	}
	g.fold()
	g.numbers(8)
}

// fold enters R0 into the output, and gives numbers to what a call clobbers.
func (g *gen) fold() {
	g.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeDW, Dst: 1, Src: 9, Off: outMapOps})
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMul, Dst: 1, Imm: 31})
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcX, Dst: 1, Src: 0})
	g.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: 9, Src: 1, Off: outMapOps})
	g.numbers(1, 2, 3, 4, 5)
}

// ringOp writes a record, or asks what the ring holds.
func (g *gen) ringOp() {
	set := func(r uint8, imm int32) {
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov, Dst: r, Imm: imm})
	}
	call := func(id helper.ID) { g.emit(prog.Insn{Op: prog.OpCallInsn, Imm: int32(id)}) }
	ring := func() { g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: 1, Src: prog.PseudoMapFD, Imm: 2}, prog.Insn{}) }
	ring()
	switch g.rnd.Intn(3) {
	case 0:
		set(2, int32(g.rnd.Intn(2))) // what is available, or the size
		call(helper.RingbufQuery)
	case 1:
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: 2, Src: 10})
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 2, Imm: -stackBytes})
		set(3, int32(g.rnd.Intn(stackBytes+1)))
		set(4, []int32{0, 0, 0, 1, 2, 4}[g.rnd.Intn(6)])
		call(helper.RingbufOutput)
	default:
		size := int32(8 + g.rnd.Intn(1500))
		set(2, size)
		set(3, int32(g.rnd.Intn(5)/4))
		call(helper.RingbufReserve)
		at := len(g.insns)
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJeq, Dst: 0})
		g.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeB, Dst: 0, Off: int16(size - 1), Imm: 1})
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: 1, Src: 0})
		set(2, 0)
		call([]helper.ID{helper.RingbufSubmit, helper.RingbufDiscard}[g.rnd.Intn(2)])
		set(0, 1)
		g.insns[at].Off = int16(len(g.insns) - at - 1)
	}
	g.fold()
}

// keyedMaps are the indexes of maps that mapOp may use.
var keyedMaps = []int32{1, 1, 3, 4, 5}

func (g *gen) mapCall(m int32, id helper.ID) {
	g.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: 1, Src: prog.PseudoMapFD, Imm: m}, prog.Insn{})
	for r, off := range map[uint8]int32{2: -stackBytes - 8, 3: -stackBytes - 16} {
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: r, Src: 10})
		g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: r, Imm: off})
	}
	flags := []int32{0, 0, 0, 1, 2, 3, 4, 8}[g.rnd.Intn(8)]
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpMov, Dst: 4, Imm: flags})
	g.emit(prog.Insn{Op: prog.OpCallInsn, Imm: int32(id)})
}
