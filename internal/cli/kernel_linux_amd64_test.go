package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/guest"
	"portcullis/internal/kit"
	"portcullis/internal/sys"
)

// hostOfGuests is the command as it is built for users, in a directory of its own.
type hostOfGuests struct{ path, image string }

// newHostOfGuests builds it; the test is skipped where no guest can be booted.
func newHostOfGuests(t *testing.T) *hostOfGuests {
	t.Helper()
	image, err := guest.Image()
	if err != nil {
		t.Skipf("%v", err)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs qemu-system-x86_64: apt-get install qemu-system-x86")
	}
	// What passed is remembered while these are the same.
	for _, dir := range []string{"../../linux", "../../linux/patches", "../../cmd/portcullis"} {
		if _, err := os.ReadDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	return &hostOfGuests{buildCommand(t), image}
}

func buildCommand(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: to build the command")
	}
	path := filepath.Join(t.TempDir(), "portcullis")
	build := exec.Command("go", "build", "-o", path, "../../cmd/portcullis")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	switch {
	case err != nil && os.Getuid() != 0:
		t.Skipf("needs root: this user cannot build cmd/portcullis: %v: %s", err, out)
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// kernel is portcullis kernel ARGS..., run in dir.
func (h *hostOfGuests) kernel(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(h.path, append([]string{"kernel"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), guest.KernelEnv+"="+h.image, "PS1=ready> ", "ENV=", "LC_ALL=C")
	return cmd
}

// guestLimit ends a guest that hangs.
const guestLimit = "--timeout=8m"

// ended runs cmd, which is to end with a status.
func ended(t *testing.T, cmd *exec.Cmd, want int) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("%q: exit status %d, expected %d\n%s%s", cmd.Args[1:], got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// folderOf makes a folder with a file, which everybody may write to.
func folderOf(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// users are the two that guests run commands as.
var users = map[string]int{"root": 0, "nobody": guest.Nobody}

// TestKernelCommands boots guests by the command that users have.
func TestKernelCommands(t *testing.T) {
	h := newHostOfGuests(t)
	for name, uid := range users {
		t.Run("run as "+name, func(t *testing.T) { kernelRun(t, h, uid) })
		t.Run("engine as "+name, func(t *testing.T) { kernelEngine(t, h, uid) })
	}
	t.Run("statuses", func(t *testing.T) { kernelStatuses(t, h) })
	t.Run("script", func(t *testing.T) { kernelScript(t, h) })
	t.Run("terminal", func(t *testing.T) { kernelTerminal(t, h) })
}

// kernelRun passes a command's input, outputs, status and folders through a guest.
func kernelRun(t *testing.T, h *hostOfGuests, uid int) {
	if uid == 0 && !kit.Wide() {
		t.Skip("runs where PORTCULLIS_WIDE is set")
	}
	here, shared := folderOf(t, "mine\n"), folderOf(t, "")
	cmd := h.kernel(here, "run", guestLimit, "--uid", strconv.Itoa(uid), "--share", shared, "--", "sh", "-c",
		`cat file -; pwd; id -u; echo aside >&2; (echo x >new) 2>/dev/null || echo read-only; echo from inside >"$0"/out; exit 7`, shared)
	cmd.Stdin = strings.NewReader("typed\n")
	out, errs := ended(t, cmd, 7)
	if want := "mine\ntyped\n" + here + "\n" + strconv.Itoa(uid) + "\nread-only\n"; out != want {
		t.Errorf("stdout %q, expected %q", out, want)
	}
	if errs != "aside\n" {
		t.Errorf("stderr %q, expected what the command wrote there alone", errs)
	}
	if text, err := os.ReadFile(filepath.Join(shared, "out")); string(text) != "from inside\n" {
		t.Errorf("%q, %v in the share: expected what the guest wrote", text, err)
	}
	if _, err := os.Stat(filepath.Join(here, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: expected that a guest writes to shares alone", err)
	}
}

// kernelStatuses tells commands that are not there, or that a signal ends, from guests that fail.
func kernelStatuses(t *testing.T, h *hostOfGuests) {
	if !kit.Wide() {
		t.Skip("runs where PORTCULLIS_WIDE is set")
	}
	dir := folderOf(t, "")
	_, errs := ended(t, h.kernel(dir, "run", guestLimit, "--", "no-such-command"), exitNotFound)
	if !strings.Contains(errs, "no-such-command") {
		t.Errorf("stderr %q: expected the command's name", errs)
	}
	ended(t, h.kernel(dir, "run", guestLimit, "--", "./file"), exitCannotInvoke)
	ended(t, h.kernel(dir, "run", guestLimit, "--", "sh", "-c", "kill -TERM $$"), 128+int(syscall.SIGTERM))
}

// limits has real programs make calls under a filter that lets the first of them pass, on the
// engine that it names, on one that run chooses, and on the agent, which alone tells of denials.
// Without reports, what the kernel enforces takes the place of run, and leaves nobody behind;
// the agent stays and decides. What it says could come in the midst of what mkdir says.
const limits = `
one='-f count --set calls=mkdir --set max=1'
cd /tmp
portcullis doctor | grep -c '^kernel *yes'
portcullis run --engine kernel $one -- mkdir a b; echo "kernel: $?"
portcullis run $one -- mkdir c d; echo "chosen: $?"
portcullis run --engine agent $one -- sh -c 'mkdir e f 2>/dev/null'; echo "agent: $?"
echo [a-f]
portcullis run -q $one -- sh -c 'cat /proc/$PPID/comm'
portcullis run -q --engine auto $one -- sh -c 'cat /proc/$PPID/comm'
portcullis run -q --engine agent $one -- sh -c 'cat /proc/$PPID/comm'
portcullis run -q --engine kernel -f no-exec -- sh -c 'echo started; exec true'; echo "no-exec: $?"
`

// kernelEngine enforces on the kernel engine, by the command alone.
func kernelEngine(t *testing.T, h *hostOfGuests, uid int) {
	out, errs := ended(t, h.kernel(folderOf(t, ""), "run", guestLimit, "--uid", strconv.Itoa(uid), "--", "sh", "-c", limits), 0)
	want := "1\nkernel: 1\nchosen: 1\nagent: 1\na c e\nsh\nsh\nportcullis\nstarted\nno-exec: 126\n"
	if out != want {
		t.Errorf("stdout %q, expected %q", out, want)
	}
	for text, n := range map[string]int{
		"the kernel engine reports no events": 2, "portcullis: denied mkdir(": 1,
		"mkdir: cannot create directory 'b': Operation not permitted": 1,
		"mkdir: cannot create directory 'd': Operation not permitted": 1,
		"complained": 0,
	} {
		if got := strings.Count(errs, text); got != n {
			t.Errorf("stderr has %q %d times, expected %d\n%s", text, got, n, errs)
		}
	}
}

// kernelScript gives a shell in a guest a script.
func kernelScript(t *testing.T, h *hostOfGuests) {
	cmd := h.kernel(folderOf(t, "mine\n"), "shell", "--uid", strconv.Itoa(guest.Nobody))
	cmd.Stdin = strings.NewReader("cat file\nid -u\nexit 4\n")
	if out, _ := ended(t, cmd, 4); out != "mine\n65534\n" {
		t.Errorf("stdout %q, expected the outputs of the script's commands", out)
	}
}

// kernelTerminal types at one.
func kernelTerminal(t *testing.T, h *hostOfGuests) {
	cmd := h.kernel(folderOf(t, "mine\n"), "shell")
	master, tty, err := sys.OpenTerminal()
	if err != nil {
		t.Skip("needs pseudo-terminals: " + err.Error())
	}
	defer master.Close()
	defer tty.Close()
	if err := sys.SetTerminalSize(int(master.Fd()), sys.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close() // so that the end of the command is the end of what is read
	seen := typed(master, "cat file; stty size; tty; echo $((6*7)); exit 9\n")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 9 {
		t.Errorf("exit status %d, expected 9", got)
	}
	if want := "mine\n33 101\n/dev/pts/0\n42\n"; !strings.Contains(seen, want) {
		t.Errorf("the terminal shows %q, expected %q", seen, want)
	}
}

// typed types a line at the first prompt, and returns all that is seen until the end.
func typed(master *os.File, line string) string {
	var seen strings.Builder
	var buf [4096]byte
	for at := false; ; {
		n, err := master.Read(buf[:])
		seen.Write(buf[:n])
		if !at && strings.Contains(seen.String(), "ready> ") {
			at = true
			_, _ = master.WriteString(line)
		}
		if err != nil {
			return strings.ReplaceAll(seen.String(), "\r", "")
		}
	}
}
