//go:build linux && amd64

package shadow

import (
	"fmt"
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// call is a system call to be made by a target's thread.
type call struct {
	nr   uint64
	args [6]uint64
}

// position is where a thread is in the circle of injected calls.
type position uint8

const (
	entering position = iota // on its way to the entry of a call, by way of user mode
	inside                   // in an injected call, on its way to the exit
)

// origin is where it was found.
type origin uint8

const (
	beforeCall origin = iota // which is yet to be made
	afterCall
)

// thread makes calls in a stopped thread, one after the other; package doc tells
// how. It leaves the thread's own registers in user and kernel as they were.
type thread struct {
	tid    int
	origin origin
	found  sys.Regs // as the thread was found
	user   sys.Regs // at the syscall instruction, about to make its call
	mask   uint64
	at     position
	call   call
	rejoin bool // it ran on through a stop
}

const allSignals = ^uint64(0)

// newThread looks at a thread that has come to a stop, and changes nothing.
func newThread(stop sys.Stop) (*thread, error) {
	t := &thread{tid: stop.Tid}
	info, err := sys.TraceCallInfo(t.tid)
	if err != nil {
		return nil, t.failed("PTRACE_GET_SYSCALL_INFO", err)
	}
	if info.Op == sys.CallNone && (stop.Kind == sys.SeccompStop || stop.Kind == sys.CallStop) {
		return nil, t.failed("PTRACE_GET_SYSCALL_INFO", syscall.ESRCH) // killed, and at no stop since
	}
	if t.origin, err = place(stop, &info); err != nil {
		return nil, err
	}
	if err := sys.TraceRegs(t.tid, &t.found); err != nil {
		return nil, t.failed("PTRACE_GETREGSET", err)
	}
	if t.mask, err = sys.TraceMask(t.tid); err != nil {
		return nil, t.failed("PTRACE_GETSIGMASK", err)
	}
	t.user = t.found
	t.user.Rip -= sys.SyscallSize
	t.user.Rax, t.user.OrigRax = t.found.OrigRax, sys.NoCall
	if t.origin == afterCall {
		t.user.Rax = abi.RequestCall // harmless, should it ever be made
	}
	return t, t.instruction()
}

// place is the origin that a stop means. A call by int 0x80 has another arch: there,
// the numbers that are injected would be those of other calls.
func place(stop sys.Stop, info *sys.CallInfo) (origin, error) {
	if abi.Arch(info.Arch) != abi.ArchX86_64 {
		return 0, &PlaceError{stop.Tid, fmt.Sprintf("is in a call of %v", abi.Arch(info.Arch))}
	}
	switch {
	case info.Op == sys.CallSeccomp, info.Op == sys.CallEntry:
		return beforeCall, nil
	case info.Op == sys.CallExit, stop.Kind == sys.TrapStop:
		return afterCall, nil
	}
	return 0, &PlaceError{stop.Tid, fmt.Sprintf("is at a %v stop", stop.Kind)}
}

// instruction checks that the thread came by a syscall instruction: not by the
// vsyscall page, which the kernel emulates, and not from anywhere in user mode.
func (t *thread) instruction() error {
	var code [sys.SyscallSize]byte
	n, err := sys.ReadProcess(t.tid, code[:], t.user.Rip)
	switch {
	case err == syscall.EFAULT, err == nil && (n != len(code) || code != [...]byte{0x0f, 0x05}):
		return &PlaceError{t.tid, fmt.Sprintf("has no syscall instruction at %#x", t.user.Rip)}
	case err != nil:
		return t.failed("process_vm_readv", err)
	}
	return nil
}

// begin makes the first call.
func (t *thread) begin(c call) error {
	if err := sys.TraceSetMask(t.tid, allSignals); err != nil {
		return t.failed("PTRACE_SETSIGMASK", err)
	}
	if t.origin == beforeCall {
		t.call = c
		return t.enter()
	}
	return t.next(c)
}

// next makes another call, by way of user mode. A target that traps after every
// instruction does not there: the syscall instruction clears the flag.
func (t *thread) next(c call) error {
	t.call, t.at = c, entering
	return t.run(&t.user)
}

// enter makes the call in place of the one that is being entered.
func (t *thread) enter() error {
	t.at = inside
	regs := t.user
	regs.OrigRax, regs.Rip = t.call.nr, abi.CallSite
	regs.Rax = negative(syscall.ENOSYS) // as the kernel enters calls
	for i, a := range t.call.args {
		*Arg(&regs, i) = a
	}
	return t.run(&regs)
}

func (t *thread) run(regs *sys.Regs) error {
	if err := sys.TraceSetRegs(t.tid, regs); err != nil {
		return t.failed("PTRACE_SETREGSET", err)
	}
	return t.resume(0)
}

func (t *thread) resume(sig syscall.Signal) error {
	return t.failed("PTRACE_SYSCALL", sys.TraceCall(t.tid, sig))
}

// step takes the thread's next stop. Once the call has returned, the thread stands
// at its exit and returned is true; before, it is on its way to another stop.
func (t *thread) step(stop sys.Stop) (result int64, returned bool, err error) {
	switch stop.Kind {
	case sys.Ended, sys.Killed, sys.ExecStop: // or its number is that of another one, which executed
		return 0, false, &GoneError{stop}
	case sys.SeccompStop: // a filter traces an injected call
		return 0, false, t.resume(0)
	case sys.JobStop, sys.TrapStop:
		t.rejoin = true
		return 0, false, t.resume(0)
	case sys.SignalStop:
		if syscall.Signal(stop.Value) == syscall.SIGSTOP {
			return 0, false, t.resume(syscall.SIGSTOP)
		}
	case sys.CallStop:
		return t.stepCall(stop)
	}
	return 0, false, t.stray(stop)
}

func (t *thread) stepCall(stop sys.Stop) (result int64, returned bool, err error) {
	info, err := sys.TraceCallInfo(t.tid)
	switch {
	case err != nil:
		return 0, false, t.failed("PTRACE_GET_SYSCALL_INFO", err)
	case t.at == entering && info.Op == sys.CallEntry && info.IP == t.found.Rip:
		return 0, false, t.enter()
	case t.at == inside && info.Op == sys.CallExit && restarts(info.Value):
		return 0, false, t.next(t.call)
	case t.at == inside && info.Op == sys.CallExit:
		return info.Value, true, nil
	}
	return 0, false, t.stray(stop)
}

// restarts tells results that user mode never sees: a call that a stop interrupted
// (ERESTARTSYS to ERESTARTNOHAND, ERESTART_RESTARTBLOCK of linux/errno.h).
func restarts(result int64) bool { return result <= -512 && result >= -516 }

// finish leaves the thread at the exit of its last injected call as it was found.
func (t *thread) finish() error {
	regs := t.found
	if t.origin == beforeCall {
		regs = t.user
	}
	if err := sys.TraceSetRegs(t.tid, &regs); err != nil {
		return t.failed("PTRACE_SETREGSET", err)
	}
	return t.release()
}

// release gives the thread its signals back, and the stop that it ran through.
func (t *thread) release() error {
	if err := sys.TraceSetMask(t.tid, t.mask); err != nil {
		return t.failed("PTRACE_SETSIGMASK", err)
	}
	if t.rejoin {
		return t.failed("PTRACE_INTERRUPT", sys.TraceInterrupt(t.tid))
	}
	return nil
}

func (t *thread) stray(stop sys.Stop) error {
	if err := t.release(); err != nil {
		return err
	}
	return &StrayError{stop}
}

// failed is nil for no error. A stopped thread that is not there was killed.
func (t *thread) failed(op string, err error) error {
	switch err {
	case nil:
		return nil
	case syscall.ESRCH:
		return &GoneError{sys.Stop{Tid: t.tid, Kind: sys.Killed, Value: int(syscall.SIGKILL)}}
	}
	return &TraceError{t.tid, op, err}
}

// negative is an errno as a register returns it.
func negative(e syscall.Errno) uint64 { return -uint64(e) }
