// Package prefilter turns a stack of split filters, the guards and what is to
// be observed into the classic BPF program that stands before the supervisor.
//
// The verdict of every call that no filter of the stack needs state for is
// computed here and becomes part of that program; the others become
// notifications, or stops of a tracer. Soundness: a leaf is static only where every
// tree of the stack says so, the join is the kernel's own over stacked filters, and
// guards and observation replace a verdict by a stricter one or by a question, never
// by a laxer one. The exceptions are the launch, which a secret marks, and what the
// tracer makes a target call, which comes from where no target can call.
package prefilter

import (
	"fmt"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/cbpf"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Observe says which decisions the supervisor must see.
type Observe uint8

// What is observed. Guards decide in the kernel whatever is observed, and so do
// static verdicts on a call that a guard denies.
const (
	// ObserveNone leaves every static verdict to the kernel.
	ObserveNone Observe = iota
	// ObserveDenials makes notifications of the static verdicts other than
	// ALLOW and LOG, so that the supervisor can report and then enforce them.
	// TRAP, TRACE and KILL_THREAD stay in the kernel: a supervisor cannot
	// deliver them.
	ObserveDenials
	// ObserveAll does the same for ALLOW and LOG, but for calls that nothing may
	// interrupt: rt_sigreturn, exit and exit_group.
	ObserveAll
	// ObservePermissive makes notifications of all denials, for a supervisor
	// that reports them and lets the call go on.
	ObservePermissive
)

// Slots says where the copies of pinned arguments are, and what keeps a target from
// changing them.
type Slots uint8

const (
	// SlotsSealed are anywhere: the kernel seals them.
	SlotsSealed Slots = iota
	// SlotsGuarded are below SlotsEnd, for kernels that have no mseal: GuardSlots
	// keeps calls that map memory away from there.
	SlotsGuarded
)

// SlotsEnd is the first address above what GuardSlots protects.
const SlotsEnd = 0x400000

// Options shape a prefilter.
type Options struct {
	// Lift names guards to leave out; only those that Guards says can be.
	Lift []Guard
	// Observe says which static verdicts become notifications.
	Observe Observe
	// Token, if not 0, exempts every execveat with this value in its unused
	// sixth argument. It must be random and known to the launcher alone.
	Token uint64
	// Slots says where copies of arguments are, if the stack is traced.
	Slots Slots
}

// Leaf is what happens to a call, and who decided it. Leaves can be compared.
type Leaf struct {
	// Kind says whether the kernel decides, or whom it asks.
	Kind split.Kind
	// Verdict is what the kernel does, if Static; what it would do if the leaf
	// were not observed, if Observed; else 0.
	Verdict abi.Verdict
	// Guard decided, unless it is empty.
	Guard Guard
	// Filter is the index into the stack of the filter that decided: the
	// strictest, or the first that has to be asked. -1 if none did.
	Filter int
	// Program is the name of that filter.
	Program string
	// Observed tells that only observation makes this a notification.
	Observed bool
	// Why says why that filter cannot decide statically; zero if it can.
	Why split.Reason
}

// Decision is tests of a call's data, with leaves below them. Equal ones of one
// prefilter are the same.
type Decision struct {
	// Leaf is what happens to the call if Then is nil.
	Leaf Leaf
	// Test chooses between Then, if it holds, and Else.
	Test       split.Test
	Then, Else *Decision
}

// Range is a run of system-call numbers that are decided alike, both ends
// included.
type Range struct {
	From, To uint32
	// Leaf is what happens to these calls; where there is a Decision, the dearest
	// and then strictest of its leaves.
	Leaf Leaf
	// Decision is how their arguments decide, nil if they do not matter.
	Decision *Decision
}

// Prefilter is the classic BPF half of an installation.
type Prefilter struct {
	program cbpf.Program
	dynamic bool
	traced  bool
	guards  []Guard
	// x86 and i386 cover all numbers, in ascending order.
	x86, i386 []Range
}

// Program is what to install.
func (p *Prefilter) Program() cbpf.Program { return p.program }

// Dynamic tells whether any call is asked of a supervisor.
func (p *Prefilter) Dynamic() bool { return p.dynamic }

// Traced tells whether the supervisor must trace the target: to decide calls, or to
// see it fork. Without a tracer a trace leaf fails with ENOSYS.
func (p *Prefilter) Traced() bool { return p.traced }

// Guards are those that apply, in the order of the table. The caller owns the slice.
func (p *Prefilter) Guards() []Guard { return append([]Guard(nil), p.guards...) }

// Ranges covers all 2^32 numbers of arch in ascending order; neighbours differ.
// The caller owns the slice.
func (p *Prefilter) Ranges(arch abi.Arch) []Range {
	return append([]Range(nil), p.ranges(arch)...)
}

func (p *Prefilter) ranges(arch abi.Arch) []Range {
	switch arch {
	case abi.ArchX86_64:
		return p.x86
	case abi.ArchI386:
		return p.i386
	}
	return []Range{{To: ^uint32(0), Leaf: guardLeaf(GuardArch)}}
}

// Find is the range of call nr of arch, with nr alone in it.
func (p *Prefilter) Find(arch abi.Arch, nr uint32) Range {
	rs := p.ranges(arch)
	i := sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })
	if i == len(rs) {
		return Range{From: nr, To: nr, Leaf: guardLeaf(GuardArch)} // the zero Prefilter
	}
	return Range{From: nr, To: nr, Leaf: rs[i].Leaf, Decision: rs[i].Decision}
}

// Leaf is what happens to call nr of arch whatever its arguments are, or what may:
// see Range.
func (p *Prefilter) Leaf(arch abi.Arch, nr uint32) Leaf { return p.Find(arch, nr).Leaf }

// Decide is the leaf of one call with its arguments.
func (p *Prefilter) Decide(d *abi.SeccompData) Leaf {
	r := p.Find(d.Arch, uint32(d.Nr))
	if r.Decision == nil {
		return r.Leaf
	}
	at := r.Decision
	for at.Then != nil {
		if at.Test.Holds(d) {
			at = at.Then
		} else {
			at = at.Else
		}
	}
	return at.Leaf
}

// Recheck runs the program on d. A supervisor calls it for every notification,
// because it trusts nothing that it is told.
func (p *Prefilter) Recheck(d *abi.SeccompData) abi.Verdict { return p.program.Run(d) }

// Error is why a stack has no prefilter.
type Error struct {
	// Program is the filter at fault; empty if none is.
	Program string
	// Call names the system call, with its number; empty if none is at fault.
	Call string
	Arch abi.Arch
	// Insn and Line are the instruction at fault; -1 and zero if none is.
	Insn int
	Line prog.Line
	// Reason is what was found, Remedy what to do about it.
	Reason, Remedy string
	// Err is the cause, if another package found it.
	Err error
}

// Error is one line.
func (e *Error) Error() string {
	s := "prefilter"
	if e.Program != "" {
		s = "filter " + e.Program
	}
	if e.Call != "" {
		s += ": " + e.Call
	}
	if e.Insn >= 0 {
		s += fmt.Sprintf(": instruction %d", e.Insn)
	}
	if e.Line.File != "" {
		s += " (" + e.Line.String() + ")"
	}
	return s + ": " + e.Reason + ": " + e.Remedy
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// callName names call nr of arch for a message.
func callName(arch abi.Arch, nr uint32) string {
	if arch == abi.ArchX86_64 {
		if name, ok := syscalls.Name(nr); ok {
			return fmt.Sprintf("%s (%d)", name, nr)
		}
	}
	return fmt.Sprintf("%s call %d", arch, nr)
}
