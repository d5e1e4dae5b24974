package verify

import (
	"fmt"
	"strings"

	"portcullis/internal/absint"
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

// warnings says what a verdict should not rest on but may: values of sources
// that decide a test or are returned.
func warnings(p *prog.Program, decides map[absint.Origin]int) []Warning {
	var ws []Warning
	for _, w := range [...]struct {
		from absint.Origin
		text string
	}{
		{absint.FromUser, "a verdict may depend on memory that was read without being pinned: the call may consume other bytes; use bpf_safe_read_user"},
		{absint.FromStorage, "a verdict may depend on task storage that starts zeroed in a forked child: fork escapes it; count in a global, or give the map BPF_F_CLONE"},
	} {
		if pc, ok := decides[w.from]; ok {
			ws = append(ws, Warning{Insn: pc, Line: p.LineOf(pc), Text: w.text})
		}
	}
	return ws
}
