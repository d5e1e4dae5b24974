package cbpf

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
)

// String prints the program as the kernel's bpf_dbg does, one instruction a
// line, which bpf_asm reads back; comments name fields and verdicts.
func (p Program) String() string {
	var b strings.Builder
	for pc, in := range p.insns {
		line := fmt.Sprintf("l%d:\t%s", pc, in.text(pc))
		if c := in.comment(); c != "" {
			line += "\t; " + c
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// String is the instruction with relative jump targets: "jeq #0x1, +0, +3".
func (in Insn) String() string {
	switch {
	case in.Op == Ja:
		return fmt.Sprintf("jmp +%d", in.K)
	case in.isCond():
		return fmt.Sprintf("%s %s, +%d, +%d", mnemonic(in.Op), in.operandText(), in.Jt, in.Jf)
	}
	return in.text(0)
}

// text is the instruction at pc, with absolute jump targets.
func (in Insn) text(pc int) string {
	next := uint64(pc) + 1
	switch {
	case in.Op == Ja:
		return fmt.Sprintf("jmp l%d", next+uint64(in.K))
	case in.isCond() && allowed(in.Op):
		return fmt.Sprintf("%s %s, l%d, l%d", mnemonic(in.Op), in.operandText(), next+uint64(in.Jt), next+uint64(in.Jf))
	}
	name, operand := mnemonic(in.Op), in.operandText()
	if operand == "" {
		return name
	}
	return name + " " + operand
}

func (in Insn) operandText() string {
	switch in.Op {
	case LdAbs:
		return fmt.Sprintf("[%d]", in.K)
	case LdLen, LdxLen:
		return "len"
	case LdMem, LdxMem, St, Stx:
		return fmt.Sprintf("M[%d]", in.K)
	case Neg, Tax, Txa:
		return ""
	case RetA:
		return "a"
	case LdImm, LdxImm, RetK:
		return fmt.Sprintf("#%#x", in.K)
	}
	switch {
	case !allowed(in.Op):
		return ""
	case in.Op&srcX != 0:
		return "x"
	}
	return fmt.Sprintf("#%#x", in.K)
}

func mnemonic(op uint16) string {
	switch op {
	case LdAbs, LdLen, LdImm, LdMem:
		return "ld"
	case LdxLen, LdxImm, LdxMem:
		return "ldx"
	case St:
		return "st"
	case Stx:
		return "stx"
	case RetK, RetA:
		return "ret"
	case Tax:
		return "tax"
	case Txa:
		return "txa"
	case Neg:
		return "neg"
	case Ja:
		return "jmp"
	}
	if !allowed(op) {
		return fmt.Sprintf("opcode %#x", op)
	}
	return operation(op &^ srcX)
}

// operation names arithmetic and comparisons, given in their K form.
func operation(op uint16) string {
	switch op {
	case AddK:
		return "add"
	case SubK:
		return "sub"
	case MulK:
		return "mul"
	case DivK:
		return "div"
	case OrK:
		return "or"
	case AndK:
		return "and"
	case LshK:
		return "lsh"
	case RshK:
		return "rsh"
	case XorK:
		return "xor"
	case JeqK:
		return "jeq"
	case JgtK:
		return "jgt"
	case JgeK:
		return "jge"
	}
	return "jset"
}

// comment says what a load loads and what a constant verdict means.
func (in Insn) comment() string {
	switch in.Op {
	case LdAbs:
		return field(in.K)
	case RetK:
		return abi.Verdict(in.K).String()
	}
	return ""
}

func field(off uint32) string {
	half := ""
	if off&4 != 0 {
		half = ", upper half"
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
