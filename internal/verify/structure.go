package verify

import (
	"fmt"

	"portcullis/internal/absint"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// maxInsns bounds a program; well above what the default budget can visit.
const maxInsns = 1 << 16

// structure checks what can be checked without looking at values, and finds
// the functions of p.
func structure(p *prog.Program) ([]absint.Func, error) {
	if len(p.Insns) == 0 || len(p.Insns) > maxInsns {
		return nil, &Error{Program: p.Name, Insn: -1, Reason: fmt.Sprintf("a program of %d instructions: expected 1..%d", len(p.Insns), maxInsns)}
	}
	for _, f := range []func(*prog.Program) *Error{mapSpecs, encodings, callTargets} {
		if err := f(p); err != nil {
			return nil, err
		}
	}
	funcs := absint.Functions(p)
	for _, f := range []func(*prog.Program, []absint.Func) *Error{jumpTargets, ends, reachable, recursion} {
		if err := f(p, funcs); err != nil {
			return nil, err
		}
	}
	return funcs, nil
}

// MaxMaps bounds the maps of a program, as the kernel's MAX_USED_MAPS does.
const MaxMaps = 64

// maxValue bounds a map value, so that offsets into it never wrap.
const maxValue = 1 << 28

func mapSpecs(p *prog.Program) *Error {
	refuse := func(i int, format string, args ...any) *Error {
		name := fmt.Sprint(i)
		if p.Maps[i] != nil && p.Maps[i].Name != "" {
			name = p.Maps[i].Name
		}
		return &Error{Program: p.Name, Insn: -1, Reason: "map " + name + ": " + fmt.Sprintf(format, args...)}
	}
	if len(p.Maps) > MaxMaps {
		return &Error{
			Program: p.Name, Insn: -1, Reason: fmt.Sprintf("a program with %d maps: expected at most %d", len(p.Maps), MaxMaps),
			Remedy: "keep in one map what has the same type, or go on in another program by a tail call",
		}
	}
	for i, m := range p.Maps {
		switch {
		case m == nil:
			return refuse(i, "expected a description, found none")
		case m.Type.String() == prog.MapType(0).String():
			return refuse(i, "type %d is not one of the filter ABI's", uint32(m.Type))
		case m.KeySize > maxValue || m.ValueSize > maxValue:
			return refuse(i, "keys of %d and values of %d bytes: expected at most %d", m.KeySize, m.ValueSize, maxValue)
		case !tailsInOrder(m):
			return refuse(i, "its programs: expected them in ascending order of index, below %d", m.MaxEntries)
		case m.Frozen && uint32(len(m.Contents)) > m.ValueSize:
			return refuse(i, "contents of %d bytes in a value of %d", len(m.Contents), m.ValueSize)
		case m.SpinLock >= 0 && m.Contents == nil && (m.SpinLock%4 != 0 || m.SpinLock+4 > int(m.ValueSize)) && m.ValueSize > 0:
			return refuse(i, "a spin lock at offset %d of a value of %d bytes", m.SpinLock, m.ValueSize)
		}
	}
	return nil
}

func tailsInOrder(m *prog.Map) bool {
	for i, t := range m.Tails {
		if t.Program == nil || t.Index >= m.MaxEntries || i > 0 && t.Index <= m.Tails[i-1].Index {
			return false
		}
	}
	return true
}

// encodings checks every instruction by itself.
func encodings(p *prog.Program) *Error {
	for pc := 0; pc < len(p.Insns); pc++ {
		if reason, remedy := encoding(p, pc); reason != "" {
			return at(p, pc, reason, remedy)
		}
		if p.Insns[pc].IsLoadImm64() {
			pc++
		}
	}
	return nil
}

const (
	unknownOpcode = "unknown opcode"
	reserved      = "a reserved field is not zero"
)

func encoding(p *prog.Program, pc int) (reason, remedy string) {
	in := p.Insns[pc]
	if in.Dst > prog.R10 || in.Src > prog.R10 {
		return fmt.Sprintf("register R%d does not exist", max(in.Dst, in.Src)), ""
	}
	switch in.Class() {
	case prog.ClassALU, prog.ClassALU64:
		reason = encodingALU(in)
	case prog.ClassLD:
		return encodingImm64(p, pc)
	case prog.ClassLDX:
		reason = encodingLoad(in)
	case prog.ClassST, prog.ClassSTX:
		reason = encodingStore(in)
	default:
		return encodingJump(in)
	}
	if reason == "" && writesDst(in) && in.Dst == prog.R10 {
		return "the frame pointer is read-only", "copy R10 to another register"
	}
	return reason, ""
}

func writesDst(in prog.Insn) bool {
	c := in.Class()
	return c == prog.ClassALU || c == prog.ClassALU64 || c == prog.ClassLDX
}

func encodingALU(in prog.Insn) string {
	byReg := in.Op&prog.SrcMask == prog.SrcX
	switch op := in.Op & prog.OpMask; op {
	case prog.OpEnd:
		return encodingEnd(in)
	case prog.OpNeg:
		if byReg || in.Src != 0 || in.Off != 0 || in.Imm != 0 {
			return reserved
		}
		return ""
	case prog.OpMov:
		return encodingMov(in)
	case prog.OpDiv, prog.OpMod:
		if in.Off != 0 && in.Off != 1 {
			return reserved
		}
		if !byReg && in.Imm == 0 {
			return "division by the constant 0"
		}
	case prog.OpLsh, prog.OpRsh, prog.OpArsh:
		bits := int32(64)
		if in.Class() == prog.ClassALU {
			bits = 32
		}
		if !byReg && (in.Imm < 0 || in.Imm >= bits) {
			return fmt.Sprintf("a shift by %d of %d bits", in.Imm, bits)
		}
		if in.Off != 0 {
			return reserved
		}
	case prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpOr, prog.OpAnd, prog.OpXor:
		if in.Off != 0 {
			return reserved
		}
	default:
		return unknownOpcode
	}
	return operandFields(in)
}

// operandFields: an immediate operand leaves Src unused, a register Imm.
func operandFields(in prog.Insn) string {
	if in.Op&prog.SrcMask == prog.SrcX && in.Imm != 0 || in.Op&prog.SrcMask == prog.SrcK && in.Src != 0 {
		return reserved
	}
	return ""
}

func encodingEnd(in prog.Insn) string {
	switch {
	case in.Class() == prog.ClassALU64 && in.Op&prog.SrcMask == prog.SrcX:
		return unknownOpcode
	case in.Src != 0 || in.Off != 0:
		return reserved
	case in.Imm != 16 && in.Imm != 32 && in.Imm != 64:
		return fmt.Sprintf("a byte swap of %d bits: expected 16, 32 or 64", in.Imm)
	}
	return ""
}

func encodingMov(in prog.Insn) string {
	switch in.Off {
	case 0:
	case 8, 16, 32:
		if in.Op&prog.SrcMask == prog.SrcK || in.Off == 32 && in.Class() == prog.ClassALU {
			return reserved
		}
	default:
		return reserved
	}
	return operandFields(in)
}

func encodingImm64(p *prog.Program, pc int) (reason, remedy string) {
	in := p.Insns[pc]
	switch {
	case in.Op&prog.ModeMask == prog.ModeAbs || in.Op&prog.ModeMask == prog.ModeInd:
		return "legacy packet access", "read the context through R1"
	case !in.IsLoadImm64():
		return unknownOpcode, ""
	case pc+1 >= len(p.Insns):
		return "a 64-bit immediate load without its second half", ""
	case in.Dst == prog.R10:
		return "the frame pointer is read-only", "load into another register"
	}
	next := p.Insns[pc+1]
	if in.Off != 0 || next.Op != 0 || next.Dst != 0 || next.Src != 0 || next.Off != 0 {
		return reserved, ""
	}
	switch in.Src {
	case 0:
		return "", ""
	case prog.PseudoMapFD, prog.PseudoMapValue:
		if in.Imm < 0 || int(in.Imm) >= len(p.Maps) {
			return fmt.Sprintf("map %d does not exist: the program has %d", in.Imm, len(p.Maps)), ""
		}
		if in.Src == prog.PseudoMapFD && next.Imm != 0 {
			return reserved, ""
		}
		if in.Src == prog.PseudoMapValue {
			return encodingValue(p.Maps[in.Imm], uint32(next.Imm))
		}
		return "", ""
	case prog.PseudoFunc:
		return "the address of a function", "call it directly; helpers with callbacks are not in the filter ABI"
	}
	return fmt.Sprintf("a 64-bit immediate load of kind %d", in.Src), "load a number, a map or a global; kernel variables are not in the filter ABI"
}

// encodingValue: only the one element of an ARRAY has an address of its own.
func encodingValue(m *prog.Map, off uint32) (reason, remedy string) {
	if m.Type != prog.Array || m.MaxEntries != 1 {
		return fmt.Sprintf("the address of a value in map %s: expected an ARRAY of one element, found %s of %d", m.Name, m.Type, m.MaxEntries), "look the value up"
	}
	if off >= m.ValueSize {
		return fmt.Sprintf("offset %d is outside the value of map %s: expected less than %d", off, m.Name, m.ValueSize), ""
	}
	return "", ""
}

func encodingLoad(in prog.Insn) string {
	switch mode := in.Op & prog.ModeMask; {
	case mode == prog.ModeMem:
	case mode == prog.ModeMemSX && in.Op&prog.SizeMask != prog.SizeDW:
	default:
		return unknownOpcode
	}
	if in.Imm != 0 {
		return reserved
	}
	return ""
}

func encodingStore(in prog.Insn) string {
	switch mode := in.Op & prog.ModeMask; {
	case mode == prog.ModeAtomic && in.Class() == prog.ClassSTX:
		return encodingAtomic(in)
	case mode != prog.ModeMem:
		return unknownOpcode
	case in.Class() == prog.ClassST && in.Src != 0, in.Class() == prog.ClassSTX && in.Imm != 0:
		return reserved
	}
	return ""
}

func encodingAtomic(in prog.Insn) string {
	if w := in.Width(); w != 4 && w != 8 {
		return unknownOpcode
	}
	switch in.Imm {
	case prog.AtomicXchg, prog.AtomicCmpXchg,
		prog.AtomicAdd, prog.AtomicOr, prog.AtomicAnd, prog.AtomicXor,
		prog.AtomicAdd | prog.AtomicFetch, prog.AtomicOr | prog.AtomicFetch,
		prog.AtomicAnd | prog.AtomicFetch, prog.AtomicXor | prog.AtomicFetch:
	default:
		return fmt.Sprintf("unknown atomic operation %#x", in.Imm)
	}
	if in.Imm&prog.AtomicFetch != 0 && in.Imm != prog.AtomicCmpXchg && in.Src == prog.R10 {
		return "the frame pointer is read-only"
	}
	return ""
}

func encodingJump(in prog.Insn) (reason, remedy string) {
	wide := in.Class() == prog.ClassJMP
	byReg := in.Op&prog.SrcMask == prog.SrcX
	switch op := in.Op & prog.OpMask; op {
	case prog.OpJa:
		if byReg || in.Dst != 0 || in.Src != 0 || wide && in.Imm != 0 || !wide && in.Off != 0 {
			return reserved, ""
		}
		return "", ""
	case prog.OpExit, prog.OpCall:
		if !wide || byReg {
			return unknownOpcode, ""
		}
		if op == prog.OpExit {
			return encodingExit(in), ""
		}
		return encodingCall(in)
	case 0xe0, 0xf0:
		return unknownOpcode, ""
	}
	return operandFields(in), ""
}

func encodingExit(in prog.Insn) string {
	if in.Dst != 0 || in.Src != 0 || in.Off != 0 || in.Imm != 0 {
		return reserved
	}
	return ""
}

func encodingCall(in prog.Insn) (reason, remedy string) {
	if in.Dst != 0 || in.Off != 0 {
		return reserved, ""
	}
	switch in.Src {
	case prog.PseudoCall:
		return "", ""
	case 0:
		if _, ok := helper.Lookup(helper.ID(in.Imm)); !ok {
			return fmt.Sprintf("unknown helper %d", in.Imm), "call a helper of the filter ABI; include/portcullis.h lists them"
		}
		return "", ""
	case prog.PseudoKfunc:
		return "a call of a kernel function", "call a helper of the filter ABI; include/portcullis.h lists them"
	}
	return reserved, ""
}
