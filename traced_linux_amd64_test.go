package portcullis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/engine"
	"portcullis/internal/engine/launch"
	"portcullis/internal/sys"
)

// pinning is a filter that takes a tracer: what has "secret" in its path cannot be opened.
func pinning(t *testing.T) *portcullis.Filter {
	t.Helper()
	for _, f := range engine.Probe() {
		if f.Engine == engine.Agent && !f.Have && (f.Needed || f.Name == "tracing" || f.Name == "process_vm_readv") {
			t.Skip("needs " + f.Name)
		}
	}
	f, err := portcullis.Load("internal/engine/agent/trace/testdata/filters/trace.o:open")
	if err == nil {
		err = f.Verify() // after that it can be shared
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Many commands can be traced at once, each with its own events.
func TestTracedCommands(t *testing.T) {
	f := pinning(t)
	var group sync.WaitGroup
	for i := 0; i < 20; i++ {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			cmd := portcullis.Command("/bin/sh", "-c", fmt.Sprintf("exec 2>/dev/null; cat /secret%d; echo $?; exit %d", i, i))
			cmd.Filters, cmd.Engine, cmd.Observe = []*portcullis.Filter{f}, portcullis.Agent, portcullis.ObserveDenials
			var denied []int
			cmd.Events = func(e portcullis.Event) { denied = append(denied, e.Pid) }
			out, err := cmd.Output()
			<-cmd.Done()
			if string(out) != "1\n" || cmd.ProcessState.ExitCode() != i || (err == nil) != (i == 0) {
				t.Errorf("command %d: %q, %v, %v", i, out, cmd.ProcessState, err)
			}
			if len(denied) != 1 || denied[0] == cmd.Process.Pid {
				t.Errorf("command %d: denied %v", i, denied)
			}
		}()
	}
	group.Wait()
}

// An example cannot be skipped.
func TestExampleCommand_pinned(t *testing.T) {
	pinning(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	ExampleCommand_pinned()
	os.Stdout = stdout
	w.Close()
	if out, err := io.ReadAll(r); string(out) != "listed\nexit status 126\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// Where memory cannot be sealed, Check and Explain list the guard that stands in for that.
func TestGuardOfUnsealedMemory(t *testing.T) {
	f := pinning(t)
	const sysMseal, inner = 462, "PORTCULLIS_TEST_INNER"
	if os.Getenv(inner) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inner+"=1")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		deny := []sys.FilterInsn{{Code: 0x20}, {Code: 0x15, Jf: 1, K: sysMseal}, {Code: 0x06, K: 0x50000 | uint32(syscall.ENOSYS)}, {Code: 0x06, K: 0x7fff0000}}
		if _, err := launch.Start(cmd, launch.Config{Filter: deny}); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
			t.Errorf("without mseal: %v\n%s", err, &out)
		}
		return
	}
	report, err := f.Check()
	if err != nil || report.Guards[len(report.Guards)-1] != "slots" {
		t.Errorf("%+v, %v", report, err)
	}
	decisions, err := f.Explain()
	for _, d := range decisions {
		if d.Call == "munmap" && d.Guard == "slots" && d.Arguments != nil {
			return
		}
	}
	t.Errorf("munmap is guarded by nothing: %v", err)
}

func TestTracedCommandsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := portcullis.CommandContext(ctx, "/bin/sh", "-c", "while :; do read x </etc/passwd; done")
	cmd.Filters, cmd.Engine = []*portcullis.Filter{pinning(t)}, portcullis.Agent
	if cmd.Stops() != nil || cmd.Done() != nil || cmd.Signal(syscall.SIGTERM) == nil {
		t.Error("a command that was not started can stop")
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err == nil {
		t.Error("a second start")
	}
	_ = cmd.Signal(syscall.SIGSTOP)
	<-cmd.Stops()
	_ = cmd.Signal(syscall.SIGCONT)
	cancel()
	err := cmd.Wait()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.String() != "signal: killed" {
		t.Errorf("%v", err)
	}
	if err := cmd.Signal(syscall.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("a signal after the end: %v", err)
	}
	<-cmd.Done()
}
