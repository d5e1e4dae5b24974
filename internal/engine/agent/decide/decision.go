// Package decide turns a call that the kernel asks about into a decision: it
// runs every filter of an installation, one call after another, and reports.
package decide

import "portcullis/internal/abi"

// Decision is what is done with a call. It is one of a closed set, made only by
// the functions here; its zero value kills.
type Decision struct {
	act   Act
	errno uint16
}

// Act is the sort of a decision.
type Act uint8

// The sorts of decisions. A notification can carry out the first three; the others
// are made for traced calls alone.
const (
	ActKill       Act = iota // the caller's process ends
	ActErrno                 // the call returns an error without being made
	ActContinue              // the call is made
	ActPinned                // the call is made with what the caller pinned
	ActKillThread            // the caller's thread ends
	ActTrap                  // the caller gets SIGSYS instead
)

// Errno fails the call with e; with 0 it returns 0 without being made, as the
// kernel does for SECCOMP_RET_ERRNO.
func Errno(e uint16) Decision { return Decision{ActErrno, e} }

// Kill ends the caller's process.
func Kill() Decision { return Decision{} }

// Continue makes the call. Without a proof that what was decided on is what the
// kernel will use, it kills.
func Continue(p Proof) Decision {
	if !p.registers {
		return Kill()
	}
	return Decision{act: ActContinue}
}

// Pinned makes the call, with the registers of the arguments that were read
// redirected to what was read. Without a proof that there is such a copy, it kills.
func Pinned(p Proof) Decision {
	if !p.pinned {
		return Kill()
	}
	return Decision{act: ActPinned}
}

// Proof says why a decision cannot be outdated by the time the call is made: it
// rests on registers, which the kernel holds fixed while the caller waits, and on
// state of the installation, or also on memory that was pinned. Memory that is read
// by probe_read_user promises nothing. Only this package makes one.
type Proof struct{ registers, pinned bool }

// Act is the sort of d.
func (d Decision) Act() Act { return d.act }

// Errno is the error of an ActErrno decision.
func (d Decision) Errno() uint16 { return d.errno }

// Data is the si_errno of an ActTrap decision.
func (d Decision) Data() uint16 { return d.errno }

// decision enforces a verdict on a call. What a notification cannot carry out
// kills: the prefilter makes a trace leaf of what could return it.
func (c *Call) decision(v abi.Verdict) Decision {
	v = v.Effective()
	switch v.Action() {
	case abi.Allow, abi.Log:
		return c.proceed()
	case abi.ErrnoAction:
		return Errno(v.Data())
	case abi.UserNotif: // no other listener: as the kernel without one
		return Errno(enosys)
	}
	if c.Pins == nil {
		return Kill()
	}
	switch v.Action() {
	case abi.Trace: // no other tracer: as the kernel without one
		return Errno(enosys)
	case abi.Trap:
		return Decision{ActTrap, v.Data()}
	case abi.KillThread:
		return Decision{act: ActKillThread}
	}
	return Kill()
}

// proceed makes the call, pinned if anything of it was.
func (c *Call) proceed() Decision {
	if c.Pins != nil && !c.Pins.Empty() {
		return Pinned(Proof{registers: true, pinned: true})
	}
	return Continue(Proof{registers: true})
}

// enosys is ENOSYS.
const enosys = 38
