//go:build linux && amd64

package trace

import (
	"syscall"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/pin"
	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/sys"
)

// process is a thread group.
type process struct {
	pid     int
	key     uint64
	threads int // whose end was not seen
}

// thread is a traced task.
type thread struct {
	tid   int
	proc  *process // nil for a newborn: its parent has not said whose child it is
	key   uint64
	space *space

	call    current
	pending *pending
	hold    *hold
	mapping *mapping
	trap    *trap

	// A newborn is fresh until its first stop was seen, and stopped from there until its
	// parent has said whose it is; inherited are registers of the parent's call that it
	// has to restore.
	fresh, stopped bool
	jobStop        bool // its first stop was its process'
	inherited      *current
	watch          *watchdog
}

// trap is a call that becomes a SIGSYS.
type trap struct {
	nr    int32
	errno uint16
}

// current is a call that runs with something to be undone at its exit.
type current struct {
	args [6]uint64 // as the caller made it
	mask uint8     // those of them that are redirected
	slot slot

	inside bool   // counted as inside of nr
	nr     uint32 // valid then
}

// running tells whether there is something to be undone.
func (c *current) running() bool { return c.mask != 0 || c.inside }

// pending is a decision on a call that is yet to be made again.
type pending struct {
	data     abi.SeccompData
	decision decide.Decision
	pins     *pin.Set
	intents  []uint32 // the calls to wait for
	foreign  bool
	kept     bool      // with copies of its own
	until    time.Time // it is expected to be made again
}

// mapping is shadow memory on its way into the thread's address space.
type mapping struct {
	*shadow.Mapping
	memory *shadow.Memory
	watch  *watchdog
}

// space is an address space and its shadow memory.
type space struct {
	threads int
	areas   []*area
	mapper  *thread  // which maps more now
	queue   []queued // stopped before their calls until it has
	failed  int      // attempts in a row
}

// queued is a thread at the stop before its call.
type queued struct {
	*thread
	stop sys.Stop
}

// area is shadow memory with the slots that no call uses.
type area struct {
	*shadow.Slots
	memory *shadow.Memory
	free   []int
}

// slot is a place for what a call pinned; the zero slot is none.
type slot struct {
	area   *area
	number int
}

// take is a slot for one call; false if none is free.
func (s *space) take() (slot, bool) {
	for _, a := range s.areas {
		if n := len(a.free); n > 0 {
			number := a.free[n-1]
			a.free = a.free[:n-1]
			return slot{a, number}, true
		}
	}
	return slot{}, false
}

func (s *slot) release() {
	if s.area != nil {
		s.area.free = append(s.area.free, s.number)
		*s = slot{}
	}
}

// leave counts a thread out. The memory goes with the last one: what the target had
// of it went with the address space.
func (s *space) leave() {
	if s.threads--; s.threads > 0 {
		return
	}
	for _, a := range s.areas {
		_ = a.memory.Close()
	}
	s.areas = nil
}

// Find is task.Directory: it may be called from any goroutine.
func (t *Tracer) Find(tid int) (pid int, process, key uint64, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	th := t.threads[tid]
	if th == nil || th.proc == nil {
		return 0, 0, 0, false
	}
	return th.proc.pid, th.proc.key, th.key, true
}

// add enters a thread under its number.
func (t *Tracer) add(th *thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.threads[th.tid] = th
}

func (t *Tracer) remove(th *thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.threads[th.tid] == th {
		delete(t.threads, th.tid)
	}
}

func (t *Tracer) newKey() uint64 {
	t.lastKey++
	return t.lastKey
}

// join makes a thread one of a process and of an address space.
func (t *Tracer) join(th *thread, p *process, in *space) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.threads++
	in.threads++
	th.proc, th.space, th.key = p, in, t.newKey()
}

// Lend answers the injected call of a thread that is being given shadow memory.
func (t *Tracer) Lend(listener int, n *sys.Notif) error {
	t.mu.RLock()
	var m *shadow.Memory
	if th := t.threads[int(n.Pid)]; th != nil && th.mapping != nil {
		m = th.mapping.memory
	}
	t.mu.RUnlock()
	if m == nil { // the tracer has given up meanwhile
		err := sys.NotifSend(listener, &sys.NotifResp{ID: n.ID, Error: -int32(syscall.ECANCELED)})
		if err == syscall.ENOENT {
			return nil
		}
		return err
	}
	return m.Lend(listener, n)
}
