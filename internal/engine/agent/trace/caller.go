//go:build linux && amd64

package trace

import (
	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/task"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/sys"
)

// caller is the thread that a tracer holds before its call, as a filter sees it.
type caller struct {
	*task.Caller
	t       *Tracer
	memory  memory
	intents []intent
}

func newCaller(t *Tracer) *caller {
	return &caller{Caller: task.NewStopped(t), t: t, intents: make([]intent, 0, interp.MaxAwaits)}
}

func (c *caller) reset(th *thread) {
	c.Caller.Reset(0, th.tid)
	c.memory.tid, c.intents = th.tid, c.intents[:0]
}

// reader is the memory of the thread.
func (c *caller) reader() *memory { return &c.memory }

// SafeRead reads a pinned argument.
func (c *caller) SafeRead(dst []byte, addr uint64) maps.Errno { return c.t.set.Read(dst, addr) }

// SafeReadStr reads a pinned string.
func (c *caller) SafeReadStr(dst []byte, addr uint64) (int, maps.Errno) {
	return c.t.set.ReadString(dst, addr)
}

// Await records an intent, for when the filters let the call go on.
func (c *caller) Await(curr, target uint64) maps.Errno {
	nr := uint32(target)
	switch {
	case target&interp.AwaitAny == 0 && abi.Dependent(nr):
		return maps.EINVAL
	case len(c.intents) == cap(c.intents):
		return maps.E2BIG
	}
	c.intents = append(c.intents, intent{uint32(curr), nr})
	return maps.OK
}

// memory is a thread's address space.
type memory struct{ tid int }

// ReadUser copies what is at addr, as far as it is readable.
func (m *memory) ReadUser(dst []byte, addr uint64) (int, error) {
	return sys.ReadProcess(m.tid, dst, addr)
}
