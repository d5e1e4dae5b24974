//go:build linux && amd64

package shadow

import (
	"fmt"
	"syscall"

	"portcullis/internal/sys"
)

// PlaceError is a stop at which no call can be injected. Nothing was changed.
type PlaceError struct {
	Tid   int
	Found string
}

// Error is one line.
func (e *PlaceError) Error() string {
	return fmt.Sprintf("thread %d %s: calls can be injected where a call of x86-64's own is entered or left", e.Tid, e.Found)
}

// TraceError is a request to the kernel that failed for a thread that is there.
type TraceError struct {
	Tid int
	Op  string
	Err error
}

// Error is one line.
func (e *TraceError) Error() string { return fmt.Sprintf("thread %d: %s: %v", e.Tid, e.Op, e.Err) }

// Unwrap is the errno.
func (e *TraceError) Unwrap() error { return e.Err }

// CallError is an injected call that failed. The thread is as it was found, but
// for what Left names.
type CallError struct {
	Tid  int
	Call string
	Err  error
	Left string // what could not be undone; "" for nothing
}

// Error is one line, with a remedy where the errno suggests one.
func (e *CallError) Error() string {
	text := fmt.Sprintf("mapping shadow memory into thread %d: %s: %v", e.Tid, e.Call, e.Err)
	switch {
	case e.Call == nameMap && e.Err == syscall.EEXIST:
		text += ": the target has something else there"
	case e.Call == nameRequest && e.Err == syscall.EMFILE:
		text += ": the target has as many descriptors open as it may"
	case e.Err == syscall.EPERM, e.Err == syscall.ENOSYS, e.Err == errUnanswered:
		text += ": a filter of the target's own seems to deny it"
	}
	return text + left(e.Left)
}

// Unwrap is the errno.
func (e *CallError) Unwrap() error { return e.Err }

// errUnanswered is a result that the call cannot have.
const errUnanswered = constError("it returned what it cannot return")

type constError string

func (e constError) Error() string { return string(e) }

// TamperError is calls that all seemed to succeed and left something else than
// shadow memory behind: the target interfered.
type TamperError struct {
	Tid  int
	At   uint64
	Want string
	Have string // a line or flags of smaps, "" for no mapping
	Left string // what could not be undone; "" for nothing
}

// Error is one line.
func (e *TamperError) Error() string {
	return fmt.Sprintf("thread %d at %#x: expected shadow memory (%s), found %q: the target interfered%s",
		e.Tid, e.At, e.Want, e.Have, left(e.Left))
}

func left(what string) string {
	if what == "" {
		return ""
	}
	return " (" + what + " is left behind)"
}

// GoneError is a thread that ended, or that another one took the place of at an ExecStop.
type GoneError struct{ Stop sys.Stop }

// Error is one line.
func (e *GoneError) Error() string {
	return fmt.Sprintf("thread %d ended while shadow memory was mapped (%v)", e.Stop.Tid, e.Stop.Kind)
}

// StrayError is a stop that the thread could not come to by the call it was found
// in: other code runs where that was. The thread goes on with its own registers
// and signals; a descriptor or mapping may be left behind.
type StrayError struct{ Stop sys.Stop }

// Error is one line.
func (e *StrayError) Error() string {
	return fmt.Sprintf("thread %d does something else (%v) than the call it was stopped in: its code was overwritten", e.Stop.Tid, e.Stop.Kind)
}

// SizeError is bytes that a slot has no room for, or a slot that is not there.
type SizeError struct{ Slot, Slots, Bytes int }

// Error is one line.
func (e *SizeError) Error() string {
	return fmt.Sprintf("%d bytes in slot %d: expected at most %d in one of %d", e.Bytes, e.Slot, SlotSize, e.Slots)
}
