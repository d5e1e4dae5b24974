package guest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/guest"
	"portcullis/internal/kit"
	"portcullis/internal/sys"
)

func TestMain(m *testing.M) { guest.Main(m) }

// run runs the command and skips the test where no guest can be booted.
func run(t *testing.T, cmd *guest.Cmd) error {
	t.Helper()
	if cmd.Config.Timeout == 0 {
		cmd.Config.Timeout = 5 * time.Minute
	}
	err := cmd.Run()
	var need *guest.NeedError
	if errors.As(err, &need) {
		t.Skip(need)
	}
	return err
}

// shell is a command that runs a script.
func shell(script string) *guest.Cmd { return guest.Command(guest.Config{}, "sh", "-c", script) }

func TestOutputsAndStatus(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	cmd := shell(`cat; echo "$GREETING" from $(id -u) in $PWD >&2; exit 7`)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "GREETING=hello"}
	cmd.UID = guest.Nobody
	cmd.Stdin = strings.NewReader(strings.Repeat("0123456789abcdef\n", 1<<16))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := run(t, cmd)

	var exit *guest.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.ExitCode() != 7 {
		t.Errorf("error %+v: exit status 7 expected", err)
	}
	if stdout.String() != strings.Repeat("0123456789abcdef\n", 1<<16) {
		t.Errorf("stdout: %d bytes came back, or others than the %d sent", stdout.Len(), 17<<16)
	}
	dir, _ := os.Getwd()
	if want := "hello from 65534 in " + dir + "\n"; stderr.String() != want {
		t.Errorf("stderr %q: %q expected", stderr.String(), want)
	}
	if c := cmd.Complaints(); len(c) > 0 {
		t.Errorf("the kernel complained: %q", c)
	}
}

// The world of the guest: the host's files, none of them writable; /tmp its own,
// the share the host's; loopback up.
func TestWorld(t *testing.T) {
	t.Parallel()
	share := t.TempDir()
	if err := os.Chmod(share, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := shell(`
		test -f guest.go || echo "current directory not visible"
		touch /etc/portcullis-test 2>/dev/null && echo "root is writable"
		ls -A /tmp | grep -v ^Test | grep -vxF "$OWN"
		echo x >/tmp/file || echo "/tmp is not writable"
		echo from the guest >"$SHARE/file" || echo "share is not writable"
		for f in /proc/self/status /sys/kernel /dev/null /dev/ptmx /dev/pts/ptmx /dev/shm /dev/fd/0; do
			test -e $f || echo "no $f"
		done
		test -x ` + guest.Self + ` || echo "no self"
		grep -q '^ *lo:' /proc/net/dev || echo "no lo"
		read state </sys/class/net/lo/flags; test "$state" = 0x9 || echo "lo is not up: $state"
	`)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "SHARE=" + share, "OWN=" + ownBelow(t, "/tmp")}
	cmd.Config.Share = []string{share}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(t, cmd); err != nil || out.Len() > 0 {
		t.Errorf("%+v\n%s", err, out.String())
	}
	text, err := os.ReadFile(filepath.Join(share, "file"))
	if string(text) != "from the guest\n" {
		t.Errorf("the host reads %q, %v from the share", text, err)
	}
}

// ownBelow is the entry of dir that leads to the current directory, which the
// guest shows though it hides dir; "." where the current directory lies elsewhere.
func ownBelow(t *testing.T, dir string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(here, dir+"/")
	if !ok {
		return "."
	}
	own, _, _ := strings.Cut(rest, "/")
	return own
}

// A directory below one that the guest hides, closed to the user from above.
func TestHiddenDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("seen"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := shell("cat file")
	cmd.Dir, cmd.UID = dir, guest.Nobody
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := run(t, cmd); err != nil || out.String() != "seen" {
		t.Errorf("%q, %+v: the file's text expected", out.String(), err)
	}
}

func TestSignalledAndLeftBehind(t *testing.T) {
	t.Parallel()
	// The sleeper holds the outputs open; the guest must end all the same.
	cmd := shell(`sleep 100000 & kill -SEGV $$`)
	err := run(t, cmd)
	var exit *guest.ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGSEGV || exit.ExitCode() != 128+11 {
		t.Errorf("error %+v: SIGSEGV expected", err)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	err := run(t, guest.Command(guest.Config{}, "no-such-command"))
	var start *guest.StartError
	if !errors.As(err, &start) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %+v: a StartError that is ErrNotExist expected", err)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	cmd := shell(`echo alive >/dev/console; exec sleep 100000`)
	cmd.Config.Timeout = 5 * time.Second
	wantFault(t, run(t, cmd), guest.TimedOut, "limit of 5s")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := guest.CommandContext(ctx, guest.Config{}, "sh", "-c", "echo up; exec sleep 100000")
	cmd.Stdout = writerFunc(func([]byte) { cancel() })
	err := run(t, cmd)
	wantFault(t, err, guest.Cancelled, "context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	// SIGQUIT ends a Go program, and the end of init is a panic.
	err := run(t, shell(`kill -QUIT 1; exec sleep 100000`))
	wantFault(t, err, guest.Panicked, "Attempted to kill init")
}

func TestNoBoot(t *testing.T) {
	t.Parallel()
	cmd := shell(`true`)
	cmd.Config.Append = []string{"rdinit=/missing", "init=/missing"}
	err := run(t, cmd)
	wantFault(t, err, guest.Panicked, "Kernel panic - not syncing")
	var m *guest.MachineError
	if errors.As(err, &m) && len(m.Console) < 5 {
		t.Errorf("the console has %d lines: its last ones expected", len(m.Console))
	}
}

func TestNoKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bzImage")
	if err := os.WriteFile(path, []byte("not a kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := shell(`true`)
	cmd.Config.Kernel = path
	wantFault(t, run(t, cmd), guest.BootFailed, "kernel")
}

func wantFault(t *testing.T, err error, fault guest.Fault, text string) {
	t.Helper()
	var m *guest.MachineError
	if !errors.As(err, &m) || m.Fault != fault || !strings.Contains(err.Error(), text) {
		t.Errorf("error %+v: the machine %v expected, with %q", err, fault, text)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// An instruction takes a nanosecond, whatever else the host does: so a turn of a loop
// takes a whole number of them.
func TestCountedClock(t *testing.T) {
	if !kit.Wide() {
		t.Skip("runs where PORTCULLIS_WIDE is set")
	}
	t.Parallel()
	cmd := guest.Command(guest.Config{Clock: guest.Counted}, guest.Self, "-test.run=^TestLoop$", "-test.v")
	out := new(bytes.Buffer)
	cmd.Stdout = out
	if err := run(t, cmd); err != nil {
		t.Fatalf("%s%+v", out, err)
	}
	_, text, _ := strings.Cut(out.String(), "loop took ")
	text, _, _ = strings.Cut(text, "\n")
	took, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	turn := float64(took) / turns
	if whole := math.Round(turn); whole < 2 || whole > 20 || math.Abs(turn-whole) > 0.02*whole {
		t.Errorf("a turn took %.3f ns: expected some whole nanoseconds, one for each instruction", turn)
	}
}

// turns is how often TestLoop's loop turns.
const turns = 100_000

func TestLoop(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs in the guest that TestCountedClock boots")
	}
	best := time.Hour
	for i := 0; i < 20; i++ {
		start := time.Now()
		sum := 0
		for j := 0; j < turns; j++ {
			sum += j ^ sum<<1
		}
		runtime.KeepAlive(sum)
		best = min(best, time.Since(start))
	}
	t.Logf("loop took %v", best)
}

// The running program is found by its name in the guest.
func TestSelfByName(t *testing.T) {
	t.Parallel()
	cmd := guest.Command(guest.Config{}, filepath.Base(os.Args[0]), "-test.run=^TestInside$", "-test.v")
	out := new(bytes.Buffer)
	cmd.Stdout = out
	if err := run(t, cmd); err != nil || !strings.Contains(out.String(), "--- PASS: TestInside") {
		t.Errorf("%+v\n%s", err, out)
	}
}

// Test re-runs this binary; what it runs there is TestInside.
func TestTest(t *testing.T) {
	t.Parallel()
	guest.Test(t, "-test.run=^TestInside$")
}

func TestInside(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs in the guest that TestTest boots")
	}
	if d := guest.Patience(time.Second); d <= time.Second {
		t.Errorf("patience of %v in a guest: more than outside expected", d)
	}
	if uid := os.Getuid(); uid != 0 && uid != guest.Nobody {
		t.Errorf("uid %d", uid)
	}
}

// A TB that records instead of failing.
type recorder struct {
	failed  bool
	skipped string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Logf(f string, a ...any)   {}
func (r *recorder) Errorf(f string, a ...any) { r.failed = true }
func (r *recorder) Fatalf(f string, a ...any) { r.failed = true }
func (r *recorder) Skipf(f string, a ...any)  { r.skipped = fmt.Sprintf(f, a...) }

func TestTestFails(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{"failure": "^TestFailing$", "nothing ran": "^TestNone$"} {
		r := new(recorder)
		guest.TestIn(r, guest.Config{}, 0, "-test.run="+pattern)
		if r.skipped != "" {
			t.Skip(r.skipped)
		}
		if !r.failed {
			t.Errorf("%s: Test did not fail", name)
		}
	}
}

// TestFailing fails in a guest, for TestTestFails to see.
func TestFailing(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs in the guest that TestTestFails boots")
	}
	t.Error("as told")
}

// QEMU must not outlive a program that is killed.
func TestParentKilled(t *testing.T) {
	parent := exec.Command("/proc/self/exe", "-test.run=^TestParent$", "-test.v")
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "guest is up") {
		if _, need, found := strings.Cut(lines.Text(), ": needs "); found {
			t.Skip("needs " + need)
		}
	}
	qemu := child(t, parent.Process.Pid)
	defer syscall.Close(qemu)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, qemu)
}

const parentEnv = "PORTCULLIS_TEST_PARENT"

// TestParent is the program that TestParentKilled kills.
func TestParent(t *testing.T) {
	if os.Getenv(parentEnv) == "" {
		t.Skip("runs in the process that TestParentKilled starts")
	}
	cmd := shell("echo guest is up; exec sleep 100000")
	cmd.Stdout = os.Stdout
	t.Errorf("the guest ended: %v", run(t, cmd))
}

// child opens a pidfd of the only child of pid.
func child(t *testing.T, pid int) int {
	t.Helper()
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		var child int
		if _, err := fmt.Sscan(string(text), &child); err != nil {
			continue
		}
		const pidfdOpen = 434
		fd, _, errno := syscall.Syscall(pidfdOpen, uintptr(child), 0, 0)
		if errno != 0 {
			t.Fatalf("pidfd_open(%d): %v", child, errno)
		}
		return int(fd)
	}
	t.Fatalf("process %d has no child: QEMU expected", pid)
	return -1
}

// awaitExit waits until the process of a pidfd has ended.
func awaitExit(t *testing.T, pidfd int) {
	t.Helper()
	const limit = 30_000
	if ready, _, err := sys.Poll(pidfd, -1, limit); err != nil || ready == 0 {
		t.Fatalf("QEMU lives on %d ms after its parent (%v)", limit, err)
	}
}

// A terminal is connected to one in the guest, with its size, its keys and its
// job control.
func TestTerminal(t *testing.T) {
	master, terminal, err := sys.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	if err := sys.SetTerminalSize(int(master.Fd()), sys.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	cmd := shell(`trap 'stty size; exit 5' WINCH; stty size; tty; echo ready; while :; do sleep 1; done`)
	cmd.TTY = terminal
	cmd.Config.Timeout = 30 * time.Second
	var seen strings.Builder
	done := make(chan bool)
	go func() {
		defer close(done)
		lines := bufio.NewScanner(master)
		for lines.Scan() && strings.TrimSpace(lines.Text()) != "end" {
			seen.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "ready") {
				// Larger; the kernel tells only a terminal's own foreground group.
				_ = sys.SetTerminalSize(int(master.Fd()), sys.Winsize{Rows: 44, Cols: 102})
				_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
			}
		}
	}()
	err = run(t, cmd)
	var exit *guest.ExitError
	if !errors.As(err, &exit) || exit.Code != 5 {
		t.Errorf("error %+v: exit status 5 expected", err)
	}
	// Closing the terminal would not do: the guest's input still reads it.
	_, _ = terminal.WriteString("end\n")
	<-done
	if got, want := strings.ReplaceAll(seen.String(), "\r", ""), "33 101\n/dev/pts/0\nready\n44 102\n"; got != want {
		t.Errorf("saw %q: %q expected", got, want)
	}
}
