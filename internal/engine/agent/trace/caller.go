//go:build linux && amd64

package trace

import (
	"syscall"

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
	intents []uint32
}

func newCaller(t *Tracer) *caller {
	return &caller{Caller: task.NewStopped(t), t: t, intents: make([]uint32, 0, interp.MaxAwaits)}
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

// Await records a call to wait for, for when the filters let this one go on. That a
// filter names this one right, and another that does not depend on it, is seen to.
func (c *caller) Await(_, target uint64) maps.Errno {
	if len(c.intents) == cap(c.intents) {
		return maps.E2BIG
	}
	c.intents = append(c.intents, uint32(target))
	return maps.OK
}

// memory is a thread's address space.
type memory struct{ tid int }

// ReadUser copies what is at addr, as far as it is readable. A stack grows for the
// kernel when it reads there for the thread itself, and does for a look by ptrace, but
// since Linux 6.5 not for process_vm_readv. What is read is what that then finds.
func (m *memory) ReadUser(dst []byte, addr uint64) (int, error) {
	n, err := sys.ReadProcess(m.tid, dst, addr)
	if err == syscall.EFAULT && sys.TracePeek(m.tid, addr) == nil {
		return sys.ReadProcess(m.tid, dst, addr)
	}
	return n, err
}
