//go:build linux && amd64

package observe

import (
	"bytes"
	"errors"

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
	countsValue struct{ Count, First, Last uint64 }
	stepsKey    struct{ From, To uint32 }
	totals      struct{ Serial, ID, Lost, Foreign uint64 }
)

// Take is what was seen of a command that has ended with all that came of it. The maps are
// empty then.
func (o *Observer) Take() (*record.Observation, error) {
	all := &record.Observation{}
	var t totals
	if err := o.collection.Maps[mapTotals].Lookup(uint32(0), &t); err != nil {
		return nil, &Error{"reading totals", err}
	}
	all.Lost, all.Foreign = t.Lost, t.Foreign
	names := map[uint32]namesValue{}
	err := errors.Join(
		take(o, mapNames, func(id uint32, n namesValue) { names[id] = n }),
		take(o, mapBirths, func(serial uint64, b birthsValue) {
			all.Tasks = append(all.Tasks, record.Task{Serial: serial, Parent: b.Parent, Pid: int(b.Tgid), Tid: int(b.Tid), Time: b.Time})
		}),
		take(o, mapCounts, func(k countsKey, v countsValue) {
			n := names[k.ID]
			comm, _, _ := bytes.Cut(n.Comm[:], []byte{0})
			all.Calls = append(all.Calls, record.Counted{
				Task: n.Serial, Comm: string(comm), Nr: k.Nr, Args: k.Args, Count: v.Count, First: v.First, Last: v.Last,
			})
		}),
		take(o, mapSteps, func(k stepsKey, _ uint64) { all.Steps = append(all.Steps, [2]uint32{k.From, k.To}) }),
		o.collection.Maps[mapTotals].Put(uint32(0), totals{}),
	)
	return all, err
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
