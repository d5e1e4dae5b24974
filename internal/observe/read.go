//go:build linux && amd64

package observe

import (
	"errors"
	"syscall"

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
		Ended     uint64
	}
	countsKey struct {
		ID, Nr uint32
		Args   [2]uint64
	}
	countsValue struct{ Count, Time, First, Last uint64 }
	stepsKey    struct{ From, To uint32 }
	totals      struct{ Serial, ID, Lost, Foreign uint64 }
)

// sums are what was counted in all runs: the totals, and what was missed.
type sums struct {
	totals
	missed uint64
}

// Take is what was seen of a command that has ended with all that came of it. The maps are
// empty then. Tasks that have not ended have counts that nobody has written down, and are lost;
// what they do later is of no run, but for the steps of their flows, of which nobody notes whose they are.
func (o *Observer) Take() (*record.Observation, error) {
	now, err := o.sums()
	if err != nil {
		return nil, err
	}
	all := &record.Observation{Lost: now.Lost - o.taken.Lost + now.missed - o.taken.missed, Foreign: now.Foreign - o.taken.Foreign}
	w := account{before: o.taken.totals, names: map[uint32]namesValue{}, births: map[uint64]birthsValue{}}
	err = errors.Join(
		read(o, mapNames, func(id uint32, n namesValue) { w.names[id] = n }),
		read(o, mapBirths, func(serial uint64, b birthsValue) { w.births[serial] = b }),
		read(o, mapCounts, func(k countsKey, v countsValue) { w.counts = append(w.counts, counter{k, v}) }),
		read(o, mapSteps, func(k stepsKey, _ uint64) { all.Steps = append(all.Steps, [2]uint32{k.From, k.To}) }),
	)
	o.taken = now
	all.Tasks = w.tasks()
	all.Calls = w.calls()
	all.Lost += w.lost(all.Tasks, now.Serial)
	return all, err
}

// sums are those of now.
func (o *Observer) sums() (now sums, err error) {
	if err := o.collection.Maps[mapTotals].Lookup(uint32(0), &now.totals); err != nil {
		return now, &Error{"reading totals", err}
	}
	if now.missed, err = o.misses(); err != nil {
		return now, &Error{"reading what was missed", err}
	}
	return now, nil
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

// batch is how many elements are read at once, unless more have one hash.
const batch = 1 << 10

// read reads all elements of a map and removes them.
func read[K, V any](o *Observer, name string, each func(K, V)) error {
	if err := take(o.collection.Maps[name], batch, each); err != nil {
		return &Error{"reading " + name, err}
	}
	return nil
}

// take reads so many at once, or more where there are more in one bucket, of which the kernel gives
// all or none: names are chosen by who is observed, and so may their hashes be.
func take[K, V any](m *ebpf.Map, batch int, each func(K, V)) error {
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
		case errors.Is(err, syscall.ENOSPC) && len(keys) < int(m.MaxEntries()):
			keys, values = make([]K, 2*len(keys)), make([]V, 2*len(values))
		case err != nil:
			return err
		}
	}
}
