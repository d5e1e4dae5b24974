//go:build linux && amd64

package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis"
)

// noExec is what the mode "again" prints where nothing can be executed.
func noExec() []string {
	return []string{"execve EPERM", "execveat EPERM", "token -1 EPERM", "empty path EPERM", "fork EPERM", "vfork EPERM"}
}

// traced is a stack whose target is launched by a tracer: it shows itself to that, which
// puts the token into it. What the attacks open is not judged.
const traced = "pinned:structures; no-exec"

// TestLaunchIsOnce attacks the promise that only the launch is exempt: whoever
// executes again is denied, whatever stands in execveat's last register, on
// stacks that the kernel decides and on such that the supervisor does.
func TestLaunchIsOnce(t *testing.T) {
	expect(t, "no-exec", "again", noExec()...)
	expect(t, "count-exec max=0", "again", noExec()...)
	expect(t, "no-exec; global-count", "again", noExec()...)
	for _, stack := range []string{traced, "pinned:paths; no-exec"} {
		expect(t, stack, "again", noExec()...)
	}
}

// TestTokenIsNotLeftBehind attacks the promise that the launch's token is known
// to the prefilter alone. The attacker tries every eight bytes that it finds in
// registers, stack, data, vdso and in /proc as one.
func TestTokenIsNotLeftBehind(t *testing.T) {
	expect(t, "no-exec", "find-token", "tried much, not found")
	expect(t, traced, "find-token", "tried much, not found")
}

// TestTokenIsFoundWhereItIs shows that the attack above would find a token: in
// an environment that says it.
func TestTokenIsFoundWhereItIs(t *testing.T) {
	cmd := command(t, "allow", attacker(t), "find-token")
	if got := run(t, cmd); got.out != "escaped" {
		t.Errorf("%+v: expected the first execveat to succeed", got)
	}
}

// TestFilterCannotBeRead attacks the promise that the prefilter, in which the
// token stands, cannot be read by who runs under it, not even by root.
func TestFilterCannotBeRead(t *testing.T) {
	expect(t, "no-exec", "read-filter", "EACCES")
	expect(t, "count-exec", "read-filter", "EACCES")
}

// TestNoDescriptorIsInherited attacks the promise that the target inherits its
// streams and ExtraFiles and nothing of the engine's, above all no listener and
// no socket of the launch. As with os/exec it does inherit what this process was
// itself started with, so that is put aside first.
func TestNoDescriptorIsInherited(t *testing.T) {
	putAsideInherited()
	for _, stack := range []string{"no-exec", "count-exec", traced} {
		expect(t, stack, "files", "0 1 2")
		cmd := command(t, stack, attacker(t), "files")
		cmd.ExtraFiles = []*os.File{os.Stdin, nil, os.Stdin}
		if got := run(t, cmd); got.out != "0 1 2 3 5" {
			t.Errorf("%s with extra files: %+v", stack, got)
		}
	}
}

func putAsideInherited() {
	for fd := 3; fd < 256; fd++ {
		syscall.CloseOnExec(fd)
	}
}

// TestParallelLaunches attacks the same promise by launches at the same time,
// each of which has files that the others must not inherit.
func TestParallelLaunches(t *testing.T) {
	putAsideInherited()
	path := attacker(t)
	got := make(chan string)
	const launches = 8
	for i := 0; i < launches; i++ {
		stack := []string{"no-exec", "count-exec"}[i%2]
		cmd := command(t, stack, path, "files")
		go func() {
			out, err := cmd.Output()
			got <- fmt.Sprintf("%s %v", strings.TrimSpace(string(out)), err)
		}()
	}
	for i := 0; i < launches; i++ {
		if line := <-got; line != "0 1 2 <nil>" {
			t.Errorf("files and error of a launch: %q, expected 0 1 2 <nil>", line)
		}
	}
}

// TestStateOfTheTarget attacks the promises that the target starts as it would
// without a filter, with one thread, no signal blocked and none more ignored, but cannot
// gain privileges.
func TestStateOfTheTarget(t *testing.T) {
	for _, stack := range []string{"no-exec", "count-exec"} {
		expect(t, stack, "privileges", "NoNewPrivs 1", "Seccomp 2", "Threads 1", "TracerPid 0",
			"SigBlk 0000000000000000", ignored(t), "clear EINVAL")
	}
}

// ignored is the line on the signals this process was started to ignore, as
// under nohup: a target inherits them as without a filter.
func ignored(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:\t")
	mask, _, _ := strings.Cut(rest, "\n")
	return "SigIgn " + mask
}

// TestSetuidGainsNothing attacks the promise that no program gives a target
// another identity.
func TestSetuidGainsNothing(t *testing.T) {
	setuid := made.File("setuid")
	if info, err := os.Stat(setuid); err != nil || info.Mode()&os.ModeSetuid == 0 || os.Getuid() == 0 {
		t.Skip("runs in TestAsNobody, which root starts")
	}
	for _, stack := range []string{"allow", "count-exec"} {
		got := attack(t, stack, "privileges", setuid)
		if !strings.HasSuffix(got.out, "\nsame user") {
			t.Errorf("%s: %+v", stack, got)
		}
	}
}

// TestFailedLaunch attacks the promise that nothing runs where the target cannot
// be executed, and that the error is execve's own.
func TestFailedLaunch(t *testing.T) {
	reapOrphans()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		path, arg string
		want      syscall.Errno
	}{
		{filepath.Join(dir, "absent"), "", syscall.ENOENT},
		{file("plain", "", 0o644), "", syscall.EACCES},
		{dir, "", syscall.EACCES},
		{file("garbage", "\x7fnothing", 0o755), "", syscall.ENOEXEC},
		{file("interpreted", "#!/nowhere/at/all\n", 0o755), "", syscall.ENOENT},
		{"/bin/true", long, syscall.E2BIG},
	} {
		for _, stack := range []string{"no-exec", "count-exec"} {
			failedLaunch(t, stack, c.path, c.arg, c.want)
		}
	}
}

// reapOrphans collects what earlier attacks left to this process, their subreaper.
func reapOrphans() {
	for err := error(nil); err == nil; {
		_, err = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
	}
}

func failedLaunch(t *testing.T, stack, path, arg string, want syscall.Errno) {
	t.Helper()
	cmd := command(t, stack, path, arg)
	err := cmd.Start()
	var at *fs.PathError
	if !errors.Is(err, want) || !errors.As(err, &at) || at.Path != path {
		t.Errorf("%s under %s: %v, expected %v of that path", path, stack, err, want)
	}
	if err == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("%s under %s: child %d is left (%v), expected none", path, stack, pid, err)
	}
}

// TestBrokenProgram attacks the same promise with a program that execve finds
// out to be broken only after it has given up the old one.
func TestBrokenProgram(t *testing.T) {
	whole, err := os.ReadFile(attacker(t))
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, whole[:4096], 0o755); err != nil {
		t.Fatal(err)
	}
	for _, stack := range []string{"no-exec", "count-exec"} {
		cmd := command(t, stack, broken)
		if err := cmd.Run(); err == nil || cmd.ProcessState != nil && !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			t.Errorf("%s: %v, %v: expected an error, or death by a signal", stack, err, cmd.ProcessState)
		}
	}
}

// TestGuardOfListenersStays attacks the promise that no installer can lift the
// guard that keeps other listeners away.
func TestGuardOfListenersStays(t *testing.T) {
	for _, guard := range []string{"listener", "arch", "launch", "", "I386"} {
		cmd := command(t, "global-count", "/bin/true")
		cmd.Lift = []string{guard}
		if err := cmd.Run(); err == nil || cmd.Process != nil {
			t.Errorf("lift %q: %v: expected a refusal before anything runs", guard, err)
		}
	}
}

// TestOneGuardLifted attacks the promise that lifting a guard lifts no other.
func TestOneGuardLifted(t *testing.T) {
	for _, c := range []struct {
		lift, door string
		want       result
	}{
		{"x32", "int80", result{"", sigsys}},
		{"i386", "number 0x4000006e", result{"", sigsys}},
		{"i386", "number 425", result{"ENOSYS", 0}},
		{"i386", "int80", result{"escaped", 0}},
		{"x32", "number 0x4000006e", result{"ENOSYS", 0}}, // where the kernel has no x32
	} {
		cmd := command(t, "allow", attacker(t), strings.Fields(c.door)...)
		cmd.Lift = []string{c.lift}
		got := run(t, cmd)
		if c.lift == "x32" && got.out == "ok" { // where it has
			got.out = "ENOSYS"
		}
		if got != c.want {
			t.Errorf("%s lifted, %s: %+v, expected %+v", c.lift, c.door, got, c.want)
		}
	}
}

// TestExecInPlace attacks the same promises where the calling process becomes the
// target: it is filtered as a whole, executes once, and leaves no token behind.
func TestExecInPlace(t *testing.T) {
	for mode, want := range map[string]string{
		"again":      strings.Join(noExec(), "\n"),
		"find-token": "tried much, not found",
		"files":      "0 1 2",
		"privileges": "NoNewPrivs 1\nSeccomp 2\nThreads 1\nTracerPid 0\nSigBlk 0000000000000000\n" + ignored(t) + "\nclear EINVAL",
	} {
		if mode == "find-token" && *engine == "kernel" {
			continue // which has none
		}
		putAsideInherited()
		if got := apart(t, become, "no-exec", mode); got.out != want {
			t.Errorf("%s: %+v, expected %s", mode, got, want)
		}
	}
}

// TestExecRefusesState attacks the promise that a stack with state never runs
// without a supervisor.
func TestExecRefusesState(t *testing.T) {
	cmd := command(t, "global-count", "/bin/true")
	var dynamic *portcullis.DynamicError
	if err := cmd.Exec(); !errors.As(err, &dynamic) {
		t.Errorf("%v: expected a *DynamicError", err)
	}
}
