//go:build linux && amd64

package trace

import (
	"syscall"
	"time"

	"portcullis/internal/sys"
)

// guard watches the tracer from another thread, until the function it returns is called.
// Where the tracer is held up for too long, all that it traces is killed: see the
// package's documentation.
func (t *Tracer) guard() (end func()) {
	done := make(chan struct{})
	go func() {
		look := time.NewTicker(patience / 10)
		defer look.Stop()
		for {
			select {
			case <-look.C:
				t.unblock()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// unblock kills all there is if the tracer has not come on. It reaps nothing meanwhile,
// so every number is the task's.
func (t *Tracer) unblock() {
	since := t.since.Load()
	if since == 0 || time.Duration(int64(sys.Monotonic())-since) < patience {
		return
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.logf("tracing was held up for %v, as by memory that somebody does not let be read: what is traced is killed", patience)
	for tid := range t.threads {
		_ = syscall.Kill(tid, syscall.SIGKILL)
	}
}
