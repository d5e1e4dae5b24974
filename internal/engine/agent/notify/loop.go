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

// Lender answers the calls by which a tracer has its targets ask for a descriptor.
type Lender interface {
	// Lend answers one. The error is a listener that cannot be used.
	Lend(listener int, n *sys.Notif) error
}

// Loop serves one listener. Its Run is one goroutine with a thread of its own:
// it blocks in the kernel nearly always, and the wake-up that keeps caller and
// supervisor on one processor works between threads that do not change.
type Loop struct {
	listener int
	// polls says that RECV alone would not return when the last task is gone.
	polls   bool
	decider Decider
	table   *task.Table
	caller  *task.Caller
	call    decide.Call
	logf    func(format string, args ...any)
	lender  Lender // nil for none

	pace  pace
	notif sys.Notif
	// held are answers that are not yet sent.
	held []sys.NotifResp

	spared uint64 // how often killing failed
}

// New makes a loop for a listener, which it owns from here on. The table is
// the loop's as well. logf is told of what is neither routine nor an event.
func New(listener int, d Decider, t *task.Table, logf func(format string, args ...any)) (*Loop, error) {
	if err := sys.NotifSizes(); err != nil {
		return nil, err
	}
	_ = sys.NotifWaking(listener, sys.WakeHere) // before 6.6 it is merely slower
	l := &Loop{listener: listener, polls: !sys.RecvEnds(), decider: d, table: t, logf: logf}
	l.held = make([]sys.NotifResp, 0, batch)
	l.caller = task.NewCaller(t, listener)
	l.call.Caller = l.caller
	return l, nil
}

// Lends has calls for a descriptor be answered by a lender. It is for before Run.
func (l *Loop) Lends(lender Lender) { l.lender = lender }

// Run serves until the last filtered task is gone. Whatever ends it, the listener is
// closed, and with it every undecided call denied.
func (l *Loop) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.close()
	for {
		more, err := l.next()
		if err == nil && !more {
			l.table.AwaitOrphans()
		}
		if !more || err != nil {
			return err
		}
	}
}

func (l *Loop) close() {
	sys.Close(l.listener)
	l.table.Close()
}

// next serves one call and tells whether there can be another. It polls first
// only where the kernel makes it: that is a tenth of a decision's time.
func (l *Loop) next() (more bool, err error) {
	if l.polls {
		if more, err := l.await(); !more || err != nil {
			return false, err
		}
	}
	err = sys.NotifRecv(l.listener, &l.notif)
	switch {
	case err == nil:
		return true, l.serve()
	case errors.Is(err, syscall.ENOENT): // a caller that died, or no task that could call
		if err := l.send(); err != nil {
			return false, err
		}
		return l.ready(0)
	case errors.Is(err, syscall.EINTR):
		return true, nil
	}
	return false, fmt.Errorf("taking a call: SECCOMP_IOCTL_NOTIF_RECV: %w", err)
}

// await waits for a call as ready does. Answers are held for one that waits already;
// where its caller has died meanwhile, they wait for nobody.
func (l *Loop) await() (more bool, err error) {
	if len(l.held) > 0 && !l.waiting() {
		if err := l.send(); err != nil {
			return false, err
		}
	}
	return l.ready(-1)
}

// ready waits for a call and tells whether any can come: not when the last filtered
// task is gone.
func (l *Loop) ready(timeout int) (more bool, err error) {
	call, _, err := sys.Poll(l.listener, -1, timeout)
	if err != nil {
		return false, fmt.Errorf("waiting for calls: poll: %w", err)
	}
	return call&sys.Hangup == 0 || call&sys.Readable != 0, nil
}

// serve answers the notification that was taken.
func (l *Loop) serve() error {
	if l.pace.due() {
		l.adapt()
	}
	l.call.Data = abi.Data(l.notif.Data)
	if l.lender != nil && requests(&l.call.Data) {
		if err := l.send(); err != nil { // nobody decides on this one, and what comes next may take long
			return err
		}
		return l.lender.Lend(l.listener, &l.notif)
	}
	l.caller.Reset(l.notif.ID, int(l.notif.Pid))
	return l.enforce(l.decide())
}

// requests tells whether a call was injected to ask for a descriptor. No caller can
// make it: see abi.CallSite.
func requests(d *abi.SeccompData) bool {
	return d.Arch == abi.ArchX86_64 && d.Nr == abi.RequestCall && d.InstructionPointer == abi.CallSite
}

// adapt wakes callers here or anywhere. That another call waits while this one is
// not answered is a sure sign of two callers.
func (l *Loop) adapt() {
	if !l.pace.sample(l.notif.Pid, l.waiting()) {
		return
	}
	where := sys.WakeHere
	if l.pace.spread {
		where = sys.WakeAnywhere
	}
	_ = sys.NotifWaking(l.listener, where)
}

// waiting tells whether there is a call to take. Taking it then does not block,
// even if its caller dies before.
func (l *Loop) waiting() bool {
	call, _, err := sys.Poll(l.listener, -1, 0)
	return err == nil && call&sys.Readable != 0
}

// routine tells whether a failure only says that a caller died or was
// interrupted by a signal, at whichever moment.
func routine(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EINPROGRESS)
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
	resp := sys.NotifResp{ID: l.notif.ID}
	switch d.Act() {
	case decide.ActContinue:
		resp.Flags = sys.NotifContinue
	case decide.ActErrno:
		resp.Error = -int32(d.Errno())
	default:
		if l.kill() {
			return l.send() // unanswered: the signal ends the wait
		}
		resp.Error = -int32(syscall.EPERM)
	}
	l.held = append(l.held, resp)
	if l.pace.spread && len(l.held) < batch && l.waiting() {
		return nil
	}
	return l.send()
}

// batch is how many answers to a crowd are sent at once: waking a processor that
// idles costs as much as a decision, and then it is awake for all of them.
const batch = 16

// send sends the answers that are held.
func (l *Loop) send() error {
	defer func() { l.held = l.held[:0] }()
	for i := range l.held {
		if err := sys.NotifSend(l.listener, &l.held[i]); err != nil && !routine(err) {
			return fmt.Errorf("answering a call: SECCOMP_IOCTL_NOTIF_SEND: %w", err)
		}
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
	l.spared++
	if l.spared&(l.spared-1) == 0 { // a target can make it happen over and over
		l.logf("killing a process: %v: the call is denied instead (seen %d times)", err, l.spared)
	}
	return false
}
