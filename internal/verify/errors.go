package verify

import (
	"fmt"
	"strings"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Error says why a program is refused.
type Error struct {
	// Program is the program's name.
	Program string
	// Insn is the instruction, -1 if the program as a whole is meant.
	Insn int
	// Line is where the instruction comes from; zero if unknown.
	Line prog.Line
	// Asm is the instruction in the kernel verifier's notation.
	Asm string
	// Reason is what was expected and what was found.
	Reason string
	// State is the registers that matter, in the notation of the kernel's log.
	State string
	// Remedy is what to do about it.
	Remedy string
	// Err is the cause, or nil.
	Err error
}

// Error is one line: where, what, the registers, the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Program != "" {
		fmt.Fprintf(&b, "%s: ", e.Program)
	}
	if e.Insn >= 0 {
		fmt.Fprintf(&b, "instruction %d", e.Insn)
		if l := e.Line.String(); l != "" {
			fmt.Fprintf(&b, " (%s)", l)
		}
		if e.Asm != "" {
			fmt.Fprintf(&b, ", %s", e.Asm)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Reason)
	if e.State != "" {
		fmt.Fprintf(&b, " [%s]", e.State)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// at makes an Error about an instruction of p.
func at(p *prog.Program, pc int, reason, remedy string) *Error {
	e := &Error{Program: p.Name, Insn: pc, Reason: reason, Remedy: remedy, Line: p.LineOf(pc), Asm: p.Disasm(pc)}
	if pc < 0 || pc >= len(p.Insns) {
		return e
	}
	if in := p.Insns[pc]; in.Op == prog.OpCallInsn && in.Src == 0 {
		if sig, ok := helper.Lookup(helper.ID(in.Imm)); ok {
			e.Asm = fmt.Sprintf("call %s#%d", sig.Name, in.Imm)
		}
	}
	return e
}

// Warning is something about a safe program that its author should know.
type Warning struct {
	// Insn is the instruction it is about.
	Insn int
	// Line is where the instruction comes from; zero if unknown.
	Line prog.Line
	// Text says what may surprise, and what to do.
	Text string
}

// String is one line: where and what.
func (w Warning) String() string {
	if l := w.Line.String(); l != "" {
		return fmt.Sprintf("instruction %d (%s): %s", w.Insn, l, w.Text)
	}
	return fmt.Sprintf("instruction %d: %s", w.Insn, w.Text)
}

// warnings looks for what a filter's verdict should not rest on.
func warnings(p *prog.Program) []Warning {
	var ws []Warning
	add := func(pc int, format string, args ...any) {
		ws = append(ws, Warning{Insn: pc, Line: p.LineOf(pc), Text: fmt.Sprintf(format, args...)})
	}
	for pc, in := range p.Insns {
		switch {
		case in.IsLoadImm64() && in.Src == prog.PseudoMapFD:
			if m := p.Maps[in.Imm]; m.Type == prog.TaskStorage && m.Flags&prog.FlagClone == 0 {
				add(pc, "map %s starts zeroed in a forked child: a verdict that depends on it is escaped by fork; count in a global, or use BPF_F_CLONE", m.Name)
			}
		case in.Op != prog.OpCallInsn || in.Src != 0:
		case helper.ID(in.Imm) == helper.ProbeReadUser || helper.ID(in.Imm) == helper.ProbeReadUserStr:
			add(pc, "this read is not pinned: the call may consume other bytes; use it for observation, bpf_safe_read_user for a verdict")
		}
	}
	return ws
}
