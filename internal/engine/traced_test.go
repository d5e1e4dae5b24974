//go:build linux && amd64

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// leaving has a test leave neither a goroutine nor a descriptor behind.
func leaving(t *testing.T) {
	t.Helper()
	if r, w, err := os.Pipe(); err == nil { // for which the runtime opens a poller once
		r.Close()
		w.Close()
	}
	routines, files := runtime.NumGoroutine(), open(t)
	t.Cleanup(func() {
		for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines; runtime.Gosched() {
			if time.Now().After(end) {
				var all bytes.Buffer
				_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), routines, &all)
				break
			}
		}
		if n := openAfter(t, files); n > files {
			t.Errorf("%d descriptors are open, %d before", n, files)
		}
	})
}

// openAfter counts descriptors once those of an os.Process that was not waited for, which
// go when it is collected, have gone.
func openAfter(t *testing.T, files int) int {
	t.Helper()
	n := open(t)
	for end := time.Now().Add(time.Minute); n > files && time.Now().Before(end); n = open(t) {
		runtime.GC()
	}
	return n
}

// together runs f so often at once.
func together(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := 0; i < n; i++ {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			f(i)
		}()
	}
	group.Wait()
}

// plain is a command that is nobody's target; it must end as ever.
func plain(t *testing.T, status int) {
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("read x; echo $x; exit %d", status))
	cmd.Stdin = strings.NewReader("plain\n")
	out, _ := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status || string(out) != "plain\n" {
		t.Errorf("a command without filters: %v, %q: expected status %d", cmd.ProcessState, out, status)
	}
}

func TestManyTracedTargetsAtOnce(t *testing.T) {
	leaving(t)
	hidden := secret(t)
	together(40, func(i int) {
		if i >= 30 {
			for j := 0; j < 10; j++ {
				plain(t, i)
			}
			return
		}
		cmd := sh(fmt.Sprintf(`read x; echo "$x"; (cat <&9) 9<$0; cat /nonexistent; exit %d`, i))
		cmd.Args = append(cmd.Args, hidden)
		cmd.Stdin = strings.NewReader(fmt.Sprintln("target", i))
		var out bytes.Buffer
		cmd.Stdout = &out
		r := run(t, cmd, Options{}, traced(t, "open"))
		if r.state.ExitCode() != i || out.String() != fmt.Sprintln("target", i) {
			t.Errorf("target %d: %v, %q", i, r.state, &out)
		}
	})
}

// A context ends a target wherever it is: before its first call, in one that was pinned,
// in one that waits for others.
func TestTracedTargetsThatAreKilled(t *testing.T) {
	leaving(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"open": "echo ready; read x <$0; echo no",
		"hold": "(read x <$0) & echo ready; while :; do read x </etc/passwd; done",
	} {
		together(16, func(i int) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/bash", "-c", script, fifo)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			p, err := Start(&Stack{[]Filter{traced(t, name)}}, cmd, Options{Engine: Agent, Log: testLog{t}})
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				_, _ = io.ReadFull(out, make([]byte, len("ready\n")))
			}
			cancel()
			state, err := p.Wait()
			if state == nil || state.String() != "signal: killed" || !errors.Is(err, context.Canceled) && err.Error() != "signal: killed" {
				t.Errorf("%s: %v, %v", name, state, err)
			}
			if name == "hold" { // what it left behind ends too
				endAll(t, fifo, p)
			}
			<-p.Done()
		})
	}
}

// endAll ends what waits for the other end of a fifo, until p is done.
func endAll(t *testing.T, fifo string, p *Process) {
	for {
		select {
		case <-p.Done():
			return
		default:
		}
		f, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0) // ENXIO: nobody waits, or not yet
		if err == nil {
			f.Close()
		}
		runtime.Gosched()
	}
}

func TestTracedDaemonOutlivesTheCommand(t *testing.T) {
	leaving(t)
	cmd := sh(self(t) + " echo <&0 & exit 3")
	k, done := pipes(t, cmd)
	stack := &Stack{[]Filter{traced(t, "open"), conformance(t, "process-count")}}
	p, err := Start(stack, cmd, Options{Engine: Agent, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	done()
	if state, _ := p.Wait(); state.ExitCode() != 3 {
		t.Errorf("the command: %v, want its status 3", state)
	}
	k.line(t)
	for i, want := range []string{"0", "0", "0", "1"} {
		if got := k.ask(t); got != want {
			t.Errorf("call %d of the daemon: %s, want %s", i, got, want)
		}
	}
	select {
	case <-p.Done():
		t.Error("done before the daemon's end")
	default:
	}
	k.in.Close()
	<-p.Done()
}

// The first thread of a process may end long before it does.
func TestTracedTargetWhoseFirstThreadEnds(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	leaving(t)
	for end, want := range map[string]string{"os._exit(7)": "exit status 7", "os.kill(os.getpid(), 9)": "signal: killed"} {
		together(5, func(int) {
			r := run(t, exec.Command(python, "-c", `
import ctypes, os, threading
def outlive():
    while b") Z " not in open("/proc/self/task/%d/stat" % os.getpid(), "rb").read(): pass
    try: open("/secret")
    except PermissionError: print("outlived", flush=True)
    `+end+`
threading.Thread(target=outlive).start()
ctypes.CDLL(None).syscall(60, 0)
`), Options{}, traced(t, "open"))
			if r.state == nil || r.state.String() != want || r.out != "outlived\n" {
				t.Errorf("%v, %q: expected %s", r.state, r.out, want)
			}
			if p := r.state.Pid(); p <= 0 {
				t.Errorf("process %d", p)
			}
		})
	}
}

func TestTracedThreads(t *testing.T) {
	leaving(t)
	r := run(t, victim("opens", "16", "100"), Options{}, traced(t, "open"))
	if r.state.ExitCode() != 9 || r.out != "1600 opened, 1600 denied\n" {
		t.Errorf("%v, %q", r.state, r.out)
	}
}

// opens has many threads open what they may and what they may not.
func opens(args []string) int {
	threads, times := 0, 0
	_, _ = fmt.Sscan(strings.Join(args, " "), &threads, &times)
	outcomes := make(chan syscall.Errno, threads)
	for i := 0; i < threads; i++ {
		go func() {
			for j := 0; j < times; j++ {
				for _, path := range []string{"/etc/passwd", "/secret"} {
					outcomes <- opened(path)
				}
			}
		}()
	}
	count := map[syscall.Errno]int{}
	for i := 0; i < 2*threads*times; i++ {
		count[<-outcomes]++
	}
	fmt.Printf("%d opened, %d denied\n", count[0], count[syscall.EACCES])
	return 9
}

func opened(path string) syscall.Errno {
	f, err := os.Open(path)
	var errno syscall.Errno
	if err == nil {
		f.Close()
	}
	errors.As(err, &errno)
	return errno
}

// Others' children send their SIGCHLD, and are waited for, as without any target.
func TestTracingDisturbsNoOtherChildren(t *testing.T) {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGCHLD)
	signal.Stop(ends) // what package signal has begun by now it never ends
	leaving(t)
	cmd := victim("echo")
	k, done := pipes(t, cmd)
	p, err := Start(&Stack{[]Filter{traced(t, "open")}}, cmd, Options{Engine: Agent, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	done()
	k.line(t)
	for i := 0; i < 20; i++ {
		signal.Notify(ends, syscall.SIGCHLD)
		plain(t, i)
		<-ends
		signal.Stop(ends)
	}
	together(10, func(i int) {
		other := exec.Command("/bin/sh", "-c", "kill -STOP $$; exit 4")
		if err := other.Start(); err != nil {
			t.Error(err)
			return
		}
		var w syscall.WaitStatus
		if _, err := syscall.Wait4(other.Process.Pid, &w, syscall.WUNTRACED, nil); err != nil || !w.Stopped() {
			t.Errorf("a child that stops: %v, %v", w, err)
		}
		_ = other.Process.Signal(syscall.SIGCONT)
		if err := other.Wait(); other.ProcessState.ExitCode() != 4 {
			t.Errorf("a child that was stopped: %v", err)
		}
	})
	k.in.Close()
	if state, err := p.Wait(); err != nil || !state.Success() {
		t.Errorf("%v, %v", state, err)
	}
	<-p.Done()
}

func TestTracedStart(t *testing.T) {
	leaving(t)
	for path, want := range map[string]error{"/nonexistent": syscall.ENOENT, "/etc/passwd": syscall.EACCES} {
		_, err := Start(&Stack{[]Filter{traced(t, "open")}}, exec.Command(path), Options{Engine: Agent})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	for script, want := range map[string]string{
		"exit 0": "exit status 0", "exit 125": "exit status 125", "exit 126": "exit status 126", "exit 127": "exit status 127",
		"exit 255": "exit status 255", "kill -TERM $$": "signal: terminated", "kill -KILL $$": "signal: killed",
		"(kill -STOP $$; kill -CONT $$) & wait; exit 6": "exit status 6",
	} {
		if r := run(t, sh("ulimit -c 0; "+script), Options{}, traced(t, "open")); r.state.String() != want {
			t.Errorf("%s: %v, want %s", script, r.state, want)
		}
	}
}
