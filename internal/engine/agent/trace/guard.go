//go:build linux && amd64

package trace

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"portcullis/internal/engine/agent/task"
)

// hang is how long the tracer has been at one step.
type hang struct {
	step  uint64
	ticks int
}

// unmoved is how many ticks make a hang. They are counted, rather than time measured:
// while this process is stopped itself, there are none.
const unmoved = 10

// guard watches the tracer from another goroutine, until the function it returns is
// called. Where the tracer is held up for too long, all that it traces is killed: see
// the package's documentation.
func (t *Tracer) guard() (end func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(t.patience / unmoved)
		defer tick.Stop()
		for h := (hang{}); ; {
			select {
			case <-tick.C:
				t.look(&h)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-over }
}

// look kills all there is if the tracer has not come on, at each tick anew. The tracer
// cannot wait meanwhile, so every number is the task's.
func (t *Tracer) look(h *hang) {
	if !t.waiting.TryLock() { // for a stop, and nothing else
		*h = hang{}
		return
	}
	defer t.waiting.Unlock()
	if step := t.steps.Load(); step != h.step {
		*h = hang{step: step}
		return
	}
	if h.ticks++; h.ticks < unmoved {
		return
	}
	if h.ticks == unmoved {
		t.logf("tracing was held up for %v, as by memory that somebody does not let be read: what is traced is killed", t.patience)
	}
	t.killAll()
}

// killAll kills what is traced: what the tracer has heard of, and what has come into
// being since and is stopped until it does. That may be all that still has the file
// by which the tracer is held up.
func (t *Tracer) killAll() {
	t.mu.RLock()
	for tid := range t.threads {
		_ = syscall.Kill(tid, syscall.SIGKILL)
	}
	t.mu.RUnlock()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.logf("looking for what is traced: %v", err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if tracer, err := task.TracerOf(pid); err == nil && tracer == t.tid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
