package record

import (
	"portcullis/internal/event"
)

// Calls by which processes and threads begin and end, by their numbers on x86-64.
const (
	clone, forkCall, vfork, clone3 = 56, 57, 58, 435
	exit, exitGroup                = 60, 231
)

// run is the order in which the calls of one run were made.
type run struct {
	index     uint64
	live      map[int]*process
	processes []*process
	forks     []fork
}

// process is one process, or what follows the end of another of the same number.
type process struct {
	first   uint64
	comm    string // at its first call
	live    map[int]*thread
	threads []*thread
	// parent is who made it, when it was born, where that is known.
	known  bool
	parent *process
	born   uint64
}

// thread is one thread.
type thread struct {
	calls map[uint32]*span
	// last is the kind of its last call that a flow is about, start for none.
	last uint32
}

// span is where the first and the last call of one number stand in the run.
type span struct{ first, last uint64 }

// fork is a call that may make a process.
type fork struct {
	index  uint64
	parent *process
	comm   string
}

func (r *run) add(all *Recorder, nr uint32, e *event.Event, comm string) {
	r.index++
	p := r.live[e.Pid]
	t := p.thread(e.Tid)
	if t == nil {
		if all.threads == maxThreads {
			all.crowded = true
			return
		}
		all.threads++
		if p == nil {
			p = &process{first: r.index, comm: comm, live: map[int]*thread{}}
			r.live[e.Pid] = p
			r.processes = append(r.processes, p)
		}
		t = &thread{calls: map[uint32]*span{}, last: start}
		p.live[e.Tid] = t
		p.threads = append(p.threads, t)
	}
	s := t.calls[nr]
	if s == nil {
		if all.spans == maxSpans {
			all.crowded = true
			return
		}
		all.spans++
		s = &span{first: r.index}
		t.calls[nr] = s
	}
	s.last = r.index
	all.step(t, nr)
	r.ends(nr, p, e)
	switch nr {
	case clone, forkCall, vfork, clone3:
		r.fork(all, fork{r.index, p, comm})
	}
}

func (p *process) thread(tid int) *thread {
	if p == nil {
		return nil
	}
	return p.live[tid]
}

// ends forgets the numbers of what a call ends: they may be given again.
func (r *run) ends(nr uint32, p *process, e *event.Event) {
	switch nr {
	case exitGroup:
		delete(r.live, e.Pid)
	case exit:
		delete(p.live, e.Tid)
	}
}

func (r *run) fork(all *Recorder, f fork) {
	if all.forks == maxForks {
		all.crowded = true
		return
	}
	all.forks++
	r.forks = append(r.forks, f)
}
