//go:build linux && amd64

package trace

import (
	"errors"
	"math/rand"
	"syscall"

	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/sys"
)

const (
	firstSlots = 16   // of an address space's first memory
	maxSlots   = 4096 // of all of it: each is a call at a time
	attempts   = 4    // at places for a memory
)

// Where shadow memory is put: between programs and their libraries, where there is
// nothing but what was put there on purpose.
const (
	lowest  = 0x2000_0000_0000
	highest = 0x5000_0000_0000
	page    = 4096
)

func somewhere() uint64 { return lowest + uint64(rand.Int63n((highest-lowest)/page))*page }

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
	th.pending = p.keep()
	if th.space.mapper != nil {
		th.space.queue = append(th.space.queue, queued{th, stop})
		return nil // it stays where it is
	}
	return t.mapInto(th, stop)
}

func (t *Tracer) mapInto(th *thread, stop sys.Stop) error {
	n := max(firstSlots, 3*th.space.size())
	if th.space.size()+n > maxSlots {
		return t.unprepared(th, syscall.EAGAIN, errTooMany)
	}
	m, err := shadow.New(n)
	if err != nil {
		return t.unprepared(th, syscall.ENOMEM, err)
	}
	th.space.mapper = th
	t.setMapping(th, &mapping{memory: m, watch: watch(th.tid)})
	if th.mapping.Mapping, err = m.Map(stop, somewhere()); err == nil {
		return nil
	}
	t.unmap(th)
	_ = m.Close()
	var gone *shadow.GoneError
	if errors.As(err, &gone) {
		err = syscall.ESRCH
	}
	if err = t.unprepared(th, errnoOf(err), err); err == nil {
		t.next(th.space)
	}
	return err
}

// errTooMany is a target that has too many calls at once.
var errTooMany = errors.New("too many calls at once: expected at most 4096 in one address space")

// unprepared refuses a call for which there is no slot.
func (t *Tracer) unprepared(th *thread, errno syscall.Errno, why error) error {
	th.pending = nil
	t.seldom("pinning for thread %d: %v: the call is denied", th.tid, why)
	return t.refuse(th, errno)
}

// failed is memory that could not be mapped: it is tried again, at another place, for
// the target may have something at this one, or may just have changed what descriptors
// it has; in the end the call is refused when it is made again.
func (t *Tracer) failed(th *thread, why error) {
	th.space.failed++
	if th.space.failed < attempts && !scarce(why) {
		return
	}
	th.space.failed = 0
	t.seldom("pinning for thread %d: %v: the call is denied", th.tid, why)
	if th.pending != nil {
		th.pending = th.pending.refused(uint16(errnoOf(why)))
	}
}

// scarce tells whether another attempt would fail as well.
func scarce(err error) bool {
	return errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

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
