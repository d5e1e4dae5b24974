package cbpf

import (
	"fmt"

	"portcullis/internal/abi"
)

// Program is a program that the kernel accepts as a seccomp filter. Only
// Validate and what builds on it make one; the zero Program kills the process.
type Program struct {
	insns []Insn
}

// Insns is a copy of the program's instructions.
func (p Program) Insns() []Insn { return append([]Insn(nil), p.insns...) }

// Len is the number of instructions.
func (p Program) Len() int { return len(p.insns) }

// Error is why the kernel, or the assembler, would refuse a program.
type Error struct {
	// Insn is the index of the instruction at fault, or -1 for the whole program.
	Insn int
	// Asm is that instruction, printed.
	Asm string
	// Reason is what was expected and what was found.
	Reason string
	// Remedy is what to do about it.
	Remedy string
}

// Error is one line.
func (e *Error) Error() string {
	if e.Insn < 0 {
		return fmt.Sprintf("classic BPF: %s: %s", e.Reason, e.Remedy)
	}
	return fmt.Sprintf("classic BPF: instruction %d (%s): %s: %s", e.Insn, e.Asm, e.Reason, e.Remedy)
}

// Validate accepts what seccomp(2) accepts, no more and no less:
// bpf_check_classic and check_load_and_stores in net/core/filter.c, then
// seccomp_check_filter in kernel/seccomp.c, of Linux 6.12. The error is *Error.
func Validate(insns []Insn) (Program, error) {
	for _, check := range []func([]Insn) *Error{checkLength, checkInsns, checkEnd, checkMemory} {
		if err := check(insns); err != nil {
			return Program{}, err
		}
	}
	return Program{append([]Insn(nil), insns...)}, nil
}

func refuse(insns []Insn, pc int, remedy, reason string, args ...interface{}) *Error {
	return &Error{Insn: pc, Asm: insns[pc].text(pc), Reason: fmt.Sprintf(reason, args...), Remedy: remedy}
}

func checkLength(insns []Insn) *Error {
	switch n := len(insns); {
	case n == 0:
		return &Error{Insn: -1, Reason: "no instructions", Remedy: "end the program with a ret"}
	case n > MaxInsns:
		return &Error{Insn: -1, Reason: fmt.Sprintf("%d instructions, the kernel takes %d", n, MaxInsns), Remedy: "shorten the program or split it in two filters"}
	}
	return nil
}

func checkInsns(insns []Insn) *Error {
	for pc := range insns {
		if err := checkInsn(insns, pc); err != nil {
			return err
		}
	}
	return nil
}

func checkInsn(insns []Insn, pc int) *Error {
	in := insns[pc]
	if !allowed(in.Op) {
		return refuse(insns, pc, "use the instructions of seccomp(2)", "opcode %#x is not allowed in a seccomp filter", in.Op)
	}
	left := uint32(len(insns) - pc - 1)
	switch {
	case in.Op == DivK && in.K == 0:
		return refuse(insns, pc, "divide by another constant", "division by a constant 0")
	case (in.Op == LshK || in.Op == RshK) && in.K >= 32:
		return refuse(insns, pc, "shift by 31 at most", "shift of a 32-bit register by %d", in.K)
	case in.usesMemory() && in.K >= MemWords:
		return refuse(insns, pc, "use cells 0 to 15", "scratch cell %d of %d", in.K, MemWords)
	case in.Op == Ja && in.K >= left:
		return refuse(insns, pc, "jump forward to an instruction", "jump over %d of the %d instructions that follow", in.K, left)
	case in.isCond() && (uint32(in.Jt) >= left || uint32(in.Jf) >= left):
		return refuse(insns, pc, "jump forward to an instruction", "jump over %d or %d of the %d instructions that follow", in.Jt, in.Jf, left)
	case in.Op == LdAbs && (in.K >= abi.DataSize || in.K%4 != 0):
		return refuse(insns, pc, "load a multiple of 4 below 64", "load at offset %d of struct seccomp_data", in.K)
	}
	return nil
}

func (in Insn) usesMemory() bool {
	return in.Op == LdMem || in.Op == LdxMem || in.Op == St || in.Op == Stx
}

func checkEnd(insns []Insn) *Error {
	last := len(insns) - 1
	if !insns[last].isRet() {
		return refuse(insns, last, "end the program with a ret", "the last instruction is not a ret")
	}
	return nil
}

// checkMemory refuses reads of scratch cells that some path leaves unset. Like
// the kernel it goes through the program once: after a jump every cell counts
// as set until a jump to here says otherwise, after a ret the cells stay as
// they were. Both make it stricter or laxer than a true data-flow analysis on
// dead code, and both must be kept to agree with the kernel.
func checkMemory(insns []Insn) *Error {
	at := make([]uint16, len(insns))
	for i := range at {
		at[i] = 0xffff
	}
	var valid uint16
	for pc, in := range insns {
		valid &= at[pc]
		switch {
		case in.Op == St || in.Op == Stx:
			valid |= 1 << in.K
		case in.usesMemory() && valid&(1<<in.K) == 0:
			return refuse(insns, pc, "store to the cell on every path to the load", "scratch cell %d may not have been stored to", in.K)
		case in.Op == Ja:
			at[pc+1+int(in.K)] &= valid
			valid = 0xffff
		case in.isCond():
			at[pc+1+int(in.Jt)] &= valid
			at[pc+1+int(in.Jf)] &= valid
			valid = 0xffff
		}
	}
	return nil
}
