// Package asm assembles programs of the filter ABI: instructions with labels, the maps they
// refer to and the source lines they come from.
package asm

import (
	"fmt"
	"math"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Label is a place in a program that jumps lead to. The zero Label is none.
type Label int

// Reg is a register, R0 to R10.
type Reg uint8

// The registers. R0 is a result and a verdict, R1 to R5 are arguments and lost in calls, R10
// is the end of the stack.
const (
	R0 Reg = iota
	R1
	R2
	R3
	R4
	R5
	R6
	R7
	R8
	R9
	R10
)

// Builder collects a program. Its functions end where the next begins.
type Builder struct {
	insns  []prog.Insn
	lines  []prog.Line
	line   prog.Line
	places []int // of each label, -1 where it is not bound
	jumps  []jump
	used   []bool // of each label, whether something jumps to it
	funcs  []prog.Func
	maps   []*prog.Map
}

// jump is an instruction whose offset, or whose Imm for a call, is to be filled in.
type jump struct {
	at   int
	to   Label
	call bool
}

// Func begins a function.
func (b *Builder) Func(name string) {
	b.funcs = append(b.funcs, prog.Func{Name: name, Start: len(b.insns)})
}

// At says which line the next instructions come from.
func (b *Builder) At(l prog.Line) { b.line = l }

// Here is the line that At said last.
func (b *Builder) Here() prog.Line { return b.line }

// Len is how many slots there are.
func (b *Builder) Len() int { return len(b.insns) }

// Label makes a label that is bound later.
func (b *Builder) Label() Label {
	b.places, b.used = append(b.places, -1), append(b.used, false)
	return Label(len(b.places))
}

// Bind makes a label that of the next instruction.
func (b *Builder) Bind(l Label) { b.places[l-1] = len(b.insns) }

// Bound tells whether a label has a place.
func (b *Builder) Bound(l Label) bool { return b.places[l-1] >= 0 }

// Used tells whether something jumps to a label.
func (b *Builder) Used(l Label) bool { return b.used[l-1] }

func (b *Builder) emit(in prog.Insn) {
	if n := len(b.lines); n == 0 && b.line.File != "" || n > 0 && !same(b.lines[n-1], b.line) {
		l := b.line
		l.Insn = len(b.insns)
		b.lines = append(b.lines, l)
	}
	b.insns = append(b.insns, in)
}

// same tells whether messages would show the same of two lines.
func same(a, b prog.Line) bool { return a.File == b.File && a.Line == b.Line && a.Text == b.Text }

// Imm is dst OP= imm, in 64 bits; for OpMov dst = imm.
func (b *Builder) Imm(op uint8, dst Reg, imm int32) {
	b.emit(prog.Insn{Op: prog.ClassALU64 | op | prog.SrcK, Dst: uint8(dst), Imm: imm})
}

// Reg is dst OP= src, in 64 bits.
func (b *Builder) Reg(op uint8, dst, src Reg) {
	b.emit(prog.Insn{Op: prog.ClassALU64 | op | prog.SrcX, Dst: uint8(dst), Src: uint8(src)})
}

// Imm32 and Reg32 are Imm and Reg in 32 bits: the upper half becomes 0.
func (b *Builder) Imm32(op uint8, dst Reg, imm int32) {
	b.emit(prog.Insn{Op: prog.ClassALU | op | prog.SrcK, Dst: uint8(dst), Imm: imm})
}

// Reg32 is dst OP= src in 32 bits.
func (b *Builder) Reg32(op uint8, dst, src Reg) {
	b.emit(prog.Insn{Op: prog.ClassALU | op | prog.SrcX, Dst: uint8(dst), Src: uint8(src)})
}

// Swap turns the lower bits of dst, 16, 32 or 64, from the order of the network into the
// processor's.
func (b *Builder) Swap(dst Reg, bits int32) {
	b.emit(prog.Insn{Op: prog.ClassALU | prog.OpEnd | prog.SrcX, Dst: uint8(dst), Imm: bits})
}

// Const is dst = v, in one slot where that is possible.
func (b *Builder) Const(dst Reg, v uint64) {
	switch {
	case v <= math.MaxUint32:
		b.Imm32(prog.OpMov, dst, int32(uint32(v)))
	case int64(v) >= math.MinInt32 && int64(v) < 0:
		b.Imm(prog.OpMov, dst, int32(int64(v)))
	default:
		b.wide(dst, 0, int32(uint32(v)), int32(uint32(v>>32)))
	}
}

func (b *Builder) wide(dst Reg, src uint8, low, high int32) {
	b.emit(prog.Insn{Op: prog.OpLoadImm64, Dst: uint8(dst), Src: src, Imm: low})
	b.emit(prog.Insn{Imm: high})
}

// Load is dst = *(src + off), of width prog.SizeB, SizeH, SizeW or SizeDW.
func (b *Builder) Load(width uint8, dst, src Reg, off int16) {
	b.emit(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | width, Dst: uint8(dst), Src: uint8(src), Off: off})
}

// Store is *(dst + off) = src.
func (b *Builder) Store(width uint8, dst Reg, off int16, src Reg) {
	b.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | width, Dst: uint8(dst), Src: uint8(src), Off: off})
}

// StoreImm is *(dst + off) = imm.
func (b *Builder) StoreImm(width uint8, dst Reg, off int16, imm int32) {
	b.emit(prog.Insn{Op: prog.ClassST | prog.ModeMem | width, Dst: uint8(dst), Off: off, Imm: imm})
}

// Atomic does an operation of prog.Atomic* on the 64 bits at dst + off.
func (b *Builder) Atomic(op int32, dst Reg, off int16, src Reg) {
	b.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeAtomic | prog.SizeDW, Dst: uint8(dst), Src: uint8(src), Off: off, Imm: op})
}

// Map is dst = the map, for a helper.
func (b *Builder) Map(dst Reg, m *prog.Map) { b.wide(dst, prog.PseudoMapFD, b.index(m), 0) }

// Value is dst = the address of offset off in the only value of an array.
func (b *Builder) Value(dst Reg, m *prog.Map, off int32) {
	b.wide(dst, prog.PseudoMapValue, b.index(m), off)
}

func (b *Builder) index(m *prog.Map) int32 {
	for i, have := range b.maps {
		if have == m {
			return int32(i)
		}
	}
	b.maps = append(b.maps, m)
	return int32(len(b.maps) - 1)
}

// Jump goes to l.
func (b *Builder) Jump(l Label) { b.to(l, prog.Insn{Op: prog.ClassJMP | prog.OpJa}) }

// If goes to l where dst OP imm, compared in 64 bits.
func (b *Builder) If(op uint8, dst Reg, imm int32, l Label) {
	b.to(l, prog.Insn{Op: prog.ClassJMP | op | prog.SrcK, Dst: uint8(dst), Imm: imm})
}

// IfReg goes to l where dst OP src, compared in 64 bits.
func (b *Builder) IfReg(op uint8, dst, src Reg, l Label) {
	b.to(l, prog.Insn{Op: prog.ClassJMP | op | prog.SrcX, Dst: uint8(dst), Src: uint8(src)})
}

// If32 is If in 32 bits.
func (b *Builder) If32(op uint8, dst Reg, imm int32, l Label) {
	b.to(l, prog.Insn{Op: prog.ClassJMP32 | op | prog.SrcK, Dst: uint8(dst), Imm: imm})
}

func (b *Builder) to(l Label, in prog.Insn) {
	b.jumps, b.used[l-1] = append(b.jumps, jump{at: len(b.insns), to: l}), true
	b.emit(in)
}

// Call calls a helper.
func (b *Builder) Call(id helper.ID) { b.emit(prog.Insn{Op: prog.OpCallInsn, Imm: int32(id)}) }

// CallFunc calls the function that begins at l.
func (b *Builder) CallFunc(l Label) {
	b.jumps, b.used[l-1] = append(b.jumps, jump{at: len(b.insns), to: l, call: true}), true
	b.emit(prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall})
}

// Exit returns R0.
func (b *Builder) Exit() { b.emit(prog.Insn{Op: prog.OpExitInsn}) }

// Program fills jumps in. The error is of one that leads too far.
func (b *Builder) Program() (*prog.Program, error) {
	for _, j := range b.jumps {
		off := b.places[j.to-1] - j.at - 1
		switch {
		case b.places[j.to-1] < 0:
			return nil, fmt.Errorf("label %d, used at instruction %d, has no place", j.to, j.at)
		case j.call:
			b.insns[j.at].Imm = int32(off)
		case off < math.MinInt16 || off > math.MaxInt16:
			return nil, fmt.Errorf("a program of %d instructions: its jumps reach 32767", len(b.insns))
		default:
			b.insns[j.at].Off = int16(off)
		}
	}
	return &prog.Program{Insns: b.insns, Funcs: b.funcs, Maps: b.maps, Lines: b.lines}, nil
}
