// Package cbpf is the classic BPF that seccomp runs: assemble, optimise,
// validate exactly as the kernel does, run and print.
package cbpf

// Insn is one instruction, the kernel's struct sock_filter.
type Insn struct {
	// Op is the opcode; see the constants below.
	Op uint16
	// Jt and Jf are how many instructions a conditional jump skips.
	Jt, Jf uint8
	// K is the constant, offset or distance.
	K uint32
}

// MaxInsns is the largest program the kernel takes (BPF_MAXINSNS).
const MaxInsns = 4096

// MemWords is the number of 32-bit scratch cells (BPF_MEMWORDS).
const MemWords = 16

// The opcodes seccomp allows (seccomp_check_filter in kernel/seccomp.c). A is
// the accumulator, X the index register, M the scratch memory. Names ending in
// K take the constant, those ending in X the index register.
const (
	LdAbs  = 0x20 // A = 32 bits of struct seccomp_data at offset K
	LdLen  = 0x80 // A = 64
	LdxLen = 0x81 // X = 64
	LdImm  = 0x00 // A = K
	LdxImm = 0x01 // X = K
	LdMem  = 0x60 // A = M[K]
	LdxMem = 0x61 // X = M[K]
	St     = 0x02 // M[K] = A
	Stx    = 0x03 // M[K] = X

	AddK = 0x04
	AddX = 0x0c
	SubK = 0x14
	SubX = 0x1c
	MulK = 0x24
	MulX = 0x2c
	DivK = 0x34
	DivX = 0x3c // division by zero ends the program with 0, KILL_THREAD
	OrK  = 0x44
	OrX  = 0x4c
	AndK = 0x54
	AndX = 0x5c
	LshK = 0x64
	LshX = 0x6c // only the lower five bits of X count, as for RshX
	RshK = 0x74
	RshX = 0x7c
	Neg  = 0x84
	XorK = 0xa4
	XorX = 0xac

	Ja    = 0x05 // skip K instructions
	JeqK  = 0x15
	JeqX  = 0x1d
	JgtK  = 0x25 // comparisons are unsigned
	JgtX  = 0x2d
	JgeK  = 0x35
	JgeX  = 0x3d
	JsetK = 0x45 // jumps if A and the operand share a bit
	JsetX = 0x4d

	RetK = 0x06
	RetA = 0x16
	Tax  = 0x07 // X = A
	Txa  = 0x87 // A = X
)

// Bits of opcodes.
const (
	classMask = 0x07
	classLd   = 0x00
	classLdx  = 0x01
	classAlu  = 0x04
	classJmp  = 0x05
	classRet  = 0x06
	srcX      = 0x08
)

func (in Insn) isCond() bool { return in.Op&classMask == classJmp && in.Op != Ja }

func (in Insn) isRet() bool { return in.Op == RetK || in.Op == RetA }

// allowed tells whether both bpf_check_classic and seccomp_check_filter know
// the opcode. MOD, half-word, byte, indirect and MSH loads pass the first only.
func allowed(op uint16) bool {
	switch op {
	case LdAbs, LdLen, LdxLen, LdImm, LdxImm, LdMem, LdxMem, St, Stx,
		AddK, AddX, SubK, SubX, MulK, MulX, DivK, DivX, OrK, OrX, AndK, AndX,
		LshK, LshX, RshK, RshX, Neg, XorK, XorX,
		Ja, JeqK, JeqX, JgtK, JgtX, JgeK, JgeX, JsetK, JsetX,
		RetK, RetA, Tax, Txa:
		return true
	}
	return false
}
