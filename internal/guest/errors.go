package guest

import (
	"fmt"
	"strings"
	"syscall"
)

// NeedError says what this host lacks to boot a guest; tests skip on it.
type NeedError struct {
	Need  string // what is needed, with how to get it
	Cause error
}

func (e *NeedError) Error() string {
	if e.Cause == nil {
		return "needs " + e.Need
	}
	return fmt.Sprintf("needs %s: %v", e.Need, e.Cause)
}

// Unwrap returns the cause, which may be nil.
func (e *NeedError) Unwrap() error { return e.Cause }

// ExitError says that the command ran and did not end with status 0.
type ExitError struct {
	Code   int            // exit status; -1 after a signal
	Signal syscall.Signal // the signal that ended it, or 0
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("guest: signal: %v", e.Signal)
	}
	return fmt.Sprintf("guest: exit status %d", e.Code)
}

// ExitCode is the status as a shell gives it: the code, or 128 and the signal.
func (e *ExitError) ExitCode() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// StartError says that the guest is up but the command could not be started.
type StartError struct {
	Path   string
	Reason string        // the guest's own words
	Errno  syscall.Errno // 0 where the guest had none
}

func (e *StartError) Error() string { return fmt.Sprintf("guest: start %s: %s", e.Path, e.Reason) }

// Unwrap returns the errno, so that errors.Is(err, fs.ErrNotExist) holds.
func (e *StartError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Fault is how a machine failed.
type Fault int

const (
	// BootFailed: the guest ended before its init was ready.
	BootFailed Fault = iota + 1
	// Panicked: the kernel panicked.
	Panicked
	// Died: the guest ended without a word before its command did.
	Died
	// TimedOut: the time limit passed.
	TimedOut
	// Cancelled: the context ended.
	Cancelled
)

// String is the fault as the end of a sentence about the guest.
func (f Fault) String() string {
	switch f {
	case BootFailed:
		return "did not boot"
	case Panicked:
		return "panicked"
	case Died:
		return "ended before its command"
	case TimedOut:
		return "did not end in time"
	case Cancelled:
		return "was cancelled"
	}
	return fmt.Sprintf("fault %d", int(f))
}

// MachineError says that the guest itself failed. It is one line; %+v adds the
// console's last lines.
type MachineError struct {
	Fault   Fault
	Detail  string // the kernel's or init's own words, or QEMU's; may be empty
	Console []string
	Cause   error // the context's error, QEMU's exit; may be nil
}

func (e *MachineError) Error() string {
	s := "guest: the machine " + e.Fault.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	} else if n := len(e.Console); n > 0 {
		s += ": last line of the console: " + e.Console[n-1]
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause, which may be nil.
func (e *MachineError) Unwrap() error { return e.Cause }

// Format prints the one line, and for %+v the console's last lines after it.
func (e *MachineError) Format(s fmt.State, verb rune) {
	_, _ = s.Write([]byte(e.Error()))
	if verb == 'v' && s.Flag('+') && len(e.Console) > 0 {
		_, _ = s.Write([]byte("\n" + strings.Join(e.Console, "\n")))
	}
}
