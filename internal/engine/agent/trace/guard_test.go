//go:build linux && amd64

package trace

import (
	"fmt"
	"os"
	"os/exec"
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

// slow is a tracer that waits long for a stop that must come.
func slow(t *Tracer) { t.patience = 2 * patient }

// A newborn may end before its parent's stop has named it, and may live when its parent
// does not.
func TestBirthsThatEndEarly(t *testing.T) {
	for who, want := range map[string]string{"child": "ok\nstatus 0\n", "parent": "ok\nstatus 9\n"} {
		if o := startBy(t, slow, "open", victimPath(t), "birth", who).over(); o != (outcome{want, 0}) {
			t.Errorf("the %s is killed: %v: expected %q", who, o, want)
		}
	}
}

// A newborn may have the former number of a thread that executes, whose process has
// another number: it is a newborn all the same.
func TestNewbornWithTheNumberOfAThread(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to choose a process id")
	}
	gone, other := exec.Command("/bin/true"), exec.Command("/bin/sleep", "1000")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	reused := gone.Process.Pid
	v := startBy(t, func(tr *Tracer) {
		th := &thread{tid: reused}
		tr.join(th, &process{pid: other.Process.Pid}, &space{})
		tr.add(th)
	}, "open", victimPath(t), "number", fmt.Sprint(reused))
	if o := v.over(); o != (outcome{"reused: ok 13\n", 0}) {
		t.Errorf("%v", o)
	}
	if _ = other.Process.Signal(syscall.SIGTERM); other.Wait() == nil || other.ProcessState.String() != "signal: killed" {
		t.Errorf("whose number it was: %v: expected SIGKILL", other.ProcessState)
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

// poll(2) takes an int of milliseconds: less than one of them is one, and what is more
// than fits is waited for in parts.
func TestTimeout(t *testing.T) {
	for left, want := range map[time.Duration]uint64{
		1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, 10 * time.Second: 10_000, 1000 * time.Hour: 1<<31 - 1,
	} {
		if got := timeout(left); got != want {
			t.Errorf("%v: %d ms, expected %d", left, got, want)
		}
	}
}

// A decision is for the call that is made again at once.
func TestDecisionsExpire(t *testing.T) {
	var th thread
	p := &pending{kept: true}
	if th.expect(p); th.pending != p || !p.fresh() {
		t.Errorf("%+v: expected to be carried out now", p)
	}
	if p.until = p.until.Add(-patience); p.fresh() {
		t.Errorf("%+v: expected not to be carried out any more", p)
	}
}
