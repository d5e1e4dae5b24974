package interp

import "portcullis/internal/prog"

// opcode is what the machine dispatches on. An eBPF opcode lowers to the
// opcode of its operation and width; whether the operand is a register or an
// immediate is settled before the switch (see insn), so that there is no
// opcode for either.
type opcode uint16

// sparse keeps the numbers of the arithmetic opcodes so far apart that the Go
// compiler searches them by comparisons instead of jumping through a table
// (cmd/compile: a table wants one number in four used). Straight arithmetic has
// no branches of its own from which a processor could predict an indirect
// jump, and a wrong guess costs more than six comparisons.
const sparse = 5

// Arithmetic: everything that touches nothing but registers.
const (
	opMov opcode = iota * sparse
	opMovRet
	opAdd
	opSub
	opMul
	opDiv
	opSdiv
	opMod
	opSmod
	opOr
	opAnd
	opXor
	opLsh
	opRsh
	opArsh
	opNeg
	opMovsx8
	opMovsx16
	opMovsx32
	opMov32
	opMovRet32
	opAdd32
	opSub32
	opMul32
	opDiv32
	opSdiv32
	opMod32
	opSmod32
	opOr32
	opAnd32
	opXor32
	opLsh32
	opRsh32
	opArsh32
	opNeg32
	opMovsx8w
	opMovsx16w
	opSwap16
	opSwap32
	opSwap64
	opZext16
	opArithEnd
)

// Jumps, memory and calls, numbered densely: a table of jumps.
const (
	opIllegal opcode = iota + opArithEnd
	opJa
	opJeq
	opJne
	opJgt
	opJge
	opJlt
	opJle
	opJset
	opJsgt
	opJsge
	opJslt
	opJsle
	opJeq32
	opJne32
	opJgt32
	opJge32
	opJlt32
	opJle32
	opJset32
	opJsgt32
	opJsge32
	opJslt32
	opJsle32
	opLd8
	opLd16
	opLd32
	opLd64
	opLdsx8
	opLdsx16
	opLdsx32
	opSt8
	opSt16
	opSt32
	opSt64
	opAtomic32
	opAtomic64
	opLookup
	opHelper
	opCall
	opExit
	opEnd
)

// insn is one lowered instruction. The operand of every opcode is
// r[src]+imm: an immediate operand names regZero, a register operand has imm 0,
// a load keeps its offset in imm.
//
// w packs the rest, from bit 0: opcode (16), dst (4), src (4), back (8), off
// (32). One word takes one load, and shifts cost less than address arithmetic.
//
// back is 1 on a jump that goes backwards and on a call: what the step budget
// is charged when it is taken. off is the target of a jump or call, the offset
// of a store, the id of a helper; of an exit, the instruction that explains
// the verdict, or -1; of an atomic operation, the offset in the lower half and
// the operation in the upper.
type insn struct{ w, imm uint64 }

// regZero is a register that always holds 0.
const regZero = 11

// pack makes an instruction. op, dst and src must be in range.
func pack(op opcode, dst, src uint8, off int32, imm uint64) insn {
	return insn{uint64(op) | uint64(dst&15)<<16 | uint64(src&15)<<20 | uint64(uint32(off))<<32, imm}
}

func (in insn) op() opcode { return opcode(in.w) }
func (in insn) dst() uint8 { return uint8(in.w>>16) & 15 }
func (in insn) src() uint8 { return uint8(in.w>>20) & 15 }
func (in insn) off() int32 { return int32(in.w >> 32) }

// withTarget is in with another target; back is set as off and from, the place of in,
// require.
func (in insn) withTarget(off, from int32) insn {
	in.w = in.w&0x00ffffff | uint64(uint32(off))<<32
	if off <= from || in.op() == opCall {
		in.w |= 1 << 24
	}
	return in
}

// isJump tells whether off is a target inside the function.
func (in insn) isJump() bool { return in.op() >= opJa && in.op() <= opJsle32 }

// Atomic operations as an atomic instruction holds them.
const (
	kindFetch   = prog.AtomicFetch
	kindOr      = prog.AtomicOr
	kindAnd     = prog.AtomicAnd
	kindXor     = prog.AtomicXor
	kindXchg    = prog.AtomicXchg
	kindCmpXchg = prog.AtomicCmpXchg
)
