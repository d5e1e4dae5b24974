package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/sys"
)

// terminal is a shell with job control on a pseudo-terminal that echoes nothing.
type terminal struct {
	t      *testing.T
	shell  *exec.Cmd
	master *os.File
	mu     sync.Mutex
	seen   string        // and not yet expected
	more   chan struct{} // has an element when there is more
}

// hung is how long a terminal may be silent before that counts as a hang.
const hung = 60 * time.Second

// newTerminal has the command portcullis in its PATH, and $TRACED and $STATE: filters
// that are traced, and that keep state.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	needTracing(t)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	master, tty, err := sys.OpenTerminal()
	if err != nil {
		t.Skip("needs pseudo-terminals: " + err.Error())
	}
	defer tty.Close()
	x := &terminal{t: t, master: master, more: make(chan struct{}, 1)}
	x.shell = exec.Command(bash, "--norc", "--noprofile", "--noediting", "-i")
	x.shell.Dir = t.TempDir()
	x.shell.Stdin, x.shell.Stdout, x.shell.Stderr = tty, tty, tty
	x.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	x.shell.Env = append(os.Environ(), "PS1=<$?>", "PS2=", "HISTFILE=", "PATH="+command(t)+":"+os.Getenv("PATH"),
		"STATE=count --set calls=getppid --set max=1000000", "TRACED="+tracedObject(t)+":open")
	if err := x.shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.close)
	go x.read()
	x.say("stty -echo\n")
	x.expect("stty -echo\r\n")
	x.expect("<0>")
	return x
}

// command is a directory with this binary as the command portcullis.
func command(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	dir := t.TempDir()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "portcullis"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func tracedObject(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../engine/agent/trace/testdata/filters/trace.o")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (x *terminal) read() {
	var buf [4096]byte
	for {
		n, err := x.master.Read(buf[:])
		x.mu.Lock()
		x.seen += string(buf[:n])
		x.mu.Unlock()
		select {
		case x.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (x *terminal) say(format string, args ...any) { fmt.Fprintf(x.master, format, args...) }

// expect waits for text, and returns what came before it.
func (x *terminal) expect(text string) string {
	x.t.Helper()
	for {
		if before, ok := x.take(text); ok {
			return before
		}
		select {
		case <-x.more:
		case <-time.After(hung):
			x.t.Fatalf("the terminal shows %q, expected %q", x.seen, text)
		}
	}
}

func (x *terminal) take(text string) (before string, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, rest, ok := strings.Cut(x.seen, text)
	if ok {
		x.seen = rest
	}
	return before, ok
}

// close hangs up, as a terminal that is closed does.
func (x *terminal) close() {
	_ = syscall.Kill(-x.shell.Process.Pid, syscall.SIGHUP)
	x.master.Close()
	_ = x.shell.Wait()
}

// each runs a test under both kinds of supervisors, whose targets are to differ in nothing.
func each(t *testing.T, f func(t *testing.T, x *terminal, run string)) {
	for _, filter := range []string{"STATE", "TRACED"} {
		t.Run(filter, func(t *testing.T) {
			f(t, newTerminal(t), "portcullis run -q -f $"+filter+" --")
		})
	}
}

const (
	controlC         = "\x03"
	controlZ         = "\x1a"
	controlBackslash = "\x1c"
)

// A command that is stopped at the terminal stops its supervisor, the shell sees it,
// and both go on with fg.
func TestTerminalStops(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		// The command itself reads: where another one does, the kernel may give it, on
		// its way to its stop, a line that is typed for the shell.
		for _, cmd := range []string{
			"bash -c 'echo ready; while read line; do echo \"$line\"; done'", "sh -c 'echo ready; exec cat'",
		} {
			x.say("%s %s\n", run, cmd)
			x.expect("ready\r\n")
			for i := 0; i < 3; i++ {
				x.say("line %d\n", i)
				x.expect(fmt.Sprintf("line %d\r\n", i))
				x.say(controlZ)
				x.expect("Stopped")
				x.expect("<147>") // 128 and SIGSTOP
				x.say("fg\n")
				x.expect(" run ") // what the shell continues
			}
			x.say("again\n")
			x.expect("again\r\n")
			x.say(controlC)
			x.expect("<130>")
		}
	})
}

// So does one that stops itself.
func TestTerminalStopsItself(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		for _, sig := range []string{"STOP", "TSTP"} {
			x.say("%s bash -c 'echo ready; kill -%s $$; echo continued; exit 7'\n", run, sig)
			x.expect("ready\r\n")
			x.expect("Stopped")
			x.expect("<147>")
			x.say("fg\n")
			x.expect("continued\r\n")
			x.expect("<7>")
		}
	})
}

// One in the background that reads the terminal stops, and reads it in the foreground.
func TestTerminalInTheBackground(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		x.say("%s bash -c 'echo ready; read line; echo got $line; exit 8'\n", run)
		x.expect("ready\r\n")
		x.say(controlZ)
		x.expect("<147>")
		x.say("bg; wait %%1\n")
		x.expect("Stopped")
		x.expect(">")
		x.say("fg\n")
		x.expect(" run ")
		x.say("text\n")
		x.expect("got text\r\n")
		x.expect("<8>")
	})
}

// What the terminal sends goes to the command, which may do as it likes with it.
func TestTerminalSignals(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		x.say("%s bash -c 'trap \"echo caught\" INT QUIT TSTP; echo ready; until [ \"$line\" = end ]; do read line; done; exit 9'\n", run)
		x.expect("ready\r\n")
		for _, key := range []string{controlC, controlZ, controlBackslash} {
			x.say(key)
			x.say("\n") // a trap runs when the shell has read a line
			x.expect("caught\r\n")
		}
		x.say("end\n")
		x.expect("<9>")
		x.say("ulimit -c 0; %s cat\n", run)
		x.say("text\n")
		x.expect("text\r\n")
		x.say(controlBackslash)
		x.expect("<131>")
	})
}

// A shell as the command has jobs of its own.
func TestTerminalShellInAShell(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		x.say("PS1='inner<$?>' %s bash --norc --noprofile --noediting -i\n", run)
		x.expect("inner<0>")
		x.say("cat\nline\n")
		x.expect("line\r\n")
		x.say(controlZ)
		x.expect("inner<148>") // 128 and SIGTSTP, of its own job
		x.say("fg\nagain\n")
		x.expect("again\r\n")
		x.say(controlC)
		x.expect("inner<130>")
		x.say("exit 3\n")
		x.expect("<3>")
	})
}

// Statuses that could be taken for those of run are passed on.
func TestTerminalStatuses(t *testing.T) {
	each(t, func(t *testing.T, x *terminal, run string) {
		for _, status := range []int{0, 1, 125, 126, 127, 128, 130, 255} {
			x.say("%s sh -c 'exit %d'\n", run, status)
			x.expect(fmt.Sprintf("<%d>", status))
		}
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGPIPE} {
			x.say("ulimit -c 0; %s sh -c 'kill -%d $$'\n", run, int(sig))
			x.expect(fmt.Sprintf("<%d>", 128+int(sig)))
		}
	})
}

// Whoever continues the supervisor alone means the command.
func TestContinuedSupervisorContinuesTheCommand(t *testing.T) {
	needTracing(t)
	for _, filter := range []string{"count-exec", tracedObject(t) + ":open"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{"portcullis", "run", "-q", "-f", filter, "--", "sh", "-c", "kill -STOP $$; kill -TSTP $$; exit 5"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, sig := range []string{"STOP", "TSTP"} {
			var w syscall.WaitStatus
			if _, err := syscall.Wait4(cmd.Process.Pid, &w, syscall.WUNTRACED, nil); err != nil || !w.Stopped() {
				t.Fatalf("%s: after SIG%s the supervisor has not stopped: %#x, %v", filter, sig, w, err)
			}
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
			t.Errorf("%s: %v, expected exit status 5", filter, err)
		}
	}
}
