//go:build linux && amd64

package trace

import (
	"fmt"
	"syscall"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/sys"
)

// called is a thread that stands before a call.
func (t *Tracer) called(th *thread, stop sys.Stop) error {
	info, err := sys.TraceCallInfo(th.tid)
	if err != nil {
		return err
	}
	if info.Op != sys.CallSeccomp {
		return nil // killed meanwhile: another stop is to come
	}
	data := abi.SeccompData{
		Nr: int32(info.Value), Arch: abi.Arch(info.Arch), InstructionPointer: info.IP, Args: info.Args,
	}
	again := th.pending
	th.pending, th.trap = nil, nil
	if again != nil && again.data == data && again.fresh() {
		return t.carryOut(th, stop, again)
	}
	if err := t.pass(th); err != nil {
		return err
	}
	return t.decide(th, stop, &data, info.Data != abi.TraceData)
}

// pass ends what a call that never came to its exit has left: the thread was on its
// way to the call when it stopped.
func (t *Tracer) pass(th *thread) error {
	t.abandonWait(th)
	if th.call.running() {
		return &StateError{th.tid, "no call in progress", int(th.call.mask)}
	}
	return nil
}

// decide asks the filters. The decision on a call that a filter of the target's own
// wants to be traced as well is never to make it: there is no tracer for that one.
func (t *Tracer) decide(th *thread, stop sys.Stop, data *abi.SeccompData, foreign bool) error {
	t.caller.reset(th)
	t.set.Reset(data, t.caller.reader())
	t.call.Data = *data
	p := &t.asked
	*p = pending{data: *data, pins: &t.set, foreign: foreign}
	p.decision = t.decider.Decide(&t.call)
	p.intents = t.caller.intents
	return t.carryOut(th, stop, p)
}

// carryOut enforces a decision on the call that a thread stands before.
func (t *Tracer) carryOut(th *thread, stop sys.Stop, p *pending) error {
	switch p.decision.Act() {
	case decide.ActErrno:
		return t.refuse(th, syscall.Errno(p.decision.Errno()))
	case decide.ActContinue, decide.ActPinned:
		if p.foreign {
			return t.refuse(th, syscall.ENOSYS)
		}
		return t.proceed(th, stop, p)
	case decide.ActKillThread:
		return t.become(th, abi.KillThreadCall)
	case decide.ActTrap:
		th.trap = &trap{p.data.Nr, p.decision.Data()}
		return t.become(th, abi.TrapCall)
	}
	return t.become(th, abi.KillProcessCall)
}

// refuse has the call return an errno, 0 for the value 0, without being made.
func (t *Tracer) refuse(th *thread, errno syscall.Errno) error {
	if err := sys.TraceSetNumber(th.tid, -1); err != nil {
		return err
	}
	if err := sys.TraceSetResult(th.tid, -int64(errno)); err != nil {
		return err
	}
	return t.resume(th, 0)
}

// become puts a reserved number in the place of the call.
func (t *Tracer) become(th *thread, nr int64) error {
	if err := sys.TraceSetNumber(th.tid, nr); err != nil {
		return err
	}
	return t.resume(th, 0)
}

// proceed makes the call: once it may, and with what was pinned.
func (t *Tracer) proceed(th *thread, stop sys.Stop, p *pending) error {
	pinned := p.decision.Act() == decide.ActPinned
	if pinned && p.pins.Refused() {
		return t.refuse(th, syscall.EFAULT)
	}
	if pinned && !th.space.ready() {
		return t.prepare(th, stop, p)
	}
	if len(p.intents) > 0 && !t.turns.enter(th, uint32(p.data.Nr), p.intents) {
		return t.wait(th, p)
	}
	th.hold = nil
	if pinned {
		if err := t.redirect(th, p); err != nil {
			return err
		}
	}
	return t.resume(th, 0)
}

// redirect puts what was pinned into a slot, and the registers onto it.
func (t *Tracer) redirect(th *thread, p *pending) error {
	s, _ := th.space.take()
	n, regs := p.pins.Place(t.room[:], s.area.Address(s.number), s.area.Faulting())
	if err := s.area.Put(s.number, t.room[:n]); err != nil {
		return err
	}
	th.call.args, th.call.mask, th.call.slot = p.data.Args, regs.Mask, s
	if regs.Mask == 0 {
		th.call.slot.release()
	}
	return setArgs(th.tid, regs.Mask, &regs.Args)
}

func setArgs(tid int, mask uint8, args *[6]uint64) error {
	for i := range args {
		if mask>>i&1 == 0 {
			continue
		}
		if err := sys.TraceSetArg(tid, i, args[i]); err != nil {
			return err
		}
	}
	return nil
}

// returned is a thread that stands behind a call.
func (t *Tracer) returned(th *thread) error {
	if th.hold != nil {
		return t.waited(th)
	}
	err := setArgs(th.tid, th.call.mask, &th.call.args)
	t.leaveCall(th)
	if err != nil {
		return err
	}
	return t.resume(th, 0)
}

// leaveCall ends a call, however it ended.
func (t *Tracer) leaveCall(th *thread) {
	th.call.slot.release()
	th.call.mask = 0
	t.leaveTurn(th)
}

// StateError is a stop that a thread cannot come to from where it was.
type StateError struct {
	Tid      int
	Expected string
	Found    int
}

// Error is one line.
func (e *StateError) Error() string {
	return fmt.Sprintf("thread %d: expected %s, found state %d", e.Tid, e.Expected, e.Found)
}

// keep is p with copies of its own, to be carried out when the call is made again.
func (p *pending) keep() *pending {
	if p.kept {
		return p
	}
	k := *p
	k.pins = p.pins.Clone()
	k.intents = append([]uint32(nil), p.intents...)
	k.kept = true
	return &k
}

// expect has p be carried out when the thread makes its call again, which it does at
// once: its own code may be overwritten there, and make it when another decision is due.
func (th *thread) expect(p *pending) {
	th.pending, p.until = p, time.Now().Add(patience)
}

// fresh tells whether p can be carried out still.
func (p *pending) fresh() bool { return time.Now().Before(p.until) }

// refused is p with an errno as the decision.
func (p *pending) refused(errno uint16) *pending {
	return &pending{data: p.data, decision: decide.Errno(errno), kept: true}
}
