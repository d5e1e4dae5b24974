package prog

import "fmt"

// Disasm is instruction pc in the notation of the kernel's verifier log, such
// as "r0 = *(u32 *)(r1 +4)" or "if w0 s< 5 goto pc+3". Jump targets are
// relative to the next instruction. A slot that cannot be an instruction is
// shown as its bytes.
func (p *Program) Disasm(pc int) string {
	if pc < 0 || pc >= len(p.Insns) {
		return "beyond the end of the program"
	}
	in := p.Insns[pc]
	text := ""
	switch in.Class() {
	case ClassALU, ClassALU64:
		text = disasmALU(in)
	case ClassJMP, ClassJMP32:
		text = disasmJump(in)
	case ClassLD:
		text = p.disasmImm64(pc)
	default:
		text = disasmMemory(in)
	}
	if text == "" {
		return fmt.Sprintf("invalid instruction %x", Encode([]Insn{in}))
	}
	return text
}

// reg names a register at a width: r1, or w1 for its lower half.
func reg(class, n uint8) string {
	if class == ClassALU || class == ClassJMP32 {
		return fmt.Sprintf("w%d", n)
	}
	return fmt.Sprintf("r%d", n)
}

func operand(in Insn) string {
	if in.Op&SrcMask == SrcX {
		return reg(in.Class(), in.Src)
	}
	return fmt.Sprint(in.Imm)
}

// aluSign is an arithmetic operation as the kernel prints it, before the "=".
func aluSign(op uint8) string {
	switch op {
	case OpAdd:
		return "+"
	case OpSub:
		return "-"
	case OpMul:
		return "*"
	case OpDiv:
		return "/"
	case OpOr:
		return "|"
	case OpAnd:
		return "&"
	case OpLsh:
		return "<<"
	case OpRsh:
		return ">>"
	case OpMod:
		return "%"
	case OpXor:
		return "^"
	case OpArsh:
		return "s>>"
	}
	return ""
}

func disasmALU(in Insn) string {
	dst := reg(in.Class(), in.Dst)
	op := in.Op & OpMask
	switch op {
	case OpEnd:
		return disasmEnd(in)
	case OpNeg:
		return fmt.Sprintf("%s = -%s", dst, dst)
	case OpMov:
		switch {
		case in.Off != 0 && (in.Op&SrcMask == SrcK || in.Off != 8 && in.Off != 16 && in.Off != 32):
			return ""
		case in.Off != 0:
			return fmt.Sprintf("%s = (s%d)%s", dst, in.Off, operand(in))
		}
		return fmt.Sprintf("%s = %s", dst, operand(in))
	}
	sign := aluSign(op)
	if sign == "" {
		return ""
	}
	if in.Off == 1 && (op == OpDiv || op == OpMod) {
		sign = "s" + sign
	}
	return fmt.Sprintf("%s %s= %s", dst, sign, operand(in))
}

func disasmEnd(in Insn) string {
	name := "le"
	switch {
	case in.Imm != 16 && in.Imm != 32 && in.Imm != 64:
		return ""
	case in.Class() == ClassALU64:
		name = "bswap"
	case in.Op&SrcMask == SrcX:
		name = "be"
	}
	return fmt.Sprintf("r%d = %s%d r%d", in.Dst, name, in.Imm, in.Dst)
}

func jumpSign(op uint8) string {
	switch op {
	case OpJeq:
		return "=="
	case OpJgt:
		return ">"
	case OpJge:
		return ">="
	case OpJset:
		return "&"
	case OpJne:
		return "!="
	case OpJsgt:
		return "s>"
	case OpJsge:
		return "s>="
	case OpJlt:
		return "<"
	case OpJle:
		return "<="
	case OpJslt:
		return "s<"
	case OpJsle:
		return "s<="
	}
	return ""
}

func disasmJump(in Insn) string {
	switch in.Op {
	case ClassJMP | OpJa:
		return fmt.Sprintf("goto pc%+d", in.Off)
	case ClassJMP32 | OpJa:
		return fmt.Sprintf("gotol pc%+d", in.Imm)
	case OpExitInsn:
		return "exit"
	case OpCallInsn:
		return disasmCall(in)
	}
	sign := jumpSign(in.Op & OpMask)
	if sign == "" {
		return ""
	}
	return fmt.Sprintf("if %s %s %s goto pc%+d", reg(in.Class(), in.Dst), sign, operand(in), in.Off)
}

func disasmCall(in Insn) string {
	switch in.Src {
	case PseudoCall:
		return fmt.Sprintf("call pc%+d", in.Imm)
	case PseudoKfunc:
		return fmt.Sprintf("call kernel-function %d", in.Imm)
	}
	return fmt.Sprintf("call %d", in.Imm)
}

func (p *Program) disasmImm64(pc int) string {
	in := p.Insns[pc]
	if !in.IsLoadImm64() || pc+1 >= len(p.Insns) {
		return ""
	}
	next := p.Insns[pc+1].Imm
	switch in.Src {
	case PseudoMapFD:
		return fmt.Sprintf("r%d = map[%s]", in.Dst, p.mapName(in.Imm))
	case PseudoMapValue:
		return fmt.Sprintf("r%d = map[%s][0]+%d", in.Dst, p.mapName(in.Imm), next)
	case PseudoFunc:
		return fmt.Sprintf("r%d = func pc%+d", in.Dst, in.Imm)
	}
	return fmt.Sprintf("r%d = %#x ll", in.Dst, uint64(uint32(in.Imm))|uint64(uint32(next))<<32)
}

func (p *Program) mapName(i int32) string {
	if i < 0 || int(i) >= len(p.Maps) {
		return fmt.Sprint(i)
	}
	return p.Maps[i].Name
}

func disasmMemory(in Insn) string {
	sign := "u"
	if in.Op&ModeMask == ModeMemSX {
		sign = "s"
	}
	base := in.Dst
	if in.Class() == ClassLDX {
		base = in.Src
	}
	at := fmt.Sprintf("(%s%d *)(r%d %+d)", sign, 8*in.Width(), base, in.Off)
	mode := in.Op & ModeMask
	switch {
	case in.Class() == ClassLDX && (mode == ModeMem || mode == ModeMemSX):
		return fmt.Sprintf("r%d = *%s", in.Dst, at)
	case in.Class() == ClassST && mode == ModeMem:
		return fmt.Sprintf("*%s = %d", at, in.Imm)
	case in.Class() == ClassSTX && mode == ModeMem:
		return fmt.Sprintf("*%s = r%d", at, in.Src)
	case in.Class() == ClassSTX && mode == ModeAtomic:
		return disasmAtomic(in, at)
	}
	return ""
}

func disasmAtomic(in Insn, at string) string {
	name := "atomic"
	if in.Width() == 8 {
		name = "atomic64"
	}
	switch in.Imm {
	case AtomicXchg:
		return fmt.Sprintf("r%d = %s_xchg(%s, r%d)", in.Src, name, at, in.Src)
	case AtomicCmpXchg:
		return fmt.Sprintf("r0 = %s_cmpxchg(%s, r0, r%d)", name, at, in.Src)
	}
	op, sign := "", ""
	switch in.Imm &^ AtomicFetch {
	case AtomicAdd:
		op, sign = "add", "+"
	case AtomicOr:
		op, sign = "or", "|"
	case AtomicAnd:
		op, sign = "and", "&"
	case AtomicXor:
		op, sign = "xor", "^"
	default:
		return ""
	}
	if in.Imm&AtomicFetch != 0 {
		return fmt.Sprintf("r%d = %s_fetch_%s(%s, r%d)", in.Src, name, op, at, in.Src)
	}
	return fmt.Sprintf("lock *%s %s= r%d", at, sign, in.Src)
}
