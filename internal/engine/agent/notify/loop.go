//go:build linux && amd64

package notify

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/task"
	"portcullis/internal/sys"
)

// Decider decides calls; *decide.Installation is one.
type Decider interface {
	Decide(*decide.Call) decide.Decision
}

// Loop serves one listener. Its Run is one goroutine with a thread of its own:
// it blocks in the kernel nearly always, and the wake-up that keeps caller and
// supervisor on one processor works between threads that do not change.
type Loop struct {
	listener, wake int
	decider        Decider
	table          *task.Table
	caller         *task.Caller
	call           decide.Call
	logf           func(format string, args ...any)

	notif sys.Notif
	resp  sys.NotifResp
}

// New makes a loop for a listener, which it owns from here on. The table is
// the loop's as well. logf is told of what is neither routine nor an event.
func New(listener int, d Decider, t *task.Table, logf func(format string, args ...any)) (*Loop, error) {
	if err := sys.NotifSizes(); err != nil {
		return nil, err
	}
	wake, err := sys.EventFD()
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	_ = sys.NotifSyncWakeUp(listener) // before 6.6 it is merely slower
	l := &Loop{listener: listener, wake: wake, decider: d, table: t, logf: logf}
	l.caller = task.NewCaller(t, listener)
	l.call.Caller = l.caller
	return l, nil
}

// Stop ends Run: calls that wait, and those to come, fail with ENOSYS.
// It must not be called after Run has returned.
func (l *Loop) Stop() { _ = sys.WakeUp(l.wake) }

// Run serves until the last filtered task is gone, or until Stop. Whatever ends
// it, the listener is closed, and with it every undecided call denied.
func (l *Loop) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.close()
	for {
		// RECV alone does not return when the last task is gone (before 6.11).
		ready, stop, err := sys.Poll(l.listener, l.wake, -1)
		switch {
		case err != nil:
			return fmt.Errorf("waiting for calls: poll: %w", err)
		case stop != 0:
			return nil
		case ready&sys.Readable != 0:
			err = l.serve()
		case ready != 0: // Hangup: no task can ask any more
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *Loop) close() {
	sys.Close(l.listener)
	sys.Close(l.wake)
	l.table.Close()
}

// serve takes one notification, if it is still there, and answers it.
func (l *Loop) serve() error {
	if err := sys.NotifRecv(l.listener, &l.notif); err != nil {
		if routine(err) {
			return nil
		}
		return fmt.Errorf("taking a call: SECCOMP_IOCTL_NOTIF_RECV: %w", err)
	}
	l.call.Data = abi.Data(l.notif.Data)
	l.caller.Reset(l.notif.ID, int(l.notif.Pid))
	return l.enforce(l.decide())
}

// routine tells whether a failure only says that a caller died or was
// interrupted by a signal.
func routine(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINTR)
}

// decide never lets a mistake in deciding become a decision to allow.
func (l *Loop) decide() (d decide.Decision) {
	defer func() {
		if r := recover(); r != nil {
			l.logf("deciding call %d of thread %d panicked, its process is killed: %v", l.call.Data.Nr, l.notif.Pid, r)
			d = decide.Kill()
		}
	}()
	return l.decider.Decide(&l.call)
}

func (l *Loop) enforce(d decide.Decision) error {
	l.resp = sys.NotifResp{ID: l.notif.ID}
	switch d.Act() {
	case decide.ActContinue:
		l.resp.Flags = sys.NotifContinue
	case decide.ActErrno:
		l.resp.Error = -int32(d.Errno())
	default:
		if l.kill() {
			return nil // unanswered: the signal ends the wait
		}
		l.resp.Error = -int32(syscall.EPERM)
	}
	if err := sys.NotifSend(l.listener, &l.resp); err != nil && !routine(err) {
		return fmt.Errorf("answering a call: SECCOMP_IOCTL_NOTIF_SEND: %w", err)
	}
	return nil
}

// kill tells whether the caller's process is dead or dying.
func (l *Loop) kill() bool {
	err := l.caller.Kill()
	switch {
	case err == nil, errors.Is(err, task.ErrGone), errors.Is(err, syscall.ESRCH):
		return true
	}
	l.logf("killing the process of thread %d: %v: its call is denied instead", l.notif.Pid, err)
	return false
}
