//go:build linux && amd64

package shadow

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/engine/launch"
	"portcullis/internal/kit"
	"portcullis/internal/sys"
)

// made is where the victim is.
var made = kit.New()

func TestMain(m *testing.M) {
	os.Exit(made.Main(m, func(dir string) error {
		sources, err := filepath.Glob("testdata/*.c")
		if err != nil {
			return err
		}
		return kit.Compile(filepath.Join(dir, "victim"), sources...)
	}))
}

// where the victim gets its slots: no other mapping of a static program is near.
const where = 0x1000_0000

// slots is how many.
const slots = 4

// patience is how long a victim may take before it counts as a hang.
const patience = 30 * time.Second

// rule answers an injected call.
type rule struct {
	nr      uint32
	verdict abi.Verdict
}

// prefilter traces openat, lends descriptors to injected calls, and obeys rules.
func prefilter(rules ...rule) []sys.FilterInsn {
	const load, equal, ret = 0x20, 0x15, 0x06
	f := []sys.FilterInsn{
		{Code: load, K: abi.OffNr},
		{Code: equal, Jf: 1, K: syscall.SYS_OPENAT},
		{Code: ret, K: uint32(abi.Trace)},
	}
	for _, r := range append(rules, rule{abi.RequestCall, abi.UserNotif}) {
		f = append(f,
			sys.FilterInsn{Code: load, K: abi.OffNr}, sys.FilterInsn{Code: equal, Jf: 3, K: r.nr},
			sys.FilterInsn{Code: load, K: abi.OffInstructionPointer + 4},
			sys.FilterInsn{Code: equal, Jf: 1, K: uint32(abi.CallSite >> 32)},
			sys.FilterInsn{Code: ret, K: uint32(r.verdict)})
	}
	return append(f, sys.FilterInsn{Code: ret, K: uint32(abi.Allow)})
}

// victim is a traced process, and its tracer is the test's own thread.
type victim struct {
	t      testing.TB
	pid    int
	in     *os.File // commands
	out    *os.File
	lender atomic.Pointer[Memory] // what is lent next
	// unheard is asked before a request is received, and tells to leave it.
	unheard atomic.Pointer[func() bool]
}

// start launches the victim and traces it.
func start(t testing.TB, rules []rule, mode string, args ...string) *victim {
	t.Helper()
	path := made.Compiled(t, "victim")
	runtime.LockOSThread() // the kernel knows a tracer by its thread
	t.Cleanup(runtime.UnlockOSThread)
	v := &victim{t: t}
	cmd := exec.Command(path, append([]string{mode, fmt.Sprint(where), fmt.Sprint(slots*SlotSize + pageSize)}, args...)...)
	v.in, v.out = v.pipes(cmd)
	listener, err := launch.Start(cmd, launch.Config{Filter: prefilter(rules...), Listen: launch.ListenProbe})
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin.(*os.File).Close()
	cmd.Stdout.(*os.File).Close()
	v.pid = cmd.Process.Pid
	timer := time.AfterFunc(patience, func() { syscall.Kill(v.pid, syscall.SIGKILL) })
	t.Cleanup(func() { timer.Stop() })
	t.Cleanup(v.end)
	v.serve(listener)
	v.must(sys.TraceSeize(v.pid, sys.TraceExitKill|sys.TraceSysGood|sys.TraceSeccomp|sys.TraceFork))
	return v
}

// pipes are the other ends of the victim's standard input and output.
func (v *victim) pipes(cmd *exec.Cmd) (in, out *os.File) {
	theirs, in, err := os.Pipe()
	v.must(err)
	out, theirOut, err := os.Pipe()
	v.must(err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirOut, os.Stderr
	v.t.Cleanup(func() { in.Close(); out.Close() })
	return in, out
}

// serve answers the listener, until the victim is gone or the test is over.
func (v *victim) serve(listener int) {
	wake, err := sys.EventFD()
	v.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v.answer(listener, wake) {
		}
	}()
	v.t.Cleanup(func() {
		v.must(sys.WakeUp(wake))
		<-done
		sys.Close(listener)
		sys.Close(wake)
	})
}

func (v *victim) answer(listener, wake int) bool {
	asked, ended, err := sys.Poll(listener, wake, -1)
	if err != nil || ended != 0 || asked&sys.Hangup != 0 {
		return false
	}
	if leave := v.unheard.Load(); leave != nil && (*leave)() {
		return true
	}
	var n sys.Notif
	if err := sys.NotifRecv(listener, &n); err != nil {
		return err == syscall.ENOENT
	}
	if d := abi.Data(n.Data); d.Nr != abi.RequestCall || d.InstructionPointer != abi.CallSite {
		v.t.Errorf("notified of %v: only requests are", d)
		return false
	}
	if err := v.lender.Load().Lend(listener, &n); err != nil {
		v.t.Errorf("lending: %v", err)
	}
	return true
}

func (v *victim) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// end kills what is left, and reaps it.
func (v *victim) end() {
	_ = syscall.Kill(v.pid, syscall.SIGKILL)
	for {
		if _, err := sys.Wait(-1); err != nil {
			return
		}
	}
}

func (v *victim) say(s string) {
	_, err := io.WriteString(v.in, s)
	v.must(err)
}

// hear is the next line that the victim writes.
func (v *victim) hear() string {
	var line []byte
	for b := make([]byte, 1); ; {
		if n, err := v.out.Read(b); n == 0 || err != nil || b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// wait is the next stop, which must be of a kind.
func (v *victim) wait(tid int, kind sys.StopKind) sys.Stop {
	v.t.Helper()
	stop, err := sys.Wait(tid)
	v.must(err)
	if stop.Kind != kind {
		v.t.Fatalf("%v: expected %v", stop, kind)
	}
	return stop
}

// stop is the victim's next stop of any kind.
func (v *victim) stop() sys.Stop {
	v.t.Helper()
	stop, err := sys.Wait(v.pid)
	v.must(err)
	return stop
}

func (v *victim) cont(tid int) {
	v.t.Helper()
	v.must(sys.TraceCont(tid, 0))
}

// rest is what the victim writes until its end.
func (v *victim) rest() string {
	v.t.Helper()
	v.wait(v.pid, sys.Ended)
	return v.written()
}

func (v *victim) written() string {
	v.t.Helper()
	out, err := io.ReadAll(v.out)
	v.must(err)
	return strings.TrimSpace(string(out))
}

// trigger lets the victim come to the call at which it is given slots.
func (v *victim) trigger() sys.Stop {
	v.t.Helper()
	v.say("g")
	return v.wait(v.pid, sys.SeccompStop)
}

func (v *victim) memory() *Memory {
	v.t.Helper()
	m, err := New(slots)
	v.must(err)
	v.t.Cleanup(func() { v.must(m.Close()) })
	v.lender.Store(m)
	return m
}

// between is done before a step is taken: a thread of the target's own has its
// chance there.
type between func(p *Mapping, stop sys.Stop)

// mapped drives a Mapping to its end.
func (v *victim) mapped(m *Memory, stop sys.Stop, what between) (*Slots, error) {
	v.t.Helper()
	return v.mappedAt(where, m, stop, what)
}

func (v *victim) mappedAt(addr uint64, m *Memory, stop sys.Stop, what between) (*Slots, error) {
	v.t.Helper()
	p, err := m.Map(stop, addr)
	if err != nil {
		return nil, err
	}
	for {
		stop, err = sys.Wait(stop.Tid)
		v.must(err)
		if what != nil {
			what(p, stop)
		}
		s, err := p.Step(stop)
		if s != nil || err != nil {
			return s, err
		}
	}
}

// have gives the victim slots, of which the first one holds text.
func (v *victim) have(stop sys.Stop, text string) *Slots {
	v.t.Helper()
	s, err := v.mapped(v.memory(), stop, nil)
	v.must(err)
	v.must(s.Put(0, append([]byte(text), 0)))
	return s
}

// again lets the thread make its call again, up to the stop.
func (v *victim) again() sys.Stop {
	v.t.Helper()
	v.cont(v.pid)
	return v.wait(v.pid, sys.SeccompStop)
}

// redirect sends argument i of the call at a stop to a slot, and puts the register
// back at its exit.
func (v *victim) redirect(i int, to uint64) {
	v.t.Helper()
	var r sys.Regs
	v.must(sys.TraceRegs(v.pid, &r))
	was := *Arg(&r, i)
	*Arg(&r, i) = to
	v.must(sys.TraceSetRegs(v.pid, &r))
	v.must(sys.TraceCall(v.pid, 0))
	v.wait(v.pid, sys.CallStop)
	v.must(sys.TraceRegs(v.pid, &r))
	*Arg(&r, i) = was
	v.must(sys.TraceSetRegs(v.pid, &r))
}

// untilEnd delivers all signals and lets all calls be made.
func (v *victim) untilEnd() string {
	for {
		stop, err := sys.Wait(v.pid)
		v.must(err)
		switch stop.Kind {
		case sys.Ended:
			return v.written()
		case sys.SignalStop:
			v.must(sys.TraceCont(v.pid, syscall.Signal(stop.Value)))
		default:
			v.cont(v.pid)
		}
	}
}
