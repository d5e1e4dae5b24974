//go:build linux && amd64

package shadow

import (
	"strings"
	"syscall"

	"portcullis/internal/sys"
)

// Mapping is Memory on its way into a target. It holds one stopped thread at a time;
// Step is called by the thread that traces it.
type Mapping struct {
	memory *Memory
	at     uint64
	thread *thread
	todo   []*step
	fd     int64 // the target's descriptor, -1 for none
	mapped bool
	err    error // why it is being undone
}

// Map starts to map m, which no target has yet, at an address, a multiple of a page's
// size, in the target of a thread that came to stop: a SeccompStop, a CallStop, or the
// first stop of a new child. It is seized with TraceSysGood. After an error nothing was
// changed; else the thread runs, and its stops are for Step. While it waits in the call
// that asks for the descriptor, abi.RequestCall at abi.CallSite, the listener must be served with Lend.
func (m *Memory) Map(stop sys.Stop, addr uint64) (*Mapping, error) {
	t, err := newThread(stop)
	if err != nil {
		return nil, err
	}
	p := &Mapping{memory: m, at: addr, thread: t, todo: steps(m.sealed), fd: -1}
	if err := t.begin(p.todo[0].call(p)); err != nil {
		return nil, err
	}
	return p, nil
}

// Step takes the thread's next stop. Without slots and error the thread runs, and
// its next stop is for Step too. With either, the Mapping is over, and the thread is
// the caller's, stopped: to be resumed without a signal, whereupon it makes the call
// that it was found before again, or goes on behind the one it was found after. A
// stop of its process that it ran through follows.
//
// Errors are *CallError, *TamperError, *StrayError and *TraceError; and *GoneError
// for a thread that ended, or whose process has another program where its Stop is an
// ExecStop.
func (p *Mapping) Step(stop sys.Stop) (*Slots, error) {
	result, returned, err := p.thread.step(stop)
	if err != nil || !returned {
		return nil, err
	}
	p.returned(p.todo[0], result)
	if len(p.todo) == 0 && p.err == nil {
		p.verify()
	}
	if len(p.todo) > 0 {
		return nil, p.thread.next(p.todo[0].call(p))
	}
	return p.finish()
}

func (p *Mapping) finish() (*Slots, error) {
	if err := p.thread.finish(); err != nil {
		return nil, err
	}
	if p.err != nil {
		return nil, p.leave()
	}
	p.memory.keep()
	return &Slots{p.memory, p.at}, nil
}

// returned takes a call's result. What fails while undoing is left behind.
func (p *Mapping) returned(s *step, result int64) {
	p.todo = p.todo[1:]
	if s.done(p, result) || p.err != nil {
		return
	}
	var err error = errUnanswered
	if result < 0 && result >= -4095 {
		err = syscall.Errno(-result)
	}
	p.undo(&CallError{Tid: p.thread.tid, Call: s.name, Err: err})
}

// undo makes the calls that take back what was done.
func (p *Mapping) undo(err error) {
	p.err, p.todo = err, nil
	if p.mapped {
		p.todo = append(p.todo, unmapping())
	}
	if p.fd >= 0 {
		p.todo = append(p.todo, closing())
	}
}

func (p *Mapping) verify() {
	area, err := findArea(p.thread.tid, p.at)
	if err != nil {
		p.undo(&TraceError{p.thread.tid, "reading smaps", err})
		return
	}
	if want, have := p.memory.expect(area, p.at); want != "" {
		p.undo(&TamperError{Tid: p.thread.tid, At: p.at, Want: want, Have: have})
	}
}

// left names what undoing did not take back.
func (p *Mapping) left() string {
	var things []string
	if p.mapped {
		things = append(things, "the mapping")
	}
	if p.fd >= 0 {
		things = append(things, "the descriptor")
	}
	return strings.Join(things, " and ")
}

// leave is the error, and says in it what undoing did not take back.
func (p *Mapping) leave() error {
	switch e := p.err.(type) {
	case *CallError:
		e.Left = p.left()
	case *TamperError:
		e.Left = p.left()
	}
	return p.err
}
