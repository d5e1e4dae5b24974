package bpfasm

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"portcullis/internal/prog"
)

// form is one shape of line.
type form struct {
	pattern *regexp.Regexp
	emit    func(a *assembler, m []string) error
}

// forms lists the shapes, the more special first.
func forms() []form {
	const (
		r   = `([rw]\d+)`
		at  = `\(r(\d+) ?([+-] ?\w+)\)`
		mem = `\(([us]\d+) \*\)` + at
	)
	f := func(pattern string, emit func(*assembler, []string) error) form {
		return form{regexp.MustCompile("^" + pattern + "$"), emit}
	}
	return []form{
		f(`exit`, func(a *assembler, _ []string) error { return a.emit(prog.Insn{Op: prog.OpExitInsn}) }),
		f(`raw ([0-9a-f]{16})`, raw),
		f(`goto (\S+)`, func(a *assembler, m []string) error {
			return a.jump(prog.Insn{Op: prog.ClassJMP | prog.OpJa}, m[0], byOff)
		}),
		f(`gotol (\S+)`, func(a *assembler, m []string) error {
			return a.jump(prog.Insn{Op: prog.ClassJMP32 | prog.OpJa}, m[0], byImm)
		}),
		f(`if `+r+` (\S+) (\S+) goto (\S+)`, branch),
		f(`call (\S+)`, func(a *assembler, m []string) error { return a.call(m[0]) }),
		f(r+` = \*`+mem, load),
		f(`\*`+mem+` = (\S+)`, store),
		f(`lock \*`+mem+` ([+|&^])= `+r, lock),
		f(r+` = atomic(?:64)?_(\w+)\(`+mem+`, (?:r0, )?`+r+`\)`, fetch),
		f(r+` = map\[(\w+)\]`, mapHandle),
		f(r+` = map\[(\w+)\]\[0\]([+-]\d+)`, mapValue),
		f(r+` = (\S+) ll`, wide),
		f(r+` = (be|le|bswap)(\d+) `+r, swap),
		f(r+` = -`+r, negate),
		f(r+` = \(s(\d+)\)`+r, extend),
		f(r+` (\S*)= (\S+)`, arith),
	}
}

func raw(a *assembler, m []string) error {
	b, err := hex.DecodeString(m[0])
	if err != nil {
		return err
	}
	in, err := prog.Decode(b)
	if err != nil {
		return err
	}
	return a.emit(in[0])
}

// register reads r1 or w1: its number, and the class bits of its width.
func register(s string, narrow, wide uint8) (n, class uint8) {
	v, _ := strconv.ParseUint(s[1:], 10, 8)
	if s[0] == 'w' {
		return uint8(v), narrow
	}
	return uint8(v), wide
}

func plain(s string) uint8 {
	n, _ := register(s, 0, 0)
	return n
}

// operand completes an instruction whose second operand is a register or a number.
func operand(in prog.Insn, s string) (prog.Insn, error) {
	if s[0] == 'r' || s[0] == 'w' {
		in.Op |= prog.SrcX
		in.Src = plain(s)
		return in, nil
	}
	v, err := number(s, 32)
	in.Imm = int32(v)
	return in, err
}

// number reads a signed or unsigned number of so many bits.
func number(s string, bits int) (int64, error) {
	if v, err := strconv.ParseInt(strings.ReplaceAll(s, " ", ""), 0, bits); err == nil {
		return v, nil
	}
	v, err := strconv.ParseUint(s, 0, bits)
	return int64(v), err
}

func branch(a *assembler, m []string) error {
	ops := map[string]uint8{
		"==": prog.OpJeq, ">": prog.OpJgt, ">=": prog.OpJge, "&": prog.OpJset, "!=": prog.OpJne,
		"s>": prog.OpJsgt, "s>=": prog.OpJsge, "<": prog.OpJlt, "<=": prog.OpJle,
		"s<": prog.OpJslt, "s<=": prog.OpJsle,
	}
	op, ok := ops[m[1]]
	if !ok {
		return fmt.Errorf("expected a comparison, found %s", m[1])
	}
	dst, class := register(m[0], prog.ClassJMP32, prog.ClassJMP)
	in, err := operand(prog.Insn{Op: class | op, Dst: dst}, m[2])
	if err != nil {
		return err
	}
	return a.jump(in, m[3], byOff)
}

func arith(a *assembler, m []string) error {
	ops := map[string]uint8{
		"": prog.OpMov, "+": prog.OpAdd, "-": prog.OpSub, "*": prog.OpMul, "/": prog.OpDiv,
		"|": prog.OpOr, "&": prog.OpAnd, "<<": prog.OpLsh, ">>": prog.OpRsh, "%": prog.OpMod,
		"^": prog.OpXor, "s>>": prog.OpArsh, "s/": prog.OpDiv, "s%": prog.OpMod,
	}
	op, ok := ops[m[1]]
	if !ok {
		return fmt.Errorf("expected an operation, found %s", m[1])
	}
	dst, class := register(m[0], prog.ClassALU, prog.ClassALU64)
	in := prog.Insn{Op: class | op, Dst: dst}
	if m[1] == "s/" || m[1] == "s%" {
		in.Off = 1
	}
	in, err := operand(in, m[2])
	if err != nil {
		return err
	}
	return a.emit(in)
}

func negate(a *assembler, m []string) error {
	dst, class := register(m[0], prog.ClassALU, prog.ClassALU64)
	return a.emit(prog.Insn{Op: class | prog.OpNeg, Dst: dst})
}

func extend(a *assembler, m []string) error {
	dst, class := register(m[0], prog.ClassALU, prog.ClassALU64)
	bits, err := number(m[1], 16)
	if err != nil {
		return err
	}
	return a.emit(prog.Insn{Op: class | prog.OpMov | prog.SrcX, Dst: dst, Src: plain(m[2]), Off: int16(bits)})
}

func swap(a *assembler, m []string) error {
	bits, err := number(m[2], 32)
	if err != nil {
		return err
	}
	op := map[string]uint8{
		"le": prog.ClassALU | prog.SrcK, "be": prog.ClassALU | prog.SrcX, "bswap": prog.ClassALU64,
	}[m[1]]
	return a.emit(prog.Insn{Op: op | prog.OpEnd, Dst: plain(m[0]), Imm: int32(bits)})
}

func wide(a *assembler, m []string) error {
	v, err := number(m[1], 64)
	if err != nil {
		return err
	}
	a.p.Insns = append(a.p.Insns, prog.Insn{Op: prog.OpLoadImm64, Dst: plain(m[0]), Imm: int32(uint32(v))})
	return a.emit(prog.Insn{Imm: int32(uint32(uint64(v) >> 32))})
}

func mapHandle(a *assembler, m []string) error {
	i, err := a.mapIndex(m[1])
	if err != nil {
		return err
	}
	a.p.Insns = append(a.p.Insns, prog.Insn{Op: prog.OpLoadImm64, Dst: plain(m[0]), Src: prog.PseudoMapFD, Imm: i})
	return a.emit(prog.Insn{})
}

func mapValue(a *assembler, m []string) error {
	i, err := a.mapIndex(m[1])
	if err != nil {
		return err
	}
	off, err := number(m[2], 32)
	if err != nil {
		return err
	}
	a.p.Insns = append(a.p.Insns, prog.Insn{Op: prog.OpLoadImm64, Dst: plain(m[0]), Src: prog.PseudoMapValue, Imm: i})
	return a.emit(prog.Insn{Imm: int32(off)})
}

// memory reads what mem matched: the width's opcode bits, the base, the offset.
func memory(m []string) (size, base uint8, off int16, err error) {
	size, ok := map[string]uint8{"8": prog.SizeB, "16": prog.SizeH, "32": prog.SizeW, "64": prog.SizeDW}[m[0][1:]]
	if !ok {
		return 0, 0, 0, fmt.Errorf("expected a width of 8, 16, 32 or 64 bits, found %s", m[0])
	}
	v, err := number(m[2], 16)
	return size, plain("r" + m[1]), int16(v), err
}

func load(a *assembler, m []string) error {
	size, base, off, err := memory(m[1:])
	if err != nil {
		return err
	}
	mode := uint8(prog.ModeMem)
	if m[1][0] == 's' {
		mode = prog.ModeMemSX
	}
	return a.emit(prog.Insn{Op: prog.ClassLDX | mode | size, Dst: plain(m[0]), Src: base, Off: off})
}

func store(a *assembler, m []string) error {
	size, base, off, err := memory(m)
	if err != nil {
		return err
	}
	in := prog.Insn{Op: prog.ClassSTX | prog.ModeMem | size, Dst: base, Off: off}
	if m[3][0] == 'r' {
		in.Src = plain(m[3])
		return a.emit(in)
	}
	v, err := number(m[3], 32)
	if err != nil {
		return err
	}
	in.Op, in.Imm = prog.ClassST|prog.ModeMem|size, int32(v)
	return a.emit(in)
}

func atomic(a *assembler, mem []string, op int32, src string) error {
	size, base, off, err := memory(mem)
	if err != nil {
		return err
	}
	return a.emit(prog.Insn{Op: prog.ClassSTX | prog.ModeAtomic | size, Dst: base, Src: plain(src), Off: off, Imm: op})
}

func lock(a *assembler, m []string) error {
	op := map[string]int32{"+": prog.AtomicAdd, "|": prog.AtomicOr, "&": prog.AtomicAnd, "^": prog.AtomicXor}[m[3]]
	return atomic(a, m[:3], op, m[4])
}

func fetch(a *assembler, m []string) error {
	op, ok := map[string]int32{
		"xchg": prog.AtomicXchg, "cmpxchg": prog.AtomicCmpXchg,
		"fetch_add": prog.AtomicAdd | prog.AtomicFetch, "fetch_or": prog.AtomicOr | prog.AtomicFetch,
		"fetch_and": prog.AtomicAnd | prog.AtomicFetch, "fetch_xor": prog.AtomicXor | prog.AtomicFetch,
	}[m[1]]
	if !ok {
		return fmt.Errorf("expected an atomic operation, found %s", m[1])
	}
	return atomic(a, m[2:5], op, m[5])
}
