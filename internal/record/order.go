package record

import (
	"portcullis/internal/event"
)

// Calls by which processes and threads begin and end, by their numbers on x86-64.
const (
	clone, forkCall, vfork, clone3 = 56, 57, 58, 435
	exit, exitGroup                = 60, 231
	execve                         = 59
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
	// joined is how many threads were seen to come to it.
	joined int
	// earlier is the process of the same number that this one may be, or may have followed.
	earlier *process
	// execs is the thread that is not the first and made the last execve.
	execs *thread
	// parent is who made it, when it was born, where that is known.
	known  bool
	parent *process
	born   uint64
}

// thread is one thread.
type thread struct {
	calls map[uint32]*span
	// last is the kind of its last call that a flow is about, start for none; where it may be
	// one thread or another, there are several.
	last []uint32
	// latest is its last call, comm the name that it had then, begun which of the calls it made that
	// stand at the beginning of a life, or of a program.
	latest uint32
	comm   string
	begun  uint8
}

// span is where the first and the last call of one number stand in the run.
type span struct{ first, last uint64 }

// fork is a call that may make a process.
type fork struct {
	index  uint64
	parent *process
	comm   string
}

// births are the forks that may have made processes: not those of a process that had as many new
// threads. What may be another one's number tells nothing of that.
func (r *run) births() (all []fork) {
	made := map[*process]int{}
	for _, f := range r.forks {
		made[f.parent]++
	}
	for _, f := range r.forks {
		if f.parent.earlier != nil || made[f.parent] > f.parent.joined {
			all = append(all, f)
		}
	}
	return all
}

func (r *run) add(all *Recorder, nr uint32, e *event.Event, comm string) {
	r.index++
	p, t := r.caller(all, nr, e, comm)
	if t == nil {
		all.crowded = true
		return
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
	p.note(t, nr, e, comm)
	r.ends(nr, p, e)
	switch nr {
	case clone, forkCall, vfork, clone3:
		r.fork(all, fork{r.index, p, comm})
	}
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
