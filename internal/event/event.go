// Package event is the one schema in which an installation reports what it
// decided: what a decision is made of, how it is queued without holding up the
// decider, and how it is written and read again.
package event

import (
	"time"

	"portcullis/internal/abi"
)

// Kind says what an event reports.
type Kind string

// The kinds of events.
const (
	// KindVerdict is a call and what was decided about it.
	KindVerdict Kind = "verdict"
	// KindPrint is a line a filter printed with trace_printk, in Text.
	KindPrint Kind = "print"
	// KindRecord is what a filter put into a ring buffer, in Data and Record.
	// The records of one decision come before its verdict, filter by filter.
	KindRecord Kind = "record"
	// KindLost says that Lost events before this one were dropped; with Map, that
	// Lost records of this decision found no room in that ring buffer.
	KindLost Kind = "lost"
	// KindPermissive says that what filters deny from here on is reported, and let
	// through all the same. It comes before every verdict.
	KindPermissive Kind = "permissive"
)

// Leaf says which part of an installation decided a call.
type Leaf string

// The leaves of a prefilter, and the guards in front of them.
const (
	LeafStatic Leaf = "static"
	LeafNotify Leaf = "notify"
	LeafTrace  Leaf = "trace"
	LeafGuard  Leaf = "guard"
)

// Call is the system call an event is about.
type Call struct {
	Nr   int32
	Name string
	Arch abi.Arch
	Args [6]uint64
}

// CallOf describes d; name is "" where the number has none.
func CallOf(d *abi.SeccompData, name string) Call {
	return Call{Nr: d.Nr, Name: name, Arch: d.Arch, Args: d.Args}
}

// Event is one report. Fields that do not apply to its kind are zero.
type Event struct {
	Kind Kind
	Time time.Time
	// Filter is the hash of the filter that decided; "" for a guard.
	Filter string
	// Program is the filter's name, or the guard's; behind tail calls that of the
	// program that answered.
	Program string
	// Insn is the instruction that best explains the verdict, -1 if none does.
	Insn int
	// Line is its source line as "file:line"; Source is the text of that line.
	Line, Source string
	// Engine is "agent" or "kernel".
	Engine string
	Leaf   Leaf
	// Pid and Tid are the caller's process and thread in the supervisor's pid
	// namespace, 0 if not known.
	Pid, Tid int
	Comm     string
	Call     Call
	Verdict  abi.Verdict
	// Permitted tells that Verdict would have denied the call, which was let through
	// because the installation is permissive.
	Permitted bool
	// Map is the name of the ring buffer that Data was put into; Record is what
	// Data says, where the buffer's definition has a type.
	Map    string
	Data   []byte
	Record []Field
	// Text is what a filter printed, or a remark such as an evaluation's fault.
	Text string
	// Lost counts dropped events, or records, in an event of KindLost.
	Lost uint64
}

// Denies tells whether e reports a call that was not let through.
func (e *Event) Denies() bool {
	if e.Kind != KindVerdict || e.Permitted {
		return false
	}
	switch e.Verdict.Effective().Action() {
	case abi.Allow, abi.Log, abi.UserNotif, abi.Trace:
		return false
	}
	return true
}
