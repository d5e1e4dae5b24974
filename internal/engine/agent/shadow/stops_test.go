//go:build linux && amd64

package shadow

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis/internal/sys"
)

// A signal waits until the calls are made, and a stop of the process is kept.
func TestSignalsMeanwhile(t *testing.T) {
	v := start(t, nil, "signals")
	stop := v.trigger()
	sent := false
	jobs := 0
	_, err := v.mapped(v.memory(), stop, func(p *Mapping, s sys.Stop) {
		if !sent {
			sent = true
			v.must(syscall.Kill(v.pid, syscall.SIGUSR1))
			v.must(syscall.Kill(v.pid, syscall.SIGSTOP))
		}
		if s.Kind == sys.JobStop {
			jobs++
		}
	})
	v.must(err)
	if jobs == 0 {
		t.Error("SIGSTOP was not seen on the way")
	}
	v.cont(v.pid)
	if job := v.wait(v.pid, sys.JobStop); job.Value != int(syscall.SIGSTOP) {
		t.Errorf("%v: expected the stop by SIGSTOP", job)
	}
	v.must(sys.TraceListen(v.pid))
	v.must(syscall.Kill(v.pid, syscall.SIGCONT))
	got := v.untilEnd()
	if want := "openat ENOENT, descriptors same, maps changed, signals same\ncaught 1"; got != want {
		t.Errorf("the victim printed %q, expected %q", got, want)
	}
}

func TestKilledMeanwhile(t *testing.T) {
	v := start(t, nil, "signals")
	calls := 0
	_, err := v.mapped(v.memory(), v.trigger(), func(p *Mapping, _ sys.Stop) {
		if calls++; calls == 3 {
			v.must(syscall.Kill(v.pid, syscall.SIGKILL))
		}
	})
	var gone *GoneError
	if !errors.As(err, &gone) {
		t.Errorf("%v: expected a GoneError", err)
	}
}

func TestNoCallCanBeInjectedElsewhere(t *testing.T) {
	v := start(t, nil, "signals")
	v.must(sys.TraceInterrupt(v.pid))
	stop := v.wait(v.pid, sys.TrapStop)
	var r sys.Regs
	v.must(sys.TraceRegs(v.pid, &r))
	was := r
	r.Rip = where // where nothing is
	v.must(sys.TraceSetRegs(v.pid, &r))
	_, err := v.memory().Map(stop, where)
	var place *PlaceError
	if !errors.As(err, &place) {
		t.Errorf("%v: expected a PlaceError", err)
	}
	v.must(sys.TraceSetRegs(v.pid, &was))
	stop.Kind = sys.SignalStop
	if _, err := v.memory().Map(stop, where); !errors.As(err, &place) {
		t.Errorf("%v: expected a PlaceError", err)
	}
	stop.Kind = sys.SeccompStop // where it would be in a call, had it not been killed
	var gone *GoneError
	if _, err := v.memory().Map(stop, where); !errors.As(err, &gone) {
		t.Errorf("%v: expected a GoneError", err)
	}
}

// A thread that is replaced by one that executes is not there any more: its signals are
// not those of the new program.
func TestExecEndsTheMapping(t *testing.T) {
	v := start(t, nil, "signals")
	p, err := v.memory().Map(v.trigger(), where)
	v.must(err)
	var gone *GoneError
	if _, err := p.Step(sys.Stop{Tid: v.pid, Kind: sys.ExecStop}); !errors.As(err, &gone) {
		t.Errorf("%v: expected a GoneError", err)
	}
}

// A stop of the process interrupts the request, which is made again.
func TestStoppedBeforeTheRequestIsReceived(t *testing.T) {
	v := start(t, nil, "signals")
	stop := v.trigger()
	stopped := make(chan struct{})
	var once sync.Once
	first := true
	leave := func() bool {
		if !first {
			return false
		}
		first = false
		if err := syscall.Kill(v.pid, syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		<-stopped
		return true
	}
	v.unheard.Store(&leave)
	var results []int64
	_, err := v.mapped(v.memory(), stop, func(p *Mapping, s sys.Stop) {
		once.Do(func() { close(stopped) })
		if info, err := sys.TraceCallInfo(v.pid); err == nil && info.Op == sys.CallExit {
			results = append(results, info.Value)
		}
	})
	v.must(err)
	if !restarts(results[0]) || results[1] < 0 {
		t.Errorf("the calls returned %v: expected one that restarts, then a descriptor", results)
	}
	v.cont(v.pid)
	v.wait(v.pid, sys.JobStop)
	v.must(sys.TraceListen(v.pid))
	v.must(syscall.Kill(v.pid, syscall.SIGCONT))
	if got, want := v.untilEnd(), "openat ENOENT, descriptors same, maps changed, signals same\ncaught 0"; got != want {
		t.Errorf("the victim printed %q, expected %q", got, want)
	}
}

// At the entry and at the exit of a call, slots can be mapped as well.
func TestEntryAndExit(t *testing.T) {
	for _, op := range []sys.CallOp{sys.CallEntry, sys.CallExit} {
		v := start(t, nil, "signals")
		v.must(sys.TraceInterrupt(v.pid))
		v.wait(v.pid, sys.TrapStop)
		stop, was := v.next(op)
		v.have(stop, "")
		var is sys.Regs
		if op == sys.CallEntry {
			_, is = v.next(op)
		} else {
			v.must(sys.TraceRegs(v.pid, &is))
		}
		if was != is {
			t.Errorf("afterwards:\n%+v\nbefore:\n%+v", is, was)
		}
		if op == sys.CallEntry {
			v.say("g")
		}
		v.cont(v.pid)
		if got := v.untilEnd(); !strings.HasPrefix(got, intact) {
			t.Errorf("the victim printed %q, expected %q", got, intact)
		}
	}
}

// next is the victim's next stop at the entry or the exit of its read.
func (v *victim) next(op sys.CallOp) (sys.Stop, sys.Regs) {
	v.t.Helper()
	for {
		v.must(sys.TraceCall(v.pid, 0))
		stop := v.wait(v.pid, sys.CallStop)
		info, err := sys.TraceCallInfo(v.pid)
		v.must(err)
		if info.Op == op {
			var r sys.Regs
			v.must(sys.TraceRegs(v.pid, &r))
			return stop, r
		}
		v.say("g")
	}
}

// Where the target overwrites the instruction, it runs its own code with its own
// registers, and is seen to.
func TestOverwrittenInstruction(t *testing.T) {
	v := start(t, nil, "overwritten")
	stop := v.trigger()
	said := false
	_, err := v.mapped(v.memory(), stop, func(p *Mapping, _ sys.Stop) {
		if !said {
			said = true
			v.say("o")
			v.hear()
		}
	})
	var stray *StrayError
	if !errors.As(err, &stray) {
		t.Fatalf("%v: expected a StrayError", err)
	}
	v.cont(v.pid)
	if got := v.untilEnd(); got != "getpid ok\nsignals ok" {
		t.Errorf("the victim printed %q", got)
	}
}

func TestCallOfAnotherTable(t *testing.T) {
	v := start(t, nil, "i386")
	v.say("g")
	stop, err := sys.Wait(v.pid)
	v.must(err)
	if stop.Kind == sys.SignalStop {
		t.Skip("needs CONFIG_IA32_EMULATION: there are no other calls")
	}
	_, err = v.memory().Map(stop, where)
	var place *PlaceError
	if !errors.As(err, &place) || !strings.Contains(err.Error(), "a call of i386") {
		t.Errorf("%v: expected a PlaceError", err)
	}
	v.cont(v.pid)
	if got := v.untilEnd(); got != "done" {
		t.Errorf("the victim printed %q", got)
	}
}

// A target that traps after each of its instructions does so as often as without.
func TestTrapsMeanwhile(t *testing.T) {
	var got [2]string
	for i := range got {
		v := start(t, nil, "traps")
		v.say("g")
		for stop := v.stop(); stop.Kind != sys.SeccompStop; stop = v.stop() {
			v.must(sys.TraceCont(v.pid, syscall.Signal(stop.Value)))
		}
		if i == 1 {
			v.have(sys.Stop{Tid: v.pid, Kind: sys.SeccompStop}, "")
		}
		v.cont(v.pid)
		got[i] = v.untilEnd()
	}
	if got[0] != got[1] || got[0] == "traps 0" {
		t.Errorf("the victim printed %q, and with slots %q", got[0], got[1])
	}
}

// On a kernel without mseal the calls are one fewer, and the prefilter is told.
func TestUnsealed(t *testing.T) {
	v := start(t, nil, "signals")
	m := v.memory()
	m.sealed = Unsealed
	s, err := v.mapped(m, v.trigger(), nil)
	v.must(err)
	if s.Sealing() != Unsealed || m.Sealing() != Unsealed {
		t.Error("the slots are said to be sealed")
	}
	v.cont(v.pid)
	if got := v.untilEnd(); !strings.HasPrefix(got, "openat ENOENT, descriptors same, maps changed") {
		t.Errorf("the victim printed %q", got)
	}
}
