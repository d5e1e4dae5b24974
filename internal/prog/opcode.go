package prog

// Instruction classes, the lower three bits of an opcode (RFC 9669, 3).
const (
	ClassLD    = 0x00
	ClassLDX   = 0x01
	ClassST    = 0x02
	ClassSTX   = 0x03
	ClassALU   = 0x04
	ClassJMP   = 0x05
	ClassJMP32 = 0x06
	ClassALU64 = 0x07
	ClassMask  = 0x07
)

// Source bit of arithmetic and jumps (RFC 9669, 4): immediate or register.
const (
	SrcK    = 0x00
	SrcX    = 0x08
	SrcMask = 0x08
)

// Arithmetic operations (RFC 9669, 4.1). DIV and MOD with Off 1 are signed;
// MOV with Off 8, 16 or 32 extends the sign.
const (
	OpAdd  = 0x00
	OpSub  = 0x10
	OpMul  = 0x20
	OpDiv  = 0x30
	OpOr   = 0x40
	OpAnd  = 0x50
	OpLsh  = 0x60
	OpRsh  = 0x70
	OpNeg  = 0x80
	OpMod  = 0x90
	OpXor  = 0xa0
	OpMov  = 0xb0
	OpArsh = 0xc0
	OpEnd  = 0xd0
	OpMask = 0xf0
)

// Jump operations (RFC 9669, 4.3).
const (
	OpJa   = 0x00
	OpJeq  = 0x10
	OpJgt  = 0x20
	OpJge  = 0x30
	OpJset = 0x40
	OpJne  = 0x50
	OpJsgt = 0x60
	OpJsge = 0x70
	OpCall = 0x80
	OpExit = 0x90
	OpJlt  = 0xa0
	OpJle  = 0xb0
	OpJslt = 0xc0
	OpJsle = 0xd0
)

// Load and store modes (RFC 9669, 5).
const (
	ModeImm    = 0x00
	ModeAbs    = 0x20
	ModeInd    = 0x40
	ModeMem    = 0x60
	ModeMemSX  = 0x80
	ModeAtomic = 0xc0
	ModeMask   = 0xe0
)

// Widths of loads and stores (RFC 9669, 5).
const (
	SizeW    = 0x00
	SizeH    = 0x08
	SizeB    = 0x10
	SizeDW   = 0x18
	SizeMask = 0x18
)

// Atomic operations, in Imm (RFC 9669, 5.3).
const (
	AtomicAdd     = 0x00
	AtomicOr      = 0x40
	AtomicAnd     = 0x50
	AtomicXor     = 0xa0
	AtomicFetch   = 0x01
	AtomicXchg    = 0xe1
	AtomicCmpXchg = 0xf1
)

// Values of Src in a 64-bit immediate load and in a call (RFC 9669, 5.4 and 4.3.1).
const (
	PseudoMapFD    = 1
	PseudoMapValue = 2
	PseudoFunc     = 4
	PseudoCall     = 1
	PseudoKfunc    = 2
)

// OpLoadImm64 is the opcode of the two-slot 64-bit immediate load.
const OpLoadImm64 = ClassLD | ModeImm | SizeDW

// OpCallInsn and OpExitInsn are whole opcodes.
const (
	OpCallInsn = ClassJMP | OpCall
	OpExitInsn = ClassJMP | OpExit
)

// Registers.
const (
	R0  = 0
	R1  = 1
	R6  = 6
	R10 = 10
)

// StackSize is the most stack a chain of calls may use, in bytes (MAX_BPF_STACK).
const StackSize = 512

// MaxTailCalls is how many tail calls one run of a filter makes; the next one
// fails (MAX_TAIL_CALL_CNT).
const MaxTailCalls = 33

// MaxCallFrames is the deepest chain of functions (MAX_CALL_FRAMES).
const MaxCallFrames = 8

// Class is the instruction class of in.
func (in Insn) Class() uint8 { return in.Op & ClassMask }

// Width is the number of bytes a load or store touches.
func (in Insn) Width() int {
	switch in.Op & SizeMask {
	case SizeW:
		return 4
	case SizeH:
		return 2
	case SizeB:
		return 1
	}
	return 8
}

// IsLoadImm64 tells whether in is the first slot of a two-slot load.
func (in Insn) IsLoadImm64() bool { return in.Op == OpLoadImm64 }
