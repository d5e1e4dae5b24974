package interp

import (
	"fmt"

	"portcullis/internal/prog"
)

// Fault says that a program did what a verified program cannot do. The call
// that it was asked about must not go on.
type Fault struct {
	Program string
	Insn    int
	Line    prog.Line
	Reason  string
}

// Error is one line.
func (f *Fault) Error() string {
	where := fmt.Sprintf("program %s, instruction %d", f.Program, f.Insn)
	if l := f.Line.String(); l != "" {
		where += " (" + l + ")"
	}
	return where + ": " + f.Reason + ": the caller is killed; this is a defect of the verifier or of the engine"
}

// faultKind is why a run ended early; faultNone leaves it to the opcode.
type faultKind uint8

const (
	faultNone faultKind = iota
	faultBudget
	faultMap
	faultMemory
	faultReadOnly
	faultRecord
	faultEngine
)

// reason words the fault at an instruction of the code.
func (m *Machine) reason(at int) string {
	switch m.fault {
	case faultBudget:
		return fmt.Sprintf("more than %d backward jumps and calls", stepBudget)
	case faultMap:
		return "the argument is no map of the type this helper takes"
	case faultMemory:
		return "an argument points outside memory"
	case faultReadOnly:
		return "the map is read-only"
	case faultRecord:
		return "the argument is no reserved record"
	case faultEngine:
		return "the helper is not supported by this engine"
	}
	switch op := m.code[at].op(); {
	case op == opIllegal:
		return "the program runs past its end"
	case op == opCall:
		return fmt.Sprintf("more than %d nested calls", prog.MaxCallFrames)
	}
	return "an address outside memory"
}
