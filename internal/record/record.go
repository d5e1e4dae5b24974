// Package record learns policies from what programs were seen to do.
//
// A Recorder is fed with the events of runs and keeps, in bounded memory, which calls were
// made, with which of the arguments that tell much, of what names, by whom, and in what order. Policy makes
// a model of that. docs/RECORDING.md states what is concluded from what.
package record

import (
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/record/probe"
)

// Bounds of what is kept: the names of programs are theirs to choose, and so are the
// numbers of processes and threads.
const (
	maxNames   = 64
	maxTuples  = 64
	maxThreads = 1 << 16
	maxForks   = 1 << 16
	maxSpans   = 1 << 20
	maxComm    = 15 // as long as the kernel has it
)

// Recorder learns from events. It is for one goroutine.
type Recorder struct {
	choices map[uint32]*choice
	calls   map[uint32]*seen
	runs    []*run
	kinds   map[uint32]bool
	names   *nameLists
	steps   map[step]bool
	total   uint64
	// lost counts events that nobody saw, denied calls that were not made, foreign ones
	// that have no name on x86-64.
	lost, denied, foreign uint64
	threads, forks, spans int
	// crowded tells that there were more threads, or forks, than can be told apart, or calls
	// of them.
	crowded bool
}

// tally is how often something was seen, and in how many runs.
type tally struct {
	count     uint64
	runs      int
	last      int // the run that saw it last, from 1
	by        map[string]bool
	manyNames bool
}

// seen is what is known of a call.
type seen struct {
	tally
	// tuples are by the values of the arguments that tell much.
	tuples map[tuple]*tally
	// varied tells that there were more of them than are of use.
	varied bool
}

// New is a Recorder that has seen nothing.
func New() *Recorder {
	return &Recorder{choices: choices(), calls: map[uint32]*seen{}, kinds: flowKinds(), steps: map[step]bool{}, names: newNameLists()}
}

// Begin begins another run.
func (r *Recorder) Begin() {
	r.runs = append(r.runs, &run{live: map[int]*process{}})
}

// Runs is how many runs there were, Calls how many calls were learnt from, and Lost how many
// events were lost.
func (r *Recorder) Runs() int { return len(r.runs) }

// Calls is how many calls were learnt from.
func (r *Recorder) Calls() uint64 { return r.total }

// Lost is how many events were lost.
func (r *Recorder) Lost() uint64 { return r.lost }

// Denied is how many calls were denied, of which nothing is learnt.
func (r *Recorder) Denied() uint64 { return r.denied }

// Add learns from one event of the run that was begun last. It does not keep the event.
func (r *Recorder) Add(e *event.Event) {
	switch {
	case e.Kind == event.KindLost && (e.Map == "" || e.Map == probe.Paths || e.Map == probe.Addresses || e.Map == probe.Arguments):
		r.lost += e.Lost
	case e.Kind == event.KindRecord:
		r.record(e)
	case e.Kind != event.KindVerdict:
	case e.Denies():
		r.denied++
	default:
		r.call(e)
	}
}

func (r *Recorder) call(e *event.Event) {
	nr := uint32(e.Call.Nr)
	if _, ok := syscalls.Name(nr); !ok || e.Call.Arch != abi.ArchX86_64 {
		r.foreign++
		return
	}
	if len(r.runs) == 0 {
		r.Begin()
	}
	r.total++
	s, comm := r.seenOf(nr), short(e.Comm)
	s.add(len(r.runs), comm)
	r.names.without(nr, &e.Call.Args)
	s.arguments(r.choices[nr], len(r.runs), e.Call.Args, comm)
	r.runs[len(r.runs)-1].add(r, nr, e, comm)
}

func (r *Recorder) seenOf(nr uint32) *seen {
	s := r.calls[nr]
	if s == nil {
		s = &seen{tally: newTally(), tuples: map[tuple]*tally{}}
		r.calls[nr] = s
	}
	return s
}

// short is a name as the kernel could have given it: a file may hold longer ones.
func short(comm string) string {
	if len(comm) > maxComm {
		return strings.Clone(comm[:maxComm])
	}
	return comm
}

func (t *tally) add(run int, comm string) { t.addMany(run, comm, 1) }

func (t *tally) addMany(run int, comm string, count uint64) {
	t.count += count
	if t.last != run {
		t.last = run
		t.runs++
	}
	switch {
	case t.by[comm]:
	case len(t.by) < maxNames:
		t.by[comm] = true
	default:
		t.manyNames = true
	}
}

func (s *seen) arguments(c *choice, run int, args [6]uint64, comm string) {
	if c != nil {
		s.tuple(c, run, c.tuple(args), comm, 1)
	}
}

func (s *seen) tuple(c *choice, run int, key tuple, comm string, count uint64) {
	if c == nil || s.varied {
		return
	}
	t := s.tuples[key]
	if t == nil {
		if len(s.tuples) == maxTuples {
			s.varied, s.tuples = true, nil
			return
		}
		t = &tally{by: map[string]bool{}}
		s.tuples[key] = t
	}
	t.addMany(run, comm, count)
}
