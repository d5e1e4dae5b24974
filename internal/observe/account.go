//go:build linux && amd64

package observe

import (
	"bytes"
	"sort"

	"portcullis/internal/record"
)

// account is what the programs wrote down in a run. It has also what tasks of earlier runs did
// meanwhile, which were taken for lost then.
type account struct {
	before totals // of the runs before
	names  map[uint32]namesValue
	births map[uint64]birthsValue
	counts []counter
	// strange are the tasks that come of those of earlier runs.
	strange map[uint64]bool
}

// counter is an element of counts.
type counter struct {
	countsKey
	countsValue
}

// tasks are those of the run, by their numbers.
func (w *account) tasks() (all []record.Task) {
	for serial, b := range w.births {
		all = append(all, record.Task{Serial: serial, Parent: b.Parent, Pid: int(b.Tgid), Tid: int(b.Tid), Time: b.Time})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Serial < all[j].Serial })
	w.strange = map[uint64]bool{}
	kept := all[:0]
	for _, t := range all {
		if t.Parent != 0 && w.stranger(t.Parent) {
			w.strange[t.Serial] = true
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

func (w *account) stranger(serial uint64) bool {
	return serial <= w.before.Serial || w.strange[serial]
}

// lost is how many tasks have written down nothing at their end: those that are alive, and those that
// found no room.
func (w *account) lost(tasks []record.Task, serial uint64) (n uint64) {
	if born := serial - w.before.Serial; born > uint64(len(w.births)) {
		n = born - uint64(len(w.births))
	}
	for _, t := range tasks {
		if w.births[t.Serial].Ended == 0 {
			n++
		}
	}
	return n
}

// calls are those of the run. Of a name that found no room, the number tells of which run it is.
func (w *account) calls() (all []record.Counted) {
	times := map[uint64][]moment{}
	for _, c := range w.counts {
		n, known := w.names[c.ID]
		if c.ID <= uint32(w.before.ID) || known && w.stranger(n.Serial) {
			continue
		}
		comm, _, _ := bytes.Cut(n.Comm[:], []byte{0})
		all = append(all, record.Counted{
			Task: n.Serial, Comm: string(comm), Nr: c.Nr, Args: c.Args, Count: c.Count, First: c.Time, Last: c.Last,
		})
		times[n.Serial] = append(times[n.Serial], moment{c.First, c.Time})
	}
	settle(all, times)
	return all
}

// moment is when which of a task's calls was made.
type moment struct{ call, time uint64 }

// settle gives a time to last calls, of which it is only known which of their task's calls they
// were: that of the latest that is known, and a bit more if they came behind it. So what a
// thread made is in its order.
func settle(calls []record.Counted, times map[uint64][]moment) {
	for _, of := range times {
		sort.Slice(of, func(i, j int) bool { return of[i].call < of[j].call })
	}
	for i := range calls {
		c := &calls[i]
		of := times[c.Task]
		at := sort.Search(len(of), func(j int) bool { return of[j].call > c.Last }) - 1
		if at < 0 {
			c.Last = c.First
			continue
		}
		behind := c.Last > of[at].call
		if c.Last = of[at].time; behind {
			c.Last++
		}
	}
}
