package main

import (
	"strconv"

	"portcullis"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/kit"
	"portcullis/internal/prefilter"
)

// calls is a set of calls, by name.
type calls map[string]bool

func (c calls) with(o calls) calls {
	all := calls{}
	for _, s := range []calls{c, o} {
		for name := range s {
			all[name] = true
		}
	}
	return all
}

// unseen are the calls that are never observed, and that every process may make at any
// time. They count as made in every phase.
func unseen() calls {
	all := calls{}
	for _, nr := range prefilter.Unfailing() {
		name, _ := syscalls.Name(nr)
		all[name] = true
	}
	return all
}

// process is one of a run: the phase in which it is, and what it made in each.
type process struct {
	phase string
	made  map[string]calls
}

// trace follows the processes of a run through the phases of a policy.
type trace struct {
	machine   *machine
	processes map[int]*process
	// all are the processes that there were: numbers are used again.
	all []*process
	// forker is the process that forked last, for children that are gone before they are
	// looked at.
	forker *process
	total  uint64
}

func newTrace(m *machine) *trace { return &trace{machine: m, processes: map[int]*process{}} }

// add takes an event: the call is made in the phase in which the process is behind it,
// as calls that change a phase are of it and of the next.
func (t *trace) add(e portcullis.Event) {
	if e.Call.Name == "" {
		return
	}
	t.total++
	p := t.processes[e.Pid]
	if p == nil {
		p = t.begin(e.Pid)
	}
	p.make(e.Call.Name)
	if to, ok := t.machine.next(p.phase, e.Call); ok {
		p.phase = to
		p.make(e.Call.Name)
	}
	switch e.Call.Name {
	case "fork", "vfork", "clone", "clone3":
		t.forker = p
	}
}

func (p *process) make(call string) {
	if p.made[p.phase] == nil {
		p.made[p.phase] = calls{}
	}
	p.made[p.phase][call] = true
}

// begin is a process in the phase in which its parent is.
func (t *trace) begin(pid int) *process {
	p := &process{phase: t.machine.first, made: map[string]calls{}}
	if parent := t.processes[parentOf(pid)]; parent != nil {
		p.phase = parent.phase
	} else if t.forker != nil {
		p.phase = t.forker.phase
	}
	t.processes[pid] = p
	t.all = append(t.all, p)
	return p
}

// parentOf is 0 for a process that is gone.
func parentOf(pid int) int {
	words, err := kit.Stat(pid)
	if err != nil {
		return 0
	}
	parent, err := strconv.Atoi(words[kit.StatParent])
	if err != nil {
		return 0
	}
	return parent
}
