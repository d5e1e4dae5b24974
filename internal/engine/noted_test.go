//go:build linux && amd64

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// begun starts cmd under a filter that takes a tracer.
func begun(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := Start(&Stack{[]Filter{traced(t, "open")}}, cmd, Options{Engine: Agent, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSignalAfterTheEnd(t *testing.T) {
	cmd := sh("exit 3")
	p := begun(t, cmd)
	state, _ := p.Wait()
	if state.ExitCode() != 3 || p.Pid() != state.Pid() {
		t.Errorf("%v of process %d: expected status 3 of %d", state, state.Pid(), p.Pid())
	}
	if err := p.Signal(syscall.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("Signal: %v", err)
	}
	if err := cmd.Process.Kill(); err != os.ErrProcessDone {
		t.Errorf("Process.Kill: %v", err)
	}
	<-p.Done()
}

// Without pidfds package os knows processes by their numbers. One that has another
// process meanwhile is not signalled, before Wait or after it.
func TestSignalOfAReusedNumber(t *testing.T) {
	const pidfdSendSignal, lastPid = 424, "/proc/sys/kernel/ns_last_pid"
	if f, err := os.OpenFile(lastPid, os.O_WRONLY, 0); err != nil {
		t.Skip("needs privilege to choose a process id: " + err.Error())
	} else {
		f.Close()
	}
	if !under(t, syscall.ENOSYS, pidfdSendSignal) {
		return
	}
	p, other := succeeded(t, lastPid)
	if err := p.Signal(syscall.SIGKILL); err != os.ErrProcessDone {
		t.Errorf("Signal: %v", err)
	}
	if other.Process.Kill(); other.Wait() == nil {
		t.Error("the other process was not there to the end")
	}
	if state, _ := p.Wait(); state.ExitCode() != 3 {
		t.Errorf("%v", state)
	}
	<-p.Done()
}

// succeeded is a target that has ended and was not waited for, and a process that has its
// number. Others may take that for long; then it is another target's turn.
func succeeded(t *testing.T, lastPid string) (*Process, *exec.Cmd) {
	t.Helper()
	for try := 0; try < 100; try++ {
		p := begun(t, sh("exit 3"))
		<-p.noted.ended
		if other := withNumber(t, lastPid, p.Pid()); other != nil {
			return p, other
		}
		_, _ = p.Wait()
		<-p.Done()
	}
	t.Fatal("all numbers of a hundred targets were taken by others")
	return nil, nil
}

// withNumber is a process that has a number, nil where others have it.
func withNumber(t *testing.T, lastPid string, pid int) *exec.Cmd {
	t.Helper()
	for try := 0; try < 50; try++ {
		if err := os.WriteFile(lastPid, []byte(fmt.Sprint(pid-1)), 0); err != nil {
			t.Skip("needs privilege to choose a process id: " + err.Error())
		}
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			return cmd
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return nil
}

// failing is a stream that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// What goes wrong beside a target is told as without a tracer.
func TestErrorsBesideATracedTarget(t *testing.T) {
	bad := failing{errors.New("bad stream")}
	for name, change := range map[string]func(*exec.Cmd){
		"nothing":       func(*exec.Cmd) {},
		"standard in":   func(c *exec.Cmd) { c.Stdin = bad },
		"standard out":  func(c *exec.Cmd) { c.Stdout = bad },
		"standard err":  func(c *exec.Cmd) { c.Stderr = bad },
		"out and err":   func(c *exec.Cmd) { c.Stdout, c.Stderr = bad, bad },
		"all, failing":  func(c *exec.Cmd) { c.Stdin, c.Stdout, c.Args[2] = bad, bad, "cat; exit 2" },
		"in, at an end": func(c *exec.Cmd) { c.Stdin = strings.NewReader("") },
	} {
		script := "trap '' PIPE; cat; echo out; echo err >&2; exit 0"
		bare, cmd := sh(script), sh(script)
		change(bare)
		change(cmd)
		want := bare.Run()
		_, err := begun(t, cmd).Wait()
		if fmt.Sprint(err) != fmt.Sprint(want) || want != nil && errors.Is(want, bad.err) != errors.Is(err, bad.err) {
			t.Errorf("%s: %v, without filters %v", name, err, want)
		}
	}
}

func TestContextThatEndsATracedTarget(t *testing.T) {
	for name, cancel := range map[string]func(p *os.Process) error{
		"gently":     func(p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		"by force":   (*os.Process).Kill,
		"in vain":    func(p *os.Process) error { return errors.Join(p.Signal(syscall.SIGTERM), errors.New("in vain")) },
		"after that": func(p *os.Process) error { return errors.Join(p.Signal(syscall.SIGTERM), os.ErrProcessDone) },
	} {
		want := cancelled(t, cancel, func(ctx context.Context, cmd *exec.Cmd) func() error {
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd.Wait
		})
		err := cancelled(t, cancel, func(ctx context.Context, cmd *exec.Cmd) func() error {
			p, err := Start(&Stack{[]Filter{traced(t, "open")}}, cmd, Options{Engine: Agent, Log: testLog{t}, Context: ctx})
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := p.Wait(); return err }
		})
		if fmt.Sprint(err) != fmt.Sprint(want) || errors.Is(err, context.Canceled) != errors.Is(want, context.Canceled) {
			t.Errorf("%s: %v, without filters %v", name, err, want)
		}
	}
}

// patiently is a program that succeeds when it is told to end, whenever that is after
// its line. A shell's trap would not do: it waits for a read that begins after the signal.
const patiently = `
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
`

// cancelled ends the context of a target that succeeds when it is told to end.
func cancelled(t *testing.T, cancel func(*os.Process) error, start func(context.Context, *exec.Cmd) (wait func() error)) error {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", patiently)
	cmd.Cancel = func() error { return cancel(cmd.Process) }
	k, done := pipes(t, cmd)
	wait := start(ctx, cmd)
	done()
	defer k.in.Close()
	k.line(t)
	end()
	return wait()
}
