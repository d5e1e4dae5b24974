//go:build linux && amd64

package trace

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"portcullis/internal/engine/agent/task"
	"portcullis/internal/sys"
)

// patience is how long a stop may take that must come, or a tracer at one stop. It
// takes microseconds.
const patience = 10 * time.Second

// watches is how often a watchdog looks before it bites. Like the guard it counts: while
// this process is stopped itself, the stop that it waits for is not taken.
const watches = 100

// watchdog kills a task that does not come to the stop it must come to: one whose
// parent died before it could say whose child it is, or whose code was overwritten.
type watchdog struct {
	every  time.Duration
	astray func() bool // tells that the stop cannot come any more; nil for nothing

	mu    sync.Mutex
	timer *time.Timer
	pidfd int // -1 for a dog that is not there any more
	left  int
}

// watchNewborn begins with a task that cannot be reaped before: its number is its own.
func (t *Tracer) watchNewborn(tid int) *watchdog {
	fd, err := sys.PidfdThread(tid)
	if errors.Is(err, syscall.EINVAL) { // before Linux 6.9; the signal is for its process
		var pid int
		if pid, err = task.ProcessOf(tid); err == nil {
			fd, err = sys.PidfdProcess(pid)
		}
	}
	if err != nil { // it is dead, or there are no descriptors to watch it by
		_ = syscall.Kill(tid, syscall.SIGKILL)
		return nil
	}
	return t.watch(fd, func() bool { return t.astray(tid) })
}

// watchProcess begins with a process of which a thread is stopped.
func (t *Tracer) watchProcess(pid int) *watchdog {
	fd, err := sys.PidfdProcess(pid)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return nil
	}
	return t.watch(fd, nil)
}

func (t *Tracer) watch(pidfd int, astray func() bool) *watchdog {
	w := &watchdog{every: t.patience / watches, astray: astray, pidfd: pidfd, left: watches}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.every, w.look)
	return w
}

// astray tells whether there is nobody left who could say whose child a newborn is:
// the tracer waits, for what it has not heard has not happened, and the parent is none
// of its tasks.
func (t *Tracer) astray(tid int) bool {
	if t.waiting.TryLock() {
		t.waiting.Unlock()
		return false
	}
	parent, err := task.ParentOf(tid)
	t.mu.RLock()
	defer t.mu.RUnlock()
	return err == nil && t.threads[parent] == nil
}

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pidfd < 0 {
		return
	}
	w.left--
	early := w.left < watches-1 && w.astray != nil && w.astray() // not at the first look
	if w.left > 0 && !early {
		w.timer.Reset(w.every)
		return
	}
	_ = sys.PidfdSignal(w.pidfd, syscall.SIGKILL)
	w.close()
}

// stop may be called of nil.
func (w *watchdog) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pidfd >= 0 {
		w.timer.Stop()
		w.close()
	}
}

func (w *watchdog) close() {
	sys.Close(w.pidfd)
	w.pidfd = -1
}
