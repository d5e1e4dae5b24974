package interp

import (
	"fmt"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// LowerError says which instruction the interpreter has no meaning for. A
// verified program has none such.
type LowerError struct {
	Program string
	Insn    int
	Found   string
}

// Error is one line.
func (e *LowerError) Error() string {
	return fmt.Sprintf("program %s, instruction %d: %s: expected an instruction of RFC 9669 that a filter may use",
		e.Program, e.Insn, e.Found)
}

// lowering turns a program into the machine's code in passes.
type lowering struct {
	p    *prog.Program
	code []insn
	pcs  []int32 // slot of the program that each instruction came from
	at   []int32 // the inverse; -1 for the second half of a 64-bit immediate
}

// lower translates p. It relies on no property of p: whatever is not a sound
// instruction with a sound target is refused.
func lower(p *prog.Program) (*lowering, error) {
	l := &lowering{p: p, at: make([]int32, len(p.Insns))}
	for _, pass := range []func() error{l.translate, l.link, l.explain} {
		if err := pass(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lowering) fail(pc int, format string, args ...any) error {
	return &LowerError{Program: l.p.Name, Insn: pc, Found: fmt.Sprintf(format, args...)}
}

// translate gives every instruction its opcode. Jumps keep the slot of the
// program that they go to until link.
func (l *lowering) translate() error {
	for pc := 0; pc < len(l.p.Insns); pc++ {
		in := l.p.Insns[pc]
		if in.Dst > prog.R10 || in.Src > prog.R10 {
			return l.fail(pc, "register r%d or r%d", in.Dst, in.Src)
		}
		l.at[pc] = int32(len(l.code))
		out, ok := l.one(pc, in)
		if !ok {
			return l.fail(pc, "opcode %#02x, src %d, off %d, imm %d", in.Op, in.Src, in.Off, in.Imm)
		}
		l.code, l.pcs = append(l.code, out), append(l.pcs, int32(pc))
		if in.IsLoadImm64() {
			pc++
			l.at[pc] = -1
		}
	}
	// The end of the code is a place like any other, and a fault.
	l.code, l.pcs = append(l.code, pack(opIllegal, 0, 0, 0, 0)), append(l.pcs, int32(len(l.p.Insns)))
	return nil
}

func (l *lowering) one(pc int, in prog.Insn) (insn, bool) {
	switch in.Class() {
	case prog.ClassALU, prog.ClassALU64:
		return lowerALU(in)
	case prog.ClassJMP, prog.ClassJMP32:
		return lowerJump(pc, in)
	case prog.ClassLDX:
		return lowerLoad(in)
	case prog.ClassST, prog.ClassSTX:
		return lowerStore(in)
	}
	return l.loadImm64(pc, in)
}

// loadImm64 resolves maps to handles and values to addresses.
func (l *lowering) loadImm64(pc int, in prog.Insn) (insn, bool) {
	if !in.IsLoadImm64() || pc+1 >= len(l.p.Insns) {
		return insn{}, false
	}
	next := l.p.Insns[pc+1]
	imm, ok := uint64(uint32(in.Imm))|uint64(next.Imm)<<32, next.Op == 0
	switch in.Src {
	case 0:
	case prog.PseudoMapFD:
		ok = ok && in.Imm >= 0 && int(in.Imm) < len(l.p.Maps)
		imm = handle(int(in.Imm))
	case prog.PseudoMapValue:
		ok = ok && in.Imm >= 0 && int(in.Imm) < len(l.p.Maps)
		imm = address(regionMaps+int(in.Imm), uint32(next.Imm))
	default:
		return insn{}, false
	}
	return pack(movTo(in.Dst, opMov), in.Dst, regZero, 0, imm), ok
}

// movTo selects the variant of a move that is remembered as the source of the
// verdict.
func movTo(dst uint8, op opcode) opcode {
	switch {
	case dst == prog.R0 && op == opMov:
		return opMovRet
	case dst == prog.R0 && op == opMov32:
		return opMovRet32
	}
	return op
}

// operand is the register and the immediate whose sum is the second operand.
func operand(in prog.Insn) (src uint8, imm uint64) {
	if in.Op&prog.SrcMask == prog.SrcX {
		return in.Src, 0
	}
	return regZero, uint64(int64(in.Imm))
}

func lowerALU(in prog.Insn) (insn, bool) {
	if in.Op&prog.OpMask == prog.OpEnd {
		return lowerEndian(in)
	}
	op, narrow, ok := arithmetic(in.Op&prog.OpMask, in.Off)
	if in.Class() == prog.ClassALU {
		op = narrow
	}
	if op == opNone || in.Off > 1 && in.Op&prog.SrcMask != prog.SrcX {
		ok = false
	}
	src, imm := operand(in)
	return pack(movTo(in.Dst, op), in.Dst, src, 0, imm), ok
}

// opNone stands where an operation has no form of a width.
const opNone = opIllegal

// arithmetic is an operation's opcode for 64 and for 32 bits. The offset
// selects the variant: signed division, a move that extends the sign.
func arithmetic(op uint8, off int16) (wide, narrow opcode, ok bool) {
	switch off {
	case 0:
		wide, narrow = unsigned(op)
	case 1:
		wide, narrow = signed(op)
	default:
		wide, narrow = extending(op, off)
	}
	return wide, narrow, wide != opNone
}

func unsigned(op uint8) (wide, narrow opcode) {
	switch op {
	case prog.OpMov:
		return opMov, opMov32
	case prog.OpAdd:
		return opAdd, opAdd32
	case prog.OpSub:
		return opSub, opSub32
	case prog.OpMul:
		return opMul, opMul32
	case prog.OpDiv:
		return opDiv, opDiv32
	case prog.OpMod:
		return opMod, opMod32
	case prog.OpOr:
		return opOr, opOr32
	case prog.OpAnd:
		return opAnd, opAnd32
	case prog.OpXor:
		return opXor, opXor32
	case prog.OpLsh:
		return opLsh, opLsh32
	case prog.OpRsh:
		return opRsh, opRsh32
	case prog.OpArsh:
		return opArsh, opArsh32
	case prog.OpNeg:
		return opNeg, opNeg32
	}
	return opNone, opNone
}

func signed(op uint8) (wide, narrow opcode) {
	switch op {
	case prog.OpDiv:
		return opSdiv, opSdiv32
	case prog.OpMod:
		return opSmod, opSmod32
	}
	return opNone, opNone
}

func extending(op uint8, bits int16) (wide, narrow opcode) {
	switch {
	case op != prog.OpMov:
	case bits == 8:
		return opMovsx8, opMovsx8w
	case bits == 16:
		return opMovsx16, opMovsx16w
	case bits == 32:
		return opMovsx32, opNone
	}
	return opNone, opNone
}

// lowerEndian relies on filters being little-endian: conversion to that order
// is truncation, conversion to the other and bswap are the same.
func lowerEndian(in prog.Insn) (insn, bool) {
	swaps := in.Class() == prog.ClassALU64 || in.Op&prog.SrcMask == prog.SrcX
	if in.Off != 0 || in.Class() == prog.ClassALU64 && in.Op&prog.SrcMask != 0 {
		return insn{}, false
	}
	op, ok := truncation(in.Imm)
	if swaps {
		op, ok = swap(in.Imm)
	}
	return pack(op, in.Dst, in.Dst, 0, 0), ok
}

func truncation(bits int32) (opcode, bool) {
	switch bits {
	case 16:
		return opZext16, true
	case 32:
		return opMov32, true
	}
	return opMov, bits == 64
}

func swap(bits int32) (opcode, bool) {
	switch bits {
	case 16:
		return opSwap16, true
	case 32:
		return opSwap32, true
	}
	return opSwap64, bits == 64
}

// condition is the opcode of a conditional jump on 64 bits.
func condition(op uint8) (opcode, bool) {
	switch op {
	case prog.OpJeq:
		return opJeq, true
	case prog.OpJne:
		return opJne, true
	case prog.OpJgt:
		return opJgt, true
	case prog.OpJge:
		return opJge, true
	case prog.OpJlt:
		return opJlt, true
	case prog.OpJle:
		return opJle, true
	case prog.OpJset:
		return opJset, true
	case prog.OpJsgt:
		return opJsgt, true
	case prog.OpJsge:
		return opJsge, true
	case prog.OpJslt:
		return opJslt, true
	case prog.OpJsle:
		return opJsle, true
	}
	return opIllegal, false
}

func lowerJump(pc int, in prog.Insn) (insn, bool) {
	target := int32(pc + 1 + int(in.Off))
	switch in.Op {
	case prog.ClassJMP | prog.OpJa:
		return pack(opJa, 0, regZero, target, 0), true
	case prog.ClassJMP32 | prog.OpJa: // gotol
		far := int64(pc) + 1 + int64(in.Imm)
		return pack(opJa, 0, regZero, int32(far), 0), far == int64(int32(far))
	case prog.OpExitInsn:
		return pack(opExit, 0, regZero, -1, 0), true
	case prog.OpCallInsn:
		return lowerCall(pc, in)
	}
	op, ok := condition(in.Op & prog.OpMask)
	if in.Class() == prog.ClassJMP32 {
		op += opJeq32 - opJeq
	}
	src, imm := operand(in)
	return pack(op, in.Dst, src, target, imm), ok
}

func lowerCall(pc int, in prog.Insn) (insn, bool) {
	switch in.Src {
	case 0:
		_, ok := helper.Lookup(helper.ID(in.Imm))
		if helper.ID(in.Imm) == helper.MapLookupElem {
			return pack(opLookup, 0, regZero, in.Imm, 0), ok
		}
		return pack(opHelper, 0, regZero, in.Imm, 0), ok
	case prog.PseudoCall:
		far := int64(pc) + 1 + int64(in.Imm)
		return pack(opCall, 0, regZero, int32(far), 0), far == int64(int32(far))
	}
	return insn{}, false
}

func lowerLoad(in prog.Insn) (insn, bool) {
	ops := map[int]opcode{1: opLd8, 2: opLd16, 4: opLd32, 8: opLd64}
	switch in.Op & prog.ModeMask {
	case prog.ModeMem:
	case prog.ModeMemSX:
		ops = map[int]opcode{1: opLdsx8, 2: opLdsx16, 4: opLdsx32}
	default:
		return insn{}, false
	}
	op, ok := ops[in.Width()]
	return pack(op, in.Dst, in.Src, 0, uint64(int64(in.Off))), ok
}

func lowerStore(in prog.Insn) (insn, bool) {
	switch {
	case in.Op&prog.ModeMask == prog.ModeAtomic && in.Class() == prog.ClassSTX:
		return lowerAtomic(in)
	case in.Op&prog.ModeMask != prog.ModeMem:
		return insn{}, false
	}
	op := map[int]opcode{1: opSt8, 2: opSt16, 4: opSt32, 8: opSt64}[in.Width()]
	if in.Class() == prog.ClassST {
		return pack(op, in.Dst, regZero, int32(in.Off), uint64(int64(in.Imm))), true
	}
	return pack(op, in.Dst, in.Src, int32(in.Off), 0), true
}

func lowerAtomic(in prog.Insn) (insn, bool) {
	known := false
	switch in.Imm &^ prog.AtomicFetch {
	case prog.AtomicAdd, prog.AtomicOr, prog.AtomicAnd, prog.AtomicXor:
		known = true
	}
	known = known || in.Imm == prog.AtomicXchg || in.Imm == prog.AtomicCmpXchg
	op, ok := map[int]opcode{4: opAtomic32, 8: opAtomic64}[in.Width()]
	return pack(op, in.Dst, in.Src, int32(uint32(uint16(in.Off))|uint32(in.Imm)<<16), 0), ok && known
}

// link resolves targets from slots of the program to places in the code.
func (l *lowering) link() error {
	for i, in := range l.code {
		if !in.isJump() && in.op() != opCall {
			continue
		}
		to := in.off()
		if to < 0 || int(to) >= len(l.at) || l.at[to] < 0 {
			return l.fail(int(l.pcs[i]), "a jump or call to %d", to)
		}
		l.code[i] = in.withTarget(l.at[to], int32(i))
	}
	return nil
}

// explain looks, for each exit, for the instruction that gives R0 its value
// on every way there: the last one that writes it since the ways met. Where
// they meet later, the exit keeps -1 and the machine reports what it saw last.
func (l *lowering) explain() error {
	targets := make([]bool, len(l.code))
	for _, in := range l.code {
		if in.isJump() || in.op() == opCall {
			targets[in.off()] = true
		}
	}
	for i, in := range l.code {
		if in.op() == opExit {
			l.code[i] = pack(opExit, 0, regZero, l.source(i, targets), 0)
		}
	}
	return nil
}

func (l *lowering) source(exit int, targets []bool) int32 {
	for i := exit; i > 0 && !targets[i]; {
		i--
		in := l.code[i]
		switch {
		case in.isJump() || in.op() == opExit || in.op() == opCall:
			return -1
		case writesR0(in):
			return int32(i)
		}
	}
	return -1
}

func writesR0(in insn) bool {
	switch op := in.op(); {
	case op == opLookup || op == opHelper:
		return true
	case op == opAtomic32 || op == opAtomic64:
		kind := uint32(in.off()) >> 16
		return kind == prog.AtomicCmpXchg || kind&prog.AtomicFetch != 0 && in.src() == prog.R0
	case op >= opSt8 && op <= opSt64:
		return false
	}
	return in.dst() == prog.R0 && in.op() != opIllegal
}
