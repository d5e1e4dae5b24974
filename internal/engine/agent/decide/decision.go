// Package decide turns a call that the kernel asks about into a decision: it
// runs every filter of an installation, one call after another, and reports.
package decide

import "portcullis/internal/abi"

// Decision is what is done with a call. It is one of a closed set, made only by
// Errno, Kill and Continue; its zero value kills.
type Decision struct {
	act   Act
	errno uint16
}

// Act is the sort of a decision.
type Act uint8

// The sorts of decisions.
const (
	ActKill     Act = iota // SIGKILL to the caller's process
	ActErrno               // the call returns an error without being made
	ActContinue            // the call is made
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

// Proof says why a decision cannot be outdated by the time the call is made.
// The only one so far is that it rests on registers, which the kernel holds
// fixed while the caller waits, and on state of the installation: memory of the
// caller is read by probe_read_user alone, which promises nothing. Only this
// package makes one.
type Proof struct{ registers bool }

// Act is the sort of d.
func (d Decision) Act() Act { return d.act }

// Errno is the error of an ActErrno decision.
func (d Decision) Errno() uint16 { return d.errno }

// decision enforces a verdict of filters whose helpers were all of the kinds
// that a notification can answer. What an agent cannot deliver on one kills:
// the prefilter refuses stacks that could return it here.
func decision(v abi.Verdict) Decision {
	v = v.Effective()
	switch v.Action() {
	case abi.Allow, abi.Log:
		return Continue(Proof{registers: true})
	case abi.ErrnoAction:
		return Errno(v.Data())
	case abi.UserNotif: // no other listener: as the kernel without one
		return Errno(enosys)
	}
	return Kill()
}

// enosys is ENOSYS.
const enosys = 38
