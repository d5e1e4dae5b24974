//go:build linux && amd64

package observe

import (
	"bytes"
	"errors"
	"sort"

	"github.com/cilium/ebpf"

	"portcullis/internal/record"
)

// The keys and values of maps that are read.
type (
	namesValue struct {
		Serial uint64
		Comm   [16]byte
	}
	birthsValue struct {
		Parent    uint64
		Tgid, Tid uint32
		Time      uint64
	}
	countsKey struct {
		ID, Nr uint32
		Args   [2]uint64
	}
	countsValue struct{ Count, Time, First, Last uint64 }
	stepsKey    struct{ From, To uint32 }
	totals      struct{ Serial, ID, Lost, Foreign, Ended uint64 }
)

// Take is what was seen of a command that has ended with all that came of it. The maps are
// empty then.
func (o *Observer) Take() (*record.Observation, error) {
	all := &record.Observation{}
	var t totals
	if err := o.collection.Maps[mapTotals].Lookup(uint32(0), &t); err != nil {
		return nil, &Error{"reading totals", err}
	}
	// Who has not ended has counts that nobody has written down.
	all.Lost, all.Foreign = t.Lost+t.Serial-t.Ended, t.Foreign
	missed, err := o.misses()
	if err != nil {
		return nil, &Error{"reading what was missed", err}
	}
	all.Lost, o.missed = all.Lost+missed-o.missed, missed
	names := map[uint32]namesValue{}
	times := map[uint64][]moment{}
	add := func(k countsKey, v countsValue) {
		n := names[k.ID]
		comm, _, _ := bytes.Cut(n.Comm[:], []byte{0})
		all.Calls = append(all.Calls, record.Counted{
			Task: n.Serial, Comm: string(comm), Nr: k.Nr, Args: k.Args, Count: v.Count, First: v.Time, Last: v.Last,
		})
		times[n.Serial] = append(times[n.Serial], moment{v.First, v.Time})
	}
	err = errors.Join(
		take(o, mapNames, func(id uint32, n namesValue) { names[id] = n }),
		take(o, mapBirths, func(serial uint64, b birthsValue) {
			all.Tasks = append(all.Tasks, record.Task{Serial: serial, Parent: b.Parent, Pid: int(b.Tgid), Tid: int(b.Tid), Time: b.Time})
		}),
		take(o, mapCounts, add),
		take(o, mapSteps, func(k stepsKey, _ uint64) { all.Steps = append(all.Steps, [2]uint32{k.From, k.To}) }),
		o.collection.Maps[mapTotals].Put(uint32(0), totals{}),
	)
	settle(all.Calls, times)
	return all, err
}

// misses is how often the kernel did not run a program, as it was interrupted in it by another
// task. Nobody knows whose call that was.
func (o *Observer) misses() (n uint64, err error) {
	for _, p := range o.collection.Programs {
		info, err := p.Info()
		if err != nil {
			return 0, err
		}
		missed, _ := info.RecursionMisses() // told since Linux 5.12
		n += missed
	}
	return n, nil
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

// take reads all elements of a map and removes them.
func take[K, V any](o *Observer, name string, each func(K, V)) error {
	m := o.collection.Maps[name]
	const batch = 1 << 10
	keys, values := make([]K, batch), make([]V, batch)
	var at ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookupAndDelete(&at, keys, values, nil)
		for i := 0; i < n; i++ {
			each(keys[i], values[i])
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return &Error{"reading " + name, err}
		}
	}
}
