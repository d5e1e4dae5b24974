package record

import (
	"sort"

	"portcullis/internal/abi/syscalls"
)

// Watched is a call of which arguments tell much, and which bits of them.
type Watched struct {
	Nr   uint32
	Args []WatchedArg
}

// WatchedArg is the register of an argument, and the bits that count.
type WatchedArg struct {
	Index int
	Mask  uint64
}

// Watch are all such calls, for whoever counts calls elsewhere; none has more than two
// arguments that tell much.
func Watch() []Watched {
	var all []Watched
	for nr, c := range choices() {
		w := Watched{Nr: nr}
		for _, a := range c.args {
			w.Args = append(w.Args, WatchedArg{a.index, a.mask})
		}
		all = append(all, w)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Nr < all[j].Nr })
	return all
}

// Ordered are the calls whose order a flow is about.
func Ordered() []uint32 { return numbersOf(flowKinds()) }

func numbersOf(calls map[uint32]bool) []uint32 {
	var all []uint32
	for nr := range calls {
		all = append(all, nr)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all
}

// Observation is what was seen of a run by who counted its calls.
type Observation struct {
	Tasks []Task
	Calls []Counted
	// Steps are pairs of calls that Ordered has, of which the second followed the first in a
	// thread; the first is the largest number where there was none. clone3 counts as clone.
	Steps [][2]uint32
	// Lost is what found no room, Foreign calls of other tables than x86-64's.
	Lost, Foreign uint64
}

// Task is a thread. Times have no meaning but their order.
type Task struct {
	// Serial is its own number, larger than that of who made it, which is Parent; 0 for none.
	Serial, Parent uint64
	Pid, Tid       int
	Time           uint64
}

// Counted are calls of one number, under one name of the thread, with the same Watched
// arguments.
type Counted struct {
	Task               uint64
	Comm               string
	Nr                 uint32
	Args               [2]uint64
	Count, First, Last uint64
}

// Observe learns from a run.
func (r *Recorder) Observe(o *Observation) {
	r.Begin()
	r.lost += o.Lost
	r.foreign += o.Foreign
	threads := r.observeTasks(o.Tasks)
	for i := range o.Calls {
		c := &o.Calls[i]
		if _, ok := syscalls.Name(c.Nr); !ok {
			r.foreign += c.Count
			continue
		}
		r.counted(c)
		if t := threads[c.Task]; t != nil {
			r.span(t, c)
		}
	}
	for _, s := range o.Steps {
		r.steps[step{s[0], s[1]}] = true
	}
	r.runs[len(r.runs)-1].settle()
}

// observeTasks puts threads into processes, and these behind their parents.
func (r *Recorder) observeTasks(tasks []Task) map[uint64]*thread {
	sort.Slice(tasks, func(i, j int) bool { return tasks[i].Serial < tasks[j].Serial })
	one := r.runs[len(r.runs)-1]
	of, pids, threads := map[uint64]*process{}, map[uint64]int{}, map[uint64]*thread{}
	for _, t := range tasks {
		if r.threads == maxThreads {
			r.crowded = true
			break
		}
		r.threads++
		p := of[t.Parent]
		if p == nil || pids[t.Parent] != t.Pid {
			p = &process{parent: p, born: t.Time, known: true}
			one.processes = append(one.processes, p)
		}
		of[t.Serial], pids[t.Serial] = p, t.Pid
		threads[t.Serial] = &thread{calls: map[uint32]*span{}}
		p.threads = append(p.threads, threads[t.Serial])
	}
	return threads
}

func (r *Recorder) counted(c *Counted) {
	r.total += c.Count
	s, run, comm := r.seenOf(c.Nr), len(r.runs), short(c.Comm)
	s.addMany(run, comm, c.Count)
	s.tuple(r.choices[c.Nr], run, tuple(c.Args), comm, c.Count)
}

func (r *Recorder) span(t *thread, c *Counted) {
	s := t.calls[c.Nr]
	if s == nil {
		if r.spans == maxSpans {
			r.crowded = true
			return
		}
		r.spans++
		s = &span{c.First, c.Last}
		t.calls[c.Nr] = s
	}
	s.first, s.last = min(s.first, c.First), max(s.last, c.Last)
}

// settle leaves out processes that made no calls.
func (r *run) settle() {
	kept := r.processes[:0]
	for _, p := range r.processes {
		if len(p.spans()) > 0 {
			kept = append(kept, p)
		}
	}
	r.processes = kept
}
