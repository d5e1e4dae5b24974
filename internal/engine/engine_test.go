//go:build linux && amd64

package engine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/event"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// TestMain is also the victims of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if v, ok := victims()[os.Args[1]]; ok {
			os.Exit(v(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// load is a built-in filter with constants set, as name, k=v, k=v.
func load(t testing.TB, spec ...string) Filter {
	t.Helper()
	data, ok := filters.Object(spec[0])
	if !ok {
		t.Fatalf("no filter %s", spec[0])
	}
	ps, err := object.Read(spec[0], data)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range spec[1:] {
		k, v, _ := strings.Cut(setting, "=")
		err := prog.Set(ps, k, v)
		if err != nil {
			t.Fatal(err)
		}
	}
	return ready(t, ps[0])
}

func ready(t testing.TB, p *prog.Program) Filter {
	t.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Filter{Name: p.Name, Hash: "0123", Verified: v, Tree: split.Split(v)}
}

// result is what a run of a target came to.
type result struct {
	out    string
	state  *os.ProcessState
	events []event.Event
}

func (r *result) status() syscall.WaitStatus { return r.state.Sys().(syscall.WaitStatus) }

// collector is a sink that keeps everything.
type collector struct {
	mu  sync.Mutex
	all []event.Event
}

func (c *collector) Emit(e *event.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, *e)
}

// run runs cmd to the end of the last process it left behind.
func run(t testing.TB, cmd *exec.Cmd, o Options, fs ...Filter) result {
	t.Helper()
	var out bytes.Buffer
	var c collector
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = &out, &out
	}
	o.Events, o.Log = &c, testLog{t}
	if o.Engine == "" {
		o.Engine = Agent
	}
	p, err := Start(&Stack{fs}, cmd, o)
	if err != nil {
		t.Fatal(err)
	}
	state, _ := p.Wait()
	<-p.Done()
	return result{out.String(), state, c.all}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(string(b))
	return len(b), nil
}

func sh(script string) *exec.Cmd { return exec.Command("/bin/bash", "-c", script) }

func victim(args ...string) *exec.Cmd { return exec.Command("/proc/self/exe", args...) }

func TestCountExecStopsAtTheRightCall(t *testing.T) {
	for _, max := range []int{0, 1, 3, 5} {
		r := run(t, sh("for i in 1 2 3 4 5; do /bin/echo $i; done 2>/dev/null; echo end"),
			Options{Observe: prefilter.ObserveDenials}, load(t, "count-exec", fmt.Sprintf("max=%d", max)))
		if want := "1\n2\n3\n4\n5\n"[:2*max] + "end\n"; r.out != want {
			t.Errorf("max %d: printed\n%swant\n%s", max, r.out, want)
		}
		if len(r.events) != 5-max {
			t.Errorf("max %d: %d events, want %d", max, len(r.events), 5-max)
		}
		for _, e := range r.events {
			if e.Call.Name != "execve" || e.Verdict != abi.Errno(uint16(syscall.EPERM)) || e.Program != "count-exec" ||
				e.Comm != "bash" || e.Pid == 0 || !strings.Contains(e.Source, "EPERM") {
				t.Errorf("max %d: event %s from %q", max, e.String(), e.Source)
			}
		}
	}
}
