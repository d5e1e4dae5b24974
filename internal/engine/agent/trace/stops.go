//go:build linux && amd64

package trace

import (
	"errors"
	"syscall"

	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/sys"
)

// known is the thread of a stop; one that was not seen before is a newborn.
func (t *Tracer) known(stop sys.Stop) *thread {
	if th := t.threads[stop.Tid]; th != nil {
		return th
	}
	th := &thread{tid: stop.Tid}
	t.add(th)
	return th
}

// dispatch handles one stop.
func (t *Tracer) dispatch(th *thread, stop sys.Stop) error {
	if th.mapping != nil {
		return t.stepMapping(th, stop)
	}
	if th.tid == t.command && stop.Kind != sys.JobStop {
		t.job.Store(false)
	}
	switch stop.Kind {
	case sys.Ended, sys.Killed:
		t.ended(th)
		return nil
	case sys.JobStop:
		return t.jobStopped(t.arrived(th), stop)
	case sys.TrapStop:
		return t.trapped(t.arrived(th), stop)
	}
	if th.proc == nil || th.fresh {
		return &StateError{th.tid, "a newborn's first stop", int(stop.Kind)}
	}
	switch stop.Kind {
	case sys.SeccompStop:
		return t.called(th, stop)
	case sys.CallStop:
		return t.returned(th)
	case sys.SignalStop:
		return t.signalled(th, syscall.Signal(stop.Value))
	case sys.ForkStop, sys.VforkStop, sys.CloneStop:
		return t.forked(th, stop)
	case sys.ExecStop:
		return t.executed(th)
	}
	return t.resume(th, 0)
}

// resume lets a thread run to its next stop; the exit of its call is one if there is
// something to be done.
func (t *Tracer) resume(th *thread, sig syscall.Signal) error {
	if th.call.running() || th.hold != nil && th.hold.state != leaving {
		return sys.TraceCall(th.tid, sig)
	}
	return sys.TraceCont(th.tid, sig)
}

// signalled passes a signal on. That of a call which became SIGSYS is made to say so:
// the kernel knows only the number that stood in its place.
func (t *Tracer) signalled(th *thread, sig syscall.Signal) error {
	if th.trap != nil && sig == syscall.SIGSYS {
		if err := t.tellTrap(th); err != nil {
			return err
		}
		th.trap = nil
	} else if err := t.unnoticed(th, sig); err != nil {
		return err
	}
	return t.resume(th, sig)
}

// unnoticed lets a signal that the target ignores not end its call. Without a tracer
// such a signal is not sent; with one it is, and some calls then fail with EINTR
// whatever becomes of it. As a call that is made again if there is no handler, it does
// what it would have done, but for a timeout, which starts anew. A stop ends these calls
// without a tracer, too, once it is over.
func (t *Tracer) unnoticed(th *thread, sig syscall.Signal) error {
	switch sig {
	case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT:
		return nil
	}
	var regs sys.Regs
	switch err := sys.TraceRegs(th.tid, &regs); err {
	case nil:
	case syscall.EINVAL:
		return nil // it runs 32-bit code, which no call of ours returns to
	default:
		return err
	}
	if int64(regs.Rax) != -int64(syscall.EINTR) || !fragile(regs.OrigRax) {
		return nil
	}
	return sys.TraceSetResult(th.tid, restartNoHand)
}

// fragile tells calls that return EINTR where others have the kernel make them again.
func fragile(nr uint64) bool {
	switch nr {
	case syscall.SYS_SEMOP, syscall.SYS_SEMTIMEDOP, syscall.SYS_RT_SIGTIMEDWAIT, syscall.SYS_IO_GETEVENTS,
		sysIoPgetevents, syscall.SYS_EPOLL_WAIT, syscall.SYS_EPOLL_PWAIT, sysEpollPwait2:
		return true
	}
	return false
}

const sysIoPgetevents = 333

func (t *Tracer) tellTrap(th *thread) error {
	var info sys.Siginfo
	if err := sys.TraceSiginfo(th.tid, &info); err != nil {
		return err
	}
	info.Errno, info.Syscall = int32(th.trap.errno), th.trap.nr
	if err := sys.TraceSetSiginfo(th.tid, &info); err != nil {
		return err
	}
	// As syscall_rollback leaves them.
	if err := sys.TraceSetNumber(th.tid, int64(th.trap.nr)); err != nil {
		return err
	}
	return sys.TraceSetResult(th.tid, int64(th.trap.nr))
}

// jobStopped leaves a thread in the stop of its process, until SIGCONT.
func (t *Tracer) jobStopped(th *thread, stop sys.Stop) error {
	if th.proc == nil || th.fresh { // a newborn in a process that stops
		return t.born(th, stop)
	}
	if th.tid == t.command {
		t.job.Store(true)
		select {
		case t.stops <- struct{}{}:
		default:
		}
	}
	return sys.TraceListen(th.tid)
}

// trapped is a newborn's first stop, the end of a job stop, or of an interruption.
func (t *Tracer) trapped(th *thread, stop sys.Stop) error {
	if th.proc == nil || th.fresh {
		return t.born(th, stop)
	}
	return t.resume(th, 0)
}

// stepMapping takes a stop of a thread that makes injected calls.
func (t *Tracer) stepMapping(th *thread, stop sys.Stop) error {
	m := th.mapping
	slots, err := m.Step(stop)
	if slots == nil && err == nil {
		return nil
	}
	t.unmap(th)
	var gone *shadow.GoneError
	var stray *shadow.StrayError
	switch {
	case errors.As(err, &gone), errors.As(err, &stray):
		_ = m.memory.Close()
		th.pending = nil
		t.next(th.space)
		return t.dispatch(th, stop)
	case err != nil:
		_ = m.memory.Close()
		t.failed(th, err)
	default:
		th.space.failed = 0
		th.space.areas = append(th.space.areas, newArea(slots, m.memory))
	}
	t.next(th.space)
	return t.resume(th, 0) // it makes its call again
}
