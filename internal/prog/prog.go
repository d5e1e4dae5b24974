// Package prog holds an eBPF program as data: instructions, maps, functions,
// source lines and constants. It checks nothing; package verify does.
package prog

import (
	"encoding/binary"
	"fmt"
)

// Insn is one 8-byte slot of eBPF in the encoding of RFC 9669. A 64-bit
// immediate load takes two slots.
type Insn struct {
	Op       uint8
	Dst, Src uint8
	Off      int16
	Imm      int32
}

// Size is the size of a slot in bytes.
const Size = 8

// Program is one filter: one entry function and the functions it calls, laid
// out one after another. Jump and call offsets are relative, in slots.
// A 64-bit immediate load with Src PseudoMapFD or PseudoMapValue holds the
// index into Maps in its first Imm (and an offset into the value in its second).
type Program struct {
	// Name is the function's or section's name: what SPEC:PROG selects.
	Name string
	// Source is the object's path, for messages.
	Source string
	// Insns starts with the entry function.
	Insns []Insn
	// Funcs are the functions in ascending order of Start; Funcs[0].Start is 0.
	Funcs []Func
	// Maps are the maps and globals the program refers to.
	Maps []*Map
	// Lines are the source lines in ascending order of Insn; may be empty.
	Lines []Line
	// License is the object's license string.
	License string
}

// Func is a function of a program.
type Func struct {
	Name  string
	Start int
}

// Line says which source line the instructions from Insn on come from.
type Line struct {
	Insn int
	File string
	Line int
	Text string
}

// String is "file:line", or "" for the zero Line.
func (l Line) String() string {
	if l.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", l.File, l.Line)
}

// LineOf finds the source line of instruction pc; the zero Line if unknown.
func (p *Program) LineOf(pc int) Line {
	lo, hi := 0, len(p.Lines)
	for lo < hi {
		mid := (lo + hi) / 2
		if p.Lines[mid].Insn <= pc {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return Line{}
	}
	return p.Lines[lo-1]
}

// FuncOf is the index into Funcs of the function that holds pc; 0 without Funcs.
func (p *Program) FuncOf(pc int) int {
	i := 0
	for i+1 < len(p.Funcs) && p.Funcs[i+1].Start <= pc {
		i++
	}
	return i
}

// Decode reads raw little-endian instruction slots.
func Decode(raw []byte) ([]Insn, error) {
	if len(raw)%Size != 0 {
		return nil, fmt.Errorf("%d bytes of instructions: expected a multiple of %d", len(raw), Size)
	}
	insns := make([]Insn, len(raw)/Size)
	for i := range insns {
		b := raw[i*Size:]
		insns[i] = Insn{
			Op: b[0], Dst: b[1] & 0xf, Src: b[1] >> 4,
			Off: int16(binary.LittleEndian.Uint16(b[2:])),
			Imm: int32(binary.LittleEndian.Uint32(b[4:])),
		}
	}
	return insns, nil
}

// Encode is the inverse of Decode.
func Encode(insns []Insn) []byte {
	raw := make([]byte, 0, len(insns)*Size)
	for _, in := range insns {
		raw = append(raw, in.Op, in.Src<<4|in.Dst&0xf)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(in.Off))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(in.Imm))
	}
	return raw
}
