//go:build linux && amd64

package trace

import (
	"math"
	"syscall"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// turns orders calls: who is inside of which, and who waits.
type turns struct {
	inside map[uint32]int // calls by number, of all tasks
	queue  []*thread      // the first has waited longest
}

// hold is a thread that waits, in a call that was put in the place of its own.
type hold struct {
	regs     sys.Regs // before its own call
	call     *pending
	deadline time.Time
	state    holdState
}

type holdState uint8

const (
	waiting  holdState = iota
	awakened           // interrupted, and yet to come to the exit of the call it waits in
	leaving            // on its way to make its own call again
)

// free tells whether nobody is inside a target.
func (u *turns) free(targets []uint32) bool {
	for _, nr := range targets {
		if u.inside[nr] > 0 {
			return false
		}
	}
	return true
}

// enter marks a thread as inside its call, if it need not wait.
func (u *turns) enter(th *thread, nr uint32, targets []uint32) bool {
	if !u.free(targets) {
		return false
	}
	u.inside[nr]++
	th.call.inside, th.call.nr = true, nr
	return true
}

// leave counts a thread out of its call, and wakes those who may go on. Waking is a
// hint: whether one may is seen when it stands before its call again.
func (u *turns) leave(th *thread) (free []*thread) {
	if !th.call.inside {
		return nil
	}
	th.call.inside = false
	if nr := th.call.nr; u.inside[nr] > 1 {
		u.inside[nr]--
	} else {
		delete(u.inside, nr)
	}
	for _, w := range u.queue {
		if w.hold.state == waiting && u.free(w.hold.call.intents) {
			free = append(free, w)
		}
	}
	return free
}

func (u *turns) drop(th *thread) {
	for i, w := range u.queue {
		if w == th {
			u.queue = append(u.queue[:i], u.queue[i+1:]...)
			return
		}
	}
}

// leaveTurn ends the call of a thread for others.
func (t *Tracer) leaveTurn(th *thread) {
	for _, w := range t.turns.leave(th) {
		w.hold.state = awakened
		_ = sys.TraceInterrupt(w.tid) // one that is gone comes to its end
	}
}

// wait has a thread wait in poll(2) without descriptors, in the place of its call:
// there it sees signals, stops with its process, and a time limit of the kernel's own
// ends it.
func (t *Tracer) wait(th *thread, p *pending) error {
	h := th.hold
	if h == nil {
		h = &hold{deadline: time.Now().Add(t.options.Limit)}
	}
	left := time.Until(h.deadline)
	if left <= 0 {
		return t.late(th, p)
	}
	if h.call != p {
		h.call = p.keep()
	}
	if err := sys.TraceRegs(th.tid, &h.regs); err != nil {
		return err
	}
	regs := h.regs
	regs.OrigRax, regs.Rip = syscall.SYS_POLL, abi.CallSite
	regs.Rdi, regs.Rsi, regs.Rdx = 0, 0, timeout(left)
	if err := sys.TraceSetRegs(th.tid, &regs); err != nil {
		return err
	}
	h.state, th.hold = waiting, h
	t.turns.queue = append(t.turns.queue, th)
	return t.resume(th, 0)
}

// timeout is what poll waits for left with, or for as long as it can, in milliseconds.
func timeout(left time.Duration) uint64 {
	return uint64(min((left+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}

// waited is a thread at the exit of the call it has waited in.
func (t *Tracer) waited(th *thread) error {
	info, err := sys.TraceCallInfo(th.tid)
	if err != nil {
		return err
	}
	h := th.hold
	t.turns.drop(th)
	switch {
	case h.state == awakened, info.Value == 0 && time.Now().Before(h.deadline):
		return t.again(th)
	case info.Value == 0:
		t.expired(th, h.call)
		return t.endWait(th, -int64(syscall.ETIMEDOUT))
	case restarts(info.Value):
		return t.endWait(th, interruption(h.call.data.Nr))
	case info.Value < 0 && info.Value >= -4095:
		return t.endWait(th, info.Value) // a filter of the target's own does not let it wait
	}
	return t.endWait(th, -int64(syscall.EPERM))
}

// again sends a thread to user mode to make its own call once more.
func (t *Tracer) again(th *thread) error {
	regs := th.hold.regs
	regs.Rip -= sys.SyscallSize
	regs.Rax, regs.OrigRax = regs.OrigRax, sys.NoCall
	if err := sys.TraceSetRegs(th.tid, &regs); err != nil {
		return err
	}
	th.expect(th.hold.call)
	th.hold.state = leaving
	return t.resume(th, 0)
}

// endWait has the thread's own call return a result without having been made.
func (t *Tracer) endWait(th *thread, result int64) error {
	regs := th.hold.regs
	th.hold = nil
	regs.Rax = uint64(result)
	if err := sys.TraceSetRegs(th.tid, &regs); err != nil {
		return err
	}
	return t.resume(th, 0)
}

// late refuses a call whose time has run out on the way.
func (t *Tracer) late(th *thread, p *pending) error {
	th.hold = nil
	t.expired(th, p)
	return t.refuse(th, syscall.ETIMEDOUT)
}

// expired reports a call that has waited too long.
func (t *Tracer) expired(th *thread, p *pending) {
	t.caller.reset(th)
	t.call.Data = p.data
	t.decider.Expire(&t.call, t.options.Limit)
}

const (
	// Results that user mode never sees (linux/errno.h): the call is made again after
	// a signal, if its handler has SA_RESTART; or only if there is no handler.
	restartSys    = -512
	restartNoHand = -514
)

// restarts tells results by which the kernel makes a call again.
func restarts(result int64) bool { return result <= restartSys && result >= -516 }

// interruption is the result of a call that a signal has interrupted before it was made.
func interruption(nr int32) int64 {
	switch nr {
	case syscall.SYS_PAUSE, syscall.SYS_RT_SIGSUSPEND, syscall.SYS_RT_SIGTIMEDWAIT,
		syscall.SYS_EPOLL_WAIT, syscall.SYS_EPOLL_PWAIT, sysEpollPwait2, syscall.SYS_POLL, syscall.SYS_PPOLL,
		syscall.SYS_SELECT, syscall.SYS_PSELECT6, syscall.SYS_MSGRCV, syscall.SYS_MSGSND, syscall.SYS_SEMOP,
		syscall.SYS_SEMTIMEDOP, syscall.SYS_CLOCK_NANOSLEEP, syscall.SYS_NANOSLEEP, syscall.SYS_IO_GETEVENTS:
		return restartNoHand // signal(7): never restarted
	}
	return restartSys
}

const sysEpollPwait2 = 441
