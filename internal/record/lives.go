package record

import "portcullis/internal/event"

// Calls that a C library makes once when a process or a thread begins, and once in each program:
// who makes one again is another thread, which was given the number of one that has ended. Events
// tell of no end.
const (
	setTidAddress = 218
	setRobustList = 273
)

// life is how sure it is that a call is by the thread that made the calls before it under its
// number.
type life uint8

// The lives.
const (
	same life = iota
	doubtful
	another
)

// caller is the thread that made a call, and its process; nil if there is no room for another one.
func (r *run) caller(all *Recorder, nr uint32, e *event.Event, comm string) (*process, *thread) {
	p := r.live[e.Pid]
	t, is := p.thread(e, nr, comm)
	if t != nil && is == same {
		return p, t
	}
	if all.threads == maxThreads {
		return p, nil
	}
	all.threads++
	switch {
	case p == nil || t != nil && e.Tid == e.Pid:
		p = r.process(p, is, e, comm)
	case t == nil && e.Tid != e.Pid:
		p.joined++
	}
	born := &thread{calls: map[uint32]*span{}, last: []uint32{start}}
	if t != nil && is == doubtful {
		born.maybe(t)
	}
	p.live[e.Tid] = born
	p.threads = append(p.threads, born)
	return p, born
}

// process begins another process of a number.
func (r *run) process(before *process, is life, e *event.Event, comm string) *process {
	p := &process{first: r.index, comm: comm, live: map[int]*thread{}}
	if before != nil && is == doubtful {
		before.takeBack()
		p.earlier = before
	}
	r.live[e.Pid] = p
	r.processes = append(r.processes, p)
	return p
}

// takeBack gives a process the threads of the one that it may be: so those of a process
// that is doubted again are found in one place. Few are moved, for few made a call since.
func (p *process) takeBack() {
	if p.earlier == nil {
		return
	}
	for tid, t := range p.live {
		p.earlier.live[tid] = t
	}
	p.live = p.earlier.live
}

// thread is the thread that an event names, nil for none, and whether that made the call.
func (p *process) thread(e *event.Event, nr uint32, comm string) (*thread, life) {
	if p == nil {
		return nil, another
	}
	t := p.live[e.Tid]
	switch {
	case t == nil && p.earlier != nil && p.earlier.live[e.Tid] != nil:
		return p.earlier.live[e.Tid], doubtful
	case t == nil:
		return nil, another
	case p.execs != nil && e.Tid == e.Pid:
		// A thread that executes a program gets the number of the first, unless that fails.
		t.maybe(p.execs)
		t.begun, p.execs = 0, nil
		return t, same
	}
	return t, t.life(nr, comm)
}

// life tells threads of one number from each other.
func (t *thread) life(nr uint32, comm string) life {
	renamed := comm != t.comm && !mayRename(t.latest)
	switch mark := beginning(nr); {
	case mark != 0 && (renamed || t.begun&mark != 0):
		return another
	case renamed:
		return doubtful // by another thread, or by being another one
	}
	return same
}

// maybe has a thread go on from where another one was too.
func (t *thread) maybe(other *thread) {
	for _, nr := range other.last {
		known := false
		for _, have := range t.last {
			known = known || have == nr
		}
		if !known {
			t.last = append(t.last, nr)
		}
	}
}

// note keeps what tells the thread's next call from one of another thread of its number.
func (p *process) note(t *thread, nr uint32, e *event.Event, comm string) {
	t.latest, t.comm = nr, comm
	t.begun |= beginning(nr)
	if p.execs == t {
		p.execs = nil
	}
	if nr != execve && nr != execveat {
		return
	}
	if t.begun = 0; e.Tid != e.Pid {
		p.execs = t
	}
}

func beginning(nr uint32) uint8 {
	switch nr {
	case setTidAddress:
		return 1
	case setRobustList:
		return 2
	}
	return 0
}

// mayRename tells calls after which a thread can have another name: by a program, by itself, or
// by its file in /proc.
func mayRename(nr uint32) bool {
	const write, prctl = 1, 157
	return nr == execve || nr == execveat || nr == write || nr == prctl
}
