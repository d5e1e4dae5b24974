//go:build linux && amd64

package target

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/sys"
)

// TestMain is also the supervisor of the tests: it runs its arguments.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervise" {
		os.Exit(supervise(os.Args[2:]))
	}
	os.Exit(m.Run())
}

type command struct{ *exec.Cmd }

func (c command) Pid() int                   { return c.Process.Pid }
func (c command) Signal(sig os.Signal) error { return c.Process.Signal(sig) }
func (c command) Wait() (*os.ProcessState, error) {
	err := c.Cmd.Wait()
	return c.ProcessState, err
}

func supervise(args []string) int {
	f := Catch()
	defer f.Release()
	if err := sys.Subreaper(); err != nil {
		return 125
	}
	c := command{exec.Command(args[0], args[1:]...)}
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	state, _ := f.Wait(c)
	return ExitStatus(state)
}

// supervised is a supervisor of a shell script, in a process group of its own.
type supervised struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, script string) *supervised {
	t.Helper()
	s := &supervised{Cmd: exec.Command("/proc/self/exe", "supervise", "/bin/sh", "-c", script)}
	s.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.Stderr = os.Stderr
	var err error
	if s.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	return s
}

func (s *supervised) line(t *testing.T) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("reading from the target: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *supervised) status() int {
	_ = s.Wait()
	return s.ProcessState.ExitCode()
}

// feed writes lines for as long as somebody reads.
func (s *supervised) feed() {
	go func() {
		for err := error(nil); err == nil; {
			_, err = fmt.Fprintln(s.in)
		}
	}()
}

func TestStatusIsTheTargets(t *testing.T) {
	for script, want := range map[string]int{
		"exit 7": 7, "kill -KILL $$": 128 + 9, "kill -SEGV $$": 128 + 11, ":": 0,
	} {
		if got := start(t, script).status(); got != want {
			t.Errorf("%s: status %d, want %d", script, got, want)
		}
	}
}

func TestSignalsReachTheTarget(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		s := start(t, fmt.Sprintf("trap 'echo caught; exit 3' %d; echo ready; while read x; do :; done", int(sig)))
		s.line(t)
		s.Process.Signal(sig)
		s.feed() // a read that begins after the signal does not see it
		if got := s.line(t); got != "caught" {
			t.Errorf("%v: %q", sig, got)
		}
		if got := s.status(); got != 3 {
			t.Errorf("%v: status %d, want the target's 3", sig, got)
		}
	}
}

// The terminal sends these to both; only the target says what they mean.
func TestTerminalSignalsAreLeftToTheTarget(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP} {
		s := start(t, fmt.Sprintf("trap 'echo caught' %d; echo ready; read x; read x; exit 4", int(sig)))
		s.line(t)
		syscall.Kill(-s.Process.Pid, sig)
		fmt.Fprint(s.in, "\n\n")
		if got := s.line(t); got != "caught" {
			t.Errorf("%v: %q", sig, got)
		}
		if got := s.status(); got != 4 {
			t.Errorf("%v: status %d, want the target's 4", sig, got)
		}
	}
}

func TestInterruptedTargetEndsBoth(t *testing.T) {
	s := start(t, "echo ready; read x")
	s.line(t)
	syscall.Kill(-s.Process.Pid, syscall.SIGINT)
	if got := s.status(); got != 128+2 {
		t.Errorf("status %d, want 130", got)
	}
}

func TestStoppedTargetStopsItsSupervisor(t *testing.T) {
	s := start(t, "echo $$; kill -STOP $$; echo continued; exit 5")
	s.line(t)
	var w syscall.WaitStatus
	if _, err := syscall.Wait4(s.Process.Pid, &w, syscall.WUNTRACED, nil); err != nil || !w.Stopped() {
		t.Fatalf("the supervisor did not stop: %v, %v", w, err)
	}
	s.Process.Signal(syscall.SIGCONT) // to the supervisor alone
	if got := s.line(t); got != "continued" {
		t.Errorf("the target printed %q", got)
	}
	if got := s.status(); got != 5 {
		t.Errorf("status %d, want 5", got)
	}
}

// A SIGCONT for both is one: the target's next stop is not undone by a late copy of it.
func TestContinuedTogetherAndStoppedAgain(t *testing.T) {
	s := start(t, "echo ready; while read x; do kill -STOP $$; echo continued; done")
	s.line(t)
	for i := 0; i < 20; i++ {
		fmt.Fprintln(s.in)
		var w syscall.WaitStatus
		if _, err := syscall.Wait4(s.Process.Pid, &w, syscall.WUNTRACED, nil); err != nil || !w.Stopped() {
			t.Fatalf("stop %d: the supervisor did not stop: %v, %v", i, w, err)
		}
		syscall.Kill(-s.Process.Pid, syscall.SIGCONT) // as a shell does
		if i%2 == 0 {
			continue // without having seen the target go on
		}
		for j := 0; j < 2; j++ {
			if got := s.line(t); got != "continued" {
				t.Errorf("stop %d: the target printed %q", i, got)
			}
		}
	}
	s.in.Close()
	if got := s.status(); got != 0 {
		t.Errorf("status %d", got)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	// The middle process ends before the one it started, which becomes ours.
	s := start(t, `sh -c 'sleep 1000 >/dev/null & echo $!'; read x`)
	orphan, err := strconv.Atoi(s.line(t))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sys.PidfdProcess(orphan)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	if err := sys.PidfdSignal(fd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for sys.PidfdSignal(fd, 0) == nil { // until it is not even a zombie
		sys.Poll(fd, -1, -1)
	}
	fmt.Fprint(s.in, "\n")
	if got := s.status(); got != 0 {
		t.Errorf("status %d", got)
	}
}
