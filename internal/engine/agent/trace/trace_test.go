//go:build linux && amd64

package trace

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/notify"
	"portcullis/internal/engine/agent/task"
	"portcullis/internal/engine/launch"
	"portcullis/internal/event"
	objects "portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// limit is how long the victims' calls wait for each other.
const limit = 2 * time.Second

// patient is how long a victim may take before it counts as a hang.
const patient = time.Minute

//go:embed testdata/filters/trace.o
var object []byte

// stack is an installation of programs of the tests' object, and its prefilter.
func stack(t testing.TB, o decide.Options, names ...string) (*decide.Installation, *prefilter.Prefilter) {
	t.Helper()
	programs, err := objects.Read("trace.o", object)
	if err != nil {
		t.Fatal(err)
	}
	var filters []decide.Filter
	var trees []*split.Tree
	for _, p := range programs {
		for _, name := range names {
			if p.Name != name {
				continue
			}
			v, err := verify.Program(p, verify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			filters = append(filters, decide.Filter{Name: name, Verified: v})
			trees = append(trees, split.Split(v))
		}
	}
	pre, err := prefilter.Build(trees, prefilter.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	in, err := decide.New(filters, pre, o)
	if err != nil {
		t.Fatal(err)
	}
	return in, pre
}

func classic(pre *prefilter.Prefilter) (insns []sys.FilterInsn) {
	for _, in := range pre.Program().Insns() {
		insns = append(insns, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return insns
}

// victim is a traced program.
type victim struct {
	t      testing.TB
	cmd    *exec.Cmd
	tracer *Tracer
	out    bytes.Buffer
	ended  chan error
	timer  *time.Timer
	events events
}

// outcome is what a program printed and how it ended.
type outcome struct {
	out    string
	status syscall.WaitStatus
}

// events collects what is reported.
type events struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *events) Emit(one *event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, *one)
}

// token marks the launch of victims.
const token = 0x1234_5678_9abc

// start traces a program, from its first instruction on.
func start(t testing.TB, filters, path string, args ...string) *victim {
	t.Helper()
	return startBy(t, func(*Tracer) {}, filters, path, args...)
}

// startBy is start with a tracer that is changed before.
func startBy(t testing.TB, change func(*Tracer), filters, path string, args ...string) *victim {
	t.Helper()
	v := &victim{t: t, ended: make(chan error, 1)}
	in, pre := stack(t, decide.Options{Events: &v.events}, strings.Fields(filters)...)
	v.tracer = New(in, Options{Limit: limit, Logf: t.Logf})
	change(v.tracer)
	v.cmd = exec.Command(path, args...)
	v.cmd.Stdout, v.cmd.Stderr = &v.out, &v.out
	stage, err := launch.Begin(v.cmd)
	if err != nil {
		t.Fatal(err)
	}
	go func() { v.ended <- v.tracer.Run() }()
	cfg := launch.Config{Filter: classic(pre), Listen: launch.ListenProbe, Token: token}
	listener, err := stage.InstallTraced(cfg, v.tracer.Seize)
	if err != nil {
		t.Fatal(err)
	}
	v.timer = time.AfterFunc(patient, v.tracer.killAll)
	v.serve(listener, in)
	return v
}

func (v *victim) serve(listener int, in *decide.Installation) {
	loop, err := notify.New(listener, in, task.NewKnown(v.tracer), v.t.Logf)
	if err != nil {
		v.t.Fatal(err)
	}
	loop.Lends(v.tracer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := loop.Run(); err != nil {
			v.t.Errorf("the loop: %v", err)
		}
	}()
	v.t.Cleanup(func() { <-done })
}

// wait waits for the command, and then for all it left behind.
func (v *victim) wait() outcome {
	v.t.Helper()
	end := v.tracer.Await()
	if err := v.cmd.Wait(); !errors.Is(err, syscall.ECHILD) {
		v.t.Errorf("waiting for the command: %v: expected that its tracer has", err)
	}
	if end.Usage.Utime.Nano()+end.Usage.Stime.Nano() == 0 {
		v.t.Error("the command has used no time")
	}
	o := outcome{v.out.String(), end.Status}
	if err := <-v.ended; err != nil {
		v.t.Errorf("the tracer: %v", err)
	}
	if !v.timer.Stop() {
		v.t.Errorf("the victim hung; it printed %q", o.out)
	}
	if n := len(v.tracer.threads); n != 0 {
		v.t.Errorf("%d threads are left", n)
	}
	return o
}

func run(t *testing.T, filters, path string, args ...string) outcome {
	t.Helper()
	return start(t, filters, path, args...).wait()
}

func (o outcome) String() string { return fmt.Sprintf("%q, status %#x", o.out, uint32(o.status)) }

// python runs a script under filters.
func python(t *testing.T, filters, script string) outcome {
	t.Helper()
	const path = "/usr/bin/python3"
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	return run(t, filters, path, "-c", script)
}

// BenchmarkPinnedOpen is a target that opens a file over and over; an operation is one
// call, and its close.
func BenchmarkPinnedOpen(b *testing.B) {
	v := start(b, "open", victimPath(b), "loop", strconv.Itoa(b.N))
	if o := v.wait(); o.status != 0 {
		b.Errorf("%v", o)
	}
}

func TestPinnedOpen(t *testing.T) {
	o := python(t, "open", `
print(open("/etc/passwd").readline().split(":")[0])
for p in ["/secret", "/nonexistent", "/etc/passwd/x"]:
    try: open(p)
    except OSError as e: print(e.errno)
`)
	if o.out != "root\n13\n2\n20\n" || o.status != 0 {
		t.Errorf("%v", o)
	}
}
