//go:build linux && amd64

package trace

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// brisk is a tracer that is held up sooner.
func brisk(t *Tracer) { t.patience = time.Second }

// over waits for a victim that may have held up its tracer for good.
func (v *victim) over() (o outcome) {
	v.t.Helper()
	done := make(chan outcome, 1)
	go func() { done <- v.wait() }()
	select {
	case o = <-done:
	case <-time.After(patient / 2):
		v.t.Fatal("the tracer is held up")
	}
	if strings.HasPrefix(o.out, "needs ") {
		v.t.Skip(strings.TrimSpace(o.out))
	}
	return o
}

// Who holds up the tracer may have a child that the tracer does not know of, for which
// it would have to come on.
func TestHeldUpByAnUnknownChild(t *testing.T) {
	o := startBy(t, brisk, "open", victimPath(t), "hang").over()
	if o != (outcome{"", syscall.WaitStatus(syscall.SIGKILL)}) {
		t.Errorf("%v: expected SIGKILL", o)
	}
}

// The guard counts ticks without a step, of a tracer that does not wait.
func TestGuardCountsTicks(t *testing.T) {
	var logged []string
	tr := New(careless{}, Options{Logf: func(format string, args ...any) { logged = append(logged, fmt.Sprintf(format, args...)) }})
	tr.tid = -1
	var h hang
	ticks := func(n int) int {
		for i := 0; i < n; i++ {
			tr.look(&h)
		}
		return len(logged)
	}
	tr.steps.Add(1)
	if n := ticks(unmoved); n != 0 {
		t.Errorf("held up at once: %q", logged)
	}
	tr.steps.Add(1)
	if n := ticks(unmoved); n != 0 {
		t.Errorf("held up, though it came on: %q", logged)
	}
	tr.waiting.Lock()
	if n := ticks(2 * unmoved); n != 0 {
		t.Errorf("held up, though it only waits: %q", logged)
	}
	tr.waiting.Unlock()
	if n := ticks(unmoved); n != 0 {
		t.Errorf("held up at once after a wait: %q", logged)
	}
	if n := ticks(unmoved); n != 1 {
		t.Errorf("logged %q: expected once that it is held up", logged)
	}
}
