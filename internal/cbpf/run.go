package cbpf

import "portcullis/internal/abi"

// machine is the state of a run.
type machine struct {
	a, x uint32
	mem  [MemWords]uint32
}

// Run returns what the kernel's translation of p returns for d, before the
// kernel interprets it: see abi.Verdict.Effective. The zero Program, which the
// kernel would not take, answers KILL_PROCESS. Run does not allocate.
func (p Program) Run(d *abi.SeccompData) abi.Verdict {
	var m machine
	for pc := 0; pc < len(p.insns); pc++ {
		in := p.insns[pc]
		switch in.Op {
		case RetK:
			return abi.Verdict(in.K)
		case RetA:
			return abi.Verdict(m.a)
		case Ja:
			pc += int(in.K)
		case DivX:
			if m.x == 0 {
				return abi.KillThread
			}
			m.a /= m.x
		case LdAbs:
			m.a = word(d, in.K)
		default:
			if in.isCond() {
				pc += m.skip(in)
			} else {
				m.step(in)
			}
		}
	}
	return abi.KillProcess
}

// Steps is how many instructions Run executes for d.
func (p Program) Steps(d *abi.SeccompData) (n int) {
	var m machine
	for pc := 0; pc < len(p.insns); pc++ {
		n++
		switch in := p.insns[pc]; {
		case in.isRet():
			return n
		case in.Op == Ja:
			pc += int(in.K)
		case in.Op == LdAbs:
			m.a = word(d, in.K)
		case in.isCond():
			pc += m.skip(in)
		case in.Op == DivX && m.x == 0:
			return n
		case in.Op == DivX:
			m.a /= m.x
		default:
			m.step(in)
		}
	}
	return n
}

// word is the 32-bit little-endian word of d at byte offset off.
func word(d *abi.SeccompData, off uint32) uint32 {
	switch off {
	case abi.OffNr:
		return uint32(d.Nr)
	case abi.OffArch:
		return uint32(d.Arch)
	case abi.OffInstructionPointer:
		return uint32(d.InstructionPointer)
	case abi.OffInstructionPointer + 4:
		return uint32(d.InstructionPointer >> 32)
	}
	arg := d.Args[(off-abi.OffArgs)/8]
	return uint32(arg >> (8 * (off & 4)))
}

// skip is how many instructions a conditional jump skips.
func (m *machine) skip(in Insn) int {
	if compare(in.Op, m.a, m.operand(in)) {
		return int(in.Jt)
	}
	return int(in.Jf)
}

func compare(op uint16, a, v uint32) bool {
	switch op &^ srcX {
	case JeqK:
		return a == v
	case JgtK:
		return a > v
	case JgeK:
		return a >= v
	}
	return a&v != 0
}

func (m *machine) operand(in Insn) uint32 {
	if in.Op&srcX != 0 {
		return m.x
	}
	return in.K
}

// step does what neither jumps, returns nor divides by X.
func (m *machine) step(in Insn) {
	switch in.Op {
	case LdLen:
		m.a = abi.DataSize
	case LdxLen:
		m.x = abi.DataSize
	case LdImm:
		m.a = in.K
	case LdxImm:
		m.x = in.K
	case LdMem:
		m.a = m.mem[in.K]
	case LdxMem:
		m.x = m.mem[in.K]
	case St:
		m.mem[in.K] = m.a
	case Stx:
		m.mem[in.K] = m.x
	case Tax:
		m.x = m.a
	case Txa:
		m.a = m.x
	default:
		m.a = calculate(in.Op, m.a, m.operand(in))
	}
}

// calculate is the arithmetic on A; shifts take the lower five bits, as the
// eBPF that the kernel translates to does.
func calculate(op uint16, a, v uint32) uint32 {
	if op == Neg {
		return -a
	}
	switch op &^ srcX {
	case AddK:
		return a + v
	case SubK:
		return a - v
	case MulK:
		return a * v
	case DivK:
		return a / v
	case OrK:
		return a | v
	case AndK:
		return a & v
	case LshK:
		return a << (v & 31)
	case RshK:
		return a >> (v & 31)
	}
	return a ^ v
}

// ConstAllow tells whether the kernel's constant-action bitmap holds ALLOW for
// the call: seccomp_is_const_allow in kernel/seccomp.c, which knows number and
// architecture, gives up at any other load, and understands few instructions.
// Such a call never runs the program.
func (p Program) ConstAllow(arch abi.Arch, nr uint32) bool {
	var a uint32
	for pc := 0; pc < len(p.insns); pc++ {
		in := p.insns[pc]
		switch {
		case in.Op == LdAbs && in.K == abi.OffNr:
			a = nr
		case in.Op == LdAbs && in.K == abi.OffArch:
			a = uint32(arch)
		case in.Op == RetK:
			return abi.Verdict(in.K) == abi.Allow
		case in.Op == Ja:
			pc += int(in.K)
		case in.isCond() && in.Op&srcX == 0:
			pc += (&machine{a: a}).skip(in)
		case in.Op == AndK:
			a &= in.K
		default:
			return false
		}
	}
	return false
}
