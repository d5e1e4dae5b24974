package portcullis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/engine"
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
