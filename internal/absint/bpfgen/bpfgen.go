// Package bpfgen draws random programs for fuzzing: plausible ones, of which
// many verify and the rest fail near a boundary.
package bpfgen

import (
	"math/rand"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Context says which context programs may read.
type Context uint8

// The contexts.
const (
	// Seccomp is struct seccomp_data.
	Seccomp Context = iota
	// Opaque is not read at all: programs that any kernel program type can be.
	Opaque
)

// Options of a generator.
type Options struct {
	Context Context
	// Statements is how many statements the entry function has, about.
	Statements int
	// Wild is how many fields are overwritten at random afterwards.
	Wild int
}

// Indexes of the maps every program has.
const (
	globals = iota // ARRAY of one 64-byte element
	consts         // the same, frozen
	counts         // HASH, 4-byte key, 16-byte value
	table          // ARRAY of four 16-byte elements
)

// valueSize is the size of the globals and of the constants.
const valueSize = 64

// generator draws one program. Registers R6 to R8 and R0 hold numbers between
// statements, R9 the context; R1 to R5 are scratch.
type generator struct {
	r     *rand.Rand
	o     Options
	insns []prog.Insn
	depth int
	calls []int // call instructions that wait for the function
}

// Program draws a program.
func Program(r *rand.Rand, o Options) *prog.Program {
	g := &generator{r: r, o: o}
	g.entry()
	funcs := []prog.Func{{Name: "main"}}
	if len(g.calls) > 0 {
		funcs = append(funcs, prog.Func{Name: "sub", Start: len(g.insns)})
		g.function()
	}
	for i := 0; i < o.Wild; i++ {
		g.mutate()
	}
	return &prog.Program{Name: "random", Insns: g.insns, Funcs: funcs, Maps: Maps(r), License: "GPL"}
}

// Maps are the maps of a drawn program, with random contents of the frozen one.
func Maps(r *rand.Rand) []*prog.Map {
	frozen := make([]byte, valueSize)
	r.Read(frozen)
	return []*prog.Map{
		{Name: "globals", Type: prog.Array, KeySize: 4, ValueSize: valueSize, MaxEntries: 1, SpinLock: -1, Contents: make([]byte, valueSize)},
		{Name: "consts", Type: prog.Array, KeySize: 4, ValueSize: valueSize, MaxEntries: 1, SpinLock: -1, Contents: frozen, Frozen: true},
		{Name: "counts", Type: prog.Hash, KeySize: 4, ValueSize: 16, MaxEntries: 8, SpinLock: -1},
		{Name: "table", Type: prog.Array, KeySize: 4, ValueSize: 16, MaxEntries: 4, SpinLock: -1},
	}
}

func (g *generator) emit(in ...prog.Insn) { g.insns = append(g.insns, in...) }

// oneIn is true once in n times.
func (g *generator) oneIn(n int) bool { return g.r.Intn(n) == 0 }

// number is a register that holds a number.
func (g *generator) number() uint8 { return [...]uint8{6, 7, 8, 0}[g.r.Intn(4)] }

func (g *generator) imm() int32 {
	switch g.r.Intn(4) {
	case 0:
		return int32(g.r.Intn(16))
	case 1:
		return int32(1) << g.r.Intn(32)
	case 2:
		return -int32(g.r.Intn(16)) - 1
	}
	return int32(g.r.Uint32()) >> g.r.Intn(31)
}

func (g *generator) entry() {
	g.emit(movReg(9, prog.R1))
	for _, r := range []uint8{0, 6, 7, 8} {
		g.emit(movImm(r, g.imm()))
	}
	for off := int16(-8); off >= -32; off -= 8 {
		g.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeDW, Dst: prog.R10, Off: off, Imm: g.imm()})
	}
	for i := 0; i < g.o.Statements; i++ {
		g.statement()
	}
	g.verdict()
}

// verdict returns an action, mostly.
func (g *generator) verdict() {
	actions := []uint32{0x7fff0000, 0x00050001, 0x80000000, 0x7ffc0000, 0x00030000, 0x00000000}
	switch g.r.Intn(3) {
	case 0:
		g.emit(movReg(0, g.number()))
	case 1:
		g.emit(prog.Insn{Op: prog.ClassALU | prog.OpAnd, Dst: 0, Imm: 0xffff},
			prog.Insn{Op: prog.ClassALU | prog.OpOr, Dst: 0, Imm: 0x50000})
	default:
		g.emit(prog.Insn{Op: prog.ClassALU | prog.OpMov, Dst: 0, Imm: int32(actions[g.r.Intn(len(actions))])})
	}
	g.emit(prog.Insn{Op: prog.OpExitInsn})
}

// function is the one that entry calls: two numbers and a pointer to its stack.
func (g *generator) function() {
	for _, pc := range g.calls {
		g.insns[pc].Imm = int32(len(g.insns) - pc - 1)
	}
	g.calls = nil
	g.depth = 9 // no further calls, no loops
	g.emit(movReg(6, 1), movReg(7, 2), movReg(8, 1), movImm(0, g.imm()))
	if g.oneIn(2) {
		g.emit(memory(prog.ClassLDX, prog.SizeDW, 0, 3, 0), memory(prog.ClassSTX, prog.SizeW, 3, 6, int16(4*g.r.Intn(2))))
	}
	for off := int16(-8); off >= -32; off -= 8 {
		g.emit(memory(prog.ClassSTX, prog.SizeDW, prog.R10, 6, off))
	}
	for i := g.r.Intn(5); i > 0; i-- {
		g.simple()
	}
	g.emit(prog.Insn{Op: prog.OpExitInsn})
}

func (g *generator) statement() {
	g.depth++
	defer func() { g.depth-- }()
	switch n := g.r.Intn(20); {
	case n < 9 || g.depth > 3:
		g.simple()
	case n < 14:
		g.condition()
	case n < 16:
		g.loop()
	case n < 18:
		g.lookup()
	default:
		g.call()
	}
}

func (g *generator) simple() {
	kinds := []func(){g.arith, g.arith, g.arith, g.extend, g.field, g.indexed, g.indexed, g.stack, g.stack, g.spill, g.atomic, g.stackIndexed, g.helper, g.update}
	kinds[g.r.Intn(len(kinds))]()
}

// condition skips some statements, or takes one of two ways.
func (g *generator) condition() {
	at := g.branch()
	for i := g.r.Intn(3); i >= 0; i-- {
		g.statement()
	}
	if g.oneIn(3) {
		end := len(g.insns)
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJa})
		g.patch(at)
		g.statement()
		g.patch(end)
		return
	}
	g.patch(at)
}

// branch emits a conditional jump to be patched.
func (g *generator) branch() int {
	ops := []uint8{prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJne, prog.OpJsgt, prog.OpJsge, prog.OpJlt, prog.OpJle, prog.OpJslt, prog.OpJsle}
	in := prog.Insn{Op: prog.ClassJMP | ops[g.r.Intn(len(ops))], Dst: g.number(), Imm: g.imm()}
	if g.oneIn(3) {
		in.Op = in.Op&^prog.ClassMask | prog.ClassJMP32
	}
	if g.oneIn(3) {
		in.Op, in.Src, in.Imm = in.Op|prog.SrcX, g.number(), 0
	}
	g.emit(in)
	return len(g.insns) - 1
}

// patch makes the jump at pc go here.
func (g *generator) patch(pc int) { g.insns[pc].Off = int16(len(g.insns) - pc - 1) }

// loop counts on the stack, below what other statements write.
func (g *generator) loop() {
	const counter = -48
	g.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeDW, Dst: prog.R10, Off: counter})
	top := len(g.insns)
	for i := g.r.Intn(2); i >= 0; i-- {
		g.simple()
	}
	g.emit(memory(prog.ClassLDX, prog.SizeDW, 1, prog.R10, counter),
		prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 1, Imm: 1},
		memory(prog.ClassSTX, prog.SizeDW, prog.R10, 1, counter))
	g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJlt, Dst: 1, Imm: int32(2 + g.r.Intn(6)), Off: int16(top - len(g.insns) - 1)})
}

func (g *generator) call() {
	g.emit(movReg(1, g.number()), movReg(2, g.number()), movReg(3, prog.R10))
	g.emit(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 3, Imm: int32(-8 * (1 + g.r.Intn(4)))})
	g.calls = append(g.calls, len(g.insns))
	g.emit(prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall})
}

// lookup works on a map value after a test for NULL; sometimes it forgets it.
func (g *generator) lookup() {
	g.emit(memory(prog.ClassSTX, prog.SizeW, prog.R10, g.number(), -40))
	g.emit(movReg(2, prog.R10), prog.Insn{Op: prog.ClassALU64 | prog.OpAdd, Dst: 2, Imm: -40})
	g.mapHandle(1, counts+g.r.Intn(2))
	g.emit(call(helper.MapLookupElem))
	test := len(g.insns)
	if !g.oneIn(30) {
		g.emit(prog.Insn{Op: prog.ClassJMP | prog.OpJeq, Dst: 0})
	}
	off := int16(g.r.Intn(18))
	if !g.oneIn(10) {
		off &= 8
	}
	g.emit(memory(prog.ClassLDX, g.size(), 1, 0, off), memory(prog.ClassSTX, g.size(), 0, g.number()%8, off))
	if g.insns[len(g.insns)-1].Src == 0 {
		g.insns[len(g.insns)-1].Src = 6
	}
	if g.insns[test].Op == prog.ClassJMP|prog.OpJeq {
		g.patch(test)
	}
	g.emit(movImm(0, g.imm()))
}

func (g *generator) size() uint8 {
	return [...]uint8{prog.SizeB, prog.SizeH, prog.SizeW, prog.SizeDW}[g.r.Intn(4)]
}

// mutate overwrites one field of one instruction.
func (g *generator) mutate() {
	in := &g.insns[g.r.Intn(len(g.insns))]
	switch g.r.Intn(5) {
	case 0:
		in.Imm = g.imm()
	case 1:
		in.Off = int16(g.r.Intn(64) - 32)
	case 2:
		in.Dst = uint8(g.r.Intn(11))
	case 3:
		in.Src = uint8(g.r.Intn(11))
	case 4:
		in.Op ^= 1 << g.r.Intn(8)
	}
	if !g.oneIn(8) {
		tidy(in)
	}
}

// tidy clears the fields that an instruction does not use.
func tidy(in *prog.Insn) {
	switch in.Class() {
	case prog.ClassALU, prog.ClassALU64, prog.ClassJMP, prog.ClassJMP32:
		if in.Op == prog.OpCallInsn || in.Op == prog.OpExitInsn {
			return
		}
		if in.Op&prog.SrcMask == prog.SrcX {
			in.Imm = 0
		} else {
			in.Src = 0
		}
		if op := in.Op & prog.OpMask; in.Op&prog.ClassALU != 0 && in.Class() != prog.ClassJMP && in.Class() != prog.ClassJMP32 && op != prog.OpDiv && op != prog.OpMod {
			in.Off = 0
		}
	case prog.ClassLDX:
		in.Imm = 0
	case prog.ClassST:
		in.Src = 0
	}
}
