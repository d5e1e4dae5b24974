//go:build linux && amd64

package trace

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"syscall"

	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/prefilter"
	"portcullis/internal/sys"
)

const (
	firstSlots = 16   // of an address space's first memory
	maxSlots   = 4096 // of all of it: each is a call at a time
	attempts   = 4    // at mapping a memory
)

// Where shadow memory is put: between programs and their libraries, where there is
// nothing but what was put there on purpose.
const (
	lowest  = 0x2000_0000_0000
	highest = 0x5000_0000_0000
	page    = 4096
)

func somewhere() uint64 { return lowest + uint64(rand.Int63n((highest-lowest)/page))*page }

// Guarded is a Decider whose prefilter lets no call of a target change what is mapped
// below prefilter.SlotsEnd: there, shadow memory needs no seal.
type Guarded interface{ SlotsGuarded() bool }

// guarded tells whether shadow memory is to be below prefilter.SlotsEnd.
func (t *Tracer) guarded() bool {
	g, ok := t.decider.(Guarded)
	return ok && g.SlotsGuarded()
}

// place is where the next memory of an address space that has some slots is put, and how
// many it has.
func (t *Tracer) place(have int) (at uint64, slots int, err error) {
	if t.guarded() {
		return low(have, lowestMapping())
	}
	if slots = max(firstSlots, 3*have); have+slots > maxSlots {
		return 0, 0, &CrowdError{have}
	}
	return somewhere(), slots, nil
}

// low is one place for all slots that an address space will have: what fits between the
// lowest address that can be mapped and the end of what is guarded.
func low(have int, from uint64) (at uint64, slots int, err error) {
	if have > 0 {
		return 0, 0, &CrowdError{have}
	}
	const end = prefilter.SlotsEnd - page // the last page of a memory faults
	if from >= end || (end-from)/shadow.SlotSize == 0 {
		return 0, 0, &RoomError{from}
	}
	return from, int((end - from) / shadow.SlotSize), nil
}

// lowestMapping is where programs without privilege may begin to map.
func lowestMapping() uint64 {
	const usual = 0x10000
	text, err := os.ReadFile("/proc/sys/vm/mmap_min_addr")
	if err != nil {
		return usual
	}
	at, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return usual
	}
	return max(usual, (at+page-1)&^(page-1))
}

// ready tells whether there is a slot for one call.
func (s *space) ready() bool {
	for _, a := range s.areas {
		if len(a.free) > 0 {
			return true
		}
	}
	return false
}

// size is how many slots there are.
func (s *space) size() (n int) {
	for _, a := range s.areas {
		n += a.Len()
	}
	return n
}

func newArea(slots *shadow.Slots, m *shadow.Memory) *area {
	a := &area{Slots: slots, memory: m}
	for i := slots.Len() - 1; i >= 0; i-- {
		a.free = append(a.free, i)
	}
	return a
}

// prepare gives the address space of a thread slots, before its call is made again.
func (t *Tracer) prepare(th *thread, stop sys.Stop, p *pending) error {
	th.expect(p.keep())
	if th.space.mapper != nil {
		th.space.queue = append(th.space.queue, queued{th, stop})
		return nil // it stays where it is
	}
	return t.mapInto(th, stop)
}

func (t *Tracer) mapInto(th *thread, stop sys.Stop) error {
	at, n, err := t.place(th.space.size())
	if err != nil {
		return t.unprepared(th, syscall.EAGAIN, err)
	}
	m, err := t.memory(n)
	if err != nil {
		return t.unprepared(th, syscall.ENOMEM, err)
	}
	th.space.mapper = th
	t.setMapping(th, &mapping{memory: m, watch: t.watchProcess(th.proc.pid)})
	if th.mapping.Mapping, err = m.Map(stop, at); err == nil {
		return nil
	}
	t.unmap(th)
	_ = m.Close()
	var gone *shadow.GoneError
	if errors.As(err, &gone) {
		err = syscall.ESRCH
	} else {
		err = t.unprepared(th, errnoOf(err), err)
	}
	t.next(th.space)
	return err
}

// memory is new shadow memory that nothing can take from its place there: where it is
// not guarded, that takes a seal.
func (t *Tracer) memory(slots int) (*shadow.Memory, error) {
	m, err := shadow.New(slots)
	if err == nil && m.Sealing() != shadow.Sealed && !t.guarded() {
		_ = m.Close()
		return nil, errUnsealed
	}
	return m, err
}

// errUnsealed is a kernel that had mseal(2) when the filters were installed.
var errUnsealed = errors.New("mseal is not allowed to the tracer's thread: expected what was found when the filters were installed")

// CrowdError is a target that has too many calls at once.
type CrowdError struct{ Slots int }

// Error is one line.
func (e *CrowdError) Error() string {
	return fmt.Sprintf("too many calls at once: expected at most %d in one address space", e.Slots)
}

// RoomError is a system that lets nothing be mapped where slots would be guarded.
type RoomError struct{ From uint64 }

// Error is one line.
func (e *RoomError) Error() string {
	return fmt.Sprintf("vm.mmap_min_addr is %d: before Linux 6.10 expected room for a slot of %d bytes below %#x: lower it, as to 65536",
		e.From, shadow.SlotSize, prefilter.SlotsEnd)
}

// unprepared refuses a call for which there is no slot.
func (t *Tracer) unprepared(th *thread, errno syscall.Errno, why error) error {
	th.pending = nil
	t.seldom("pinning for thread %d: %v: the call is denied", th.tid, why)
	return t.refuse(th, errno)
}

// failed is memory that could not be mapped: it is tried again, for the target may just
// have changed what descriptors it has, or may have something at this place, and there
// are others; in the end the call is refused when it is made again.
func (t *Tracer) failed(th *thread, why error) {
	th.space.failed++
	if th.space.failed < attempts && !scarce(why) && !t.taken(why) {
		return
	}
	th.space.failed = 0
	t.seldom("pinning for thread %d: %v: the call is denied", th.tid, why)
	if th.pending != nil {
		th.expect(th.pending.refused(uint16(errnoOf(why))))
	}
}

// scarce tells whether another attempt would fail as well.
func scarce(err error) bool {
	return errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// taken tells whether the target has something at the only place that there is.
func (t *Tracer) taken(err error) bool { return t.guarded() && errors.Is(err, syscall.EEXIST) }

// errnoOf is what a target is told.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ESRCH:
			return errno
		}
	}
	return syscall.EACCES
}

// setMapping is seen by who lends the descriptor.
func (t *Tracer) setMapping(th *thread, m *mapping) {
	t.mu.Lock()
	defer t.mu.Unlock()
	th.mapping = m
}

// unmap ends what a thread did to map memory.
func (t *Tracer) unmap(th *thread) {
	if th.mapping == nil {
		return
	}
	th.mapping.watch.stop()
	t.setMapping(th, nil)
	if th.space.mapper == th {
		th.space.mapper = nil
	}
}

// next lets the threads that waited for slots of a space go on.
func (t *Tracer) next(s *space) {
	all := s.queue
	s.queue = nil
	for _, q := range all {
		if t.threads[q.tid] != q.thread || q.space != s || q.pending == nil {
			continue // its end is to come, or has
		}
		p := q.pending
		q.pending = nil
		if err := t.carryOut(q.thread, q.stop, p); err != nil {
			t.lost(q.stop, err)
		}
	}
}

// seldom logs what a target can make happen over and over.
func (t *Tracer) seldom(format string, args ...any) {
	t.failures++
	if t.failures&(t.failures-1) == 0 {
		t.logf(format+" (seen %d times)", append(args, t.failures)...)
	}
}
