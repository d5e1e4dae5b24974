//go:build linux && amd64

package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

const token = 0x1122334455667788

// filter exempts the launch and answers every other execveat and execve with
// verdict; all else is allowed.
func filter(verdict abi.Verdict) []sys.FilterInsn {
	const args5 = abi.OffArgs + 5*8
	return []sys.FilterInsn{
		{Code: 0x20, K: abi.OffNr},
		{Code: 0x15, Jt: 1, K: 322},       // execveat
		{Code: 0x15, Jt: 4, Jf: 5, K: 59}, // execve
		{Code: 0x20, K: args5},
		{Code: 0x15, Jf: 2, K: token & 0xffffffff},
		{Code: 0x20, K: args5 + 4},
		{Code: 0x15, Jt: 1, K: token >> 32},
		{Code: 0x06, K: uint32(verdict)},
		{Code: 0x06, K: uint32(abi.Allow)},
	}
}

func static() Config {
	return Config{Filter: filter(abi.Errno(7)), Token: token}
}

func TestLaunchIsExemptAndTheTargetIsNot(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", "echo started; /bin/true; echo $?")
	cmd.Stdout, cmd.Stderr = &out, &out
	if fd, err := Start(cmd, static()); err != nil || fd != -1 {
		t.Fatalf("listener %d: %v", fd, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "started\n") || !strings.Contains(got, "Argument list too long") {
		t.Errorf("the target printed %q: expected E2BIG from its execve", got)
	}
}

func TestTargetGetsWhatItWasGiven(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", `echo "$0|$1|$X|$PWD"; ulimit -n; cat <&3; for f in /proc/$$/fd/*; do echo ${f##*/}; done`, "zero", "o\xffne")
	cmd.Env, cmd.Dir, cmd.ExtraFiles = []string{"X=y"}, "/usr", []*os.File{r}
	fmt.Fprint(w, "from 3\n")
	w.Close()
	cfg := static()
	cfg.Filter = []sys.FilterInsn{{Code: 6, K: uint32(abi.Allow)}}
	out, err := startOutput(cmd, cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	fmt.Fprint(w, "from 3\n")
	w.Close()
	plain := exec.Command(cmd.Path, cmd.Args[1:]...)
	plain.Env, plain.Dir, plain.ExtraFiles = cmd.Env, cmd.Dir, []*os.File{again}
	want, err := plain.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, "zero|o\xffne|y|/usr\n") || out != string(want) {
		t.Errorf("the target printed\n%q, want\n%q", out, want)
	}
}

func startOutput(cmd *exec.Cmd, cfg Config) (string, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	if _, err := Start(cmd, cfg); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// A filtered thread that ran a signal handler would have to return from it.
func TestEveryCallMayBeDenied(t *testing.T) {
	cfg := static()
	cfg.Filter = filter(abi.KillProcess)
	cfg.Filter[2] = sys.FilterInsn{Code: 0x05, K: 4} // every call but the launch
	cmd := exec.Command("/bin/true")
	if _, err := Start(cmd, cfg); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Errorf("a target whose first call kills: %v, want SIGSYS", err)
	}
}

func TestListenerArrives(t *testing.T) {
	cfg := static()
	cfg.Filter, cfg.Listen = filter(abi.UserNotif), ListenProbe
	cmd := exec.Command("/bin/sh", "-c", "exec /bin/true")
	fd, err := Start(cmd, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	var n sys.Notif
	if err := sys.NotifRecv(fd, &n); err != nil {
		t.Fatal(err)
	}
	d := abi.Data(n.Data)
	if int(n.Pid) != cmd.Process.Pid || d.Nr != 59 {
		t.Errorf("notified of call %d by %d: expected execve by %d", d.Nr, n.Pid, cmd.Process.Pid)
	}
	if err := sys.NotifSend(fd, &sys.NotifResp{ID: n.ID, Flags: sys.NotifContinue}); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if sys.Dumpable() {
		t.Error("the supervisor can be traced by the target's user")
	}
}

func TestFailuresToExecuteAreThoseOfExec(t *testing.T) {
	script := t.TempDir() + "/no-interpreter"
	if err := os.WriteFile(script, []byte("neither ELF nor script"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/nonexistent": syscall.ENOENT, "/etc/passwd": syscall.EACCES,
		"/etc": syscall.EACCES, script: syscall.ENOEXEC,
	} {
		for _, l := range []Listen{ListenNone, ListenProbe} {
			for how, start := range starters {
				cfg := static()
				cfg.Listen = l
				_, err := start(&exec.Cmd{Path: path}, cfg)
				var pe *fs.PathError
				if !errors.As(err, &pe) || pe.Path != path || pe.Err != want {
					t.Errorf("%s, listen %v, %s: %v, want %v", path, l, how, err, want)
				}
			}
		}
	}
}

func TestFilterTheKernelRefuses(t *testing.T) {
	cfg := static()
	cfg.Filter = cfg.Filter[:1]
	_, err := Start(exec.Command("/bin/true"), cfg)
	var ie *InstallError
	if !errors.As(err, &ie) || ie.Err != syscall.EINVAL {
		t.Errorf("a filter without a return: %v, want EINVAL", err)
	}
}

func TestForeignListener(t *testing.T) {
	cfg := static()
	cfg.Filter, cfg.Listen = filter(abi.Errno(1)), ListenProbe
	cmd := exec.Command(self, "-test.run=^TestLaunchUnderListener$", "-test.v")
	cmd.Env = append(os.Environ(), "UNDER_LISTENER=1")
	cfg.Filter = []sys.FilterInsn{{Code: 6, K: uint32(abi.Allow)}}
	var out bytes.Buffer
	cmd.Stdout = &out
	fd, err := Start(cmd, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: TestLaunchUnderListener") {
		t.Errorf("%v:\n%s", err, &out)
	}
}

func TestLaunchUnderListener(t *testing.T) {
	if os.Getenv("UNDER_LISTENER") == "" {
		return // TestForeignListener runs it
	}
	cfg := static()
	cfg.Listen = ListenProbe
	_, err := Start(exec.Command("/bin/true"), cfg)
	var ie *InstallError
	if !errors.As(err, &ie) || !ie.Foreign() || !strings.Contains(ie.Error(), "already runs under a seccomp listener") {
		t.Errorf("a second listener: %v, want EBUSY explained", err)
	}
	cfg.Listen = ListenNone
	cmd := exec.Command("/bin/true")
	if _, err := Start(cmd, cfg); err != nil || cmd.Wait() != nil {
		t.Errorf("a static filter under a listener: %v", err)
	}
}

func TestCaughtSignalsAreDefaultAndIgnoredOnesStay(t *testing.T) {
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGUSR2)
	out, err := startOutput(exec.Command("/bin/grep", "-E", "^Sig(Ign|Cgt|Blk)", "/proc/self/status"), static())
	if err != nil {
		t.Fatal(err)
	}
	want, err := exec.Command("/bin/grep", "-E", "^Sig(Ign|Cgt|Blk)", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	if out != string(want) {
		t.Errorf("the target's signals are\n%swithout a filter they are\n%s", out, want)
	}
}

func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: the other tests ran without it")
	}
	cmd := exec.Command("/usr/bin/id", "-u")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	if out, err := startOutput(cmd, static()); err != nil || out != "65534\n" {
		t.Errorf("as nobody: %q, %v", out, err)
	}
}

func TestRefusedAttributes(t *testing.T) {
	for _, a := range []*syscall.SysProcAttr{{Chroot: "/"}, {Ptrace: true}} {
		if _, err := Start(&exec.Cmd{Path: "/bin/true", SysProcAttr: a}, static()); err == nil {
			t.Errorf("%+v was accepted", a)
		}
	}
}

// TestExecInPlace runs itself as the process that is to become the target.
func TestExecInPlace(t *testing.T) {
	for path, want := range map[string]string{
		"/bin/sh":      "in place: 7\n",
		"/nonexistent": "exec /nonexistent: no such file or directory\n",
		"/etc":         "exec /etc: permission denied\n",
		"/etc/passwd":  "exec /etc/passwd: permission denied\n",
	} {
		cmd := exec.Command(self, "-test.run=^TestExecStage$")
		cmd.Env = append(os.Environ(), "EXEC_IN_PLACE="+path)
		var out bytes.Buffer
		cmd.Stdout = &out
		_ = cmd.Run()
		if out.String() != want {
			t.Errorf("%s: %q, want %q", path, &out, want)
		}
	}
}

func TestExecStage(t *testing.T) {
	path := os.Getenv("EXEC_IN_PLACE")
	if path == "" {
		return // TestExecInPlace runs it
	}
	argv := []string{"sh", "-c", "/bin/true 2>/dev/null; test $? = 126 && echo in place: 7"}
	fmt.Println(Exec(path, argv, os.Environ(), static()))
	os.Exit(1)
}

// What is only known later is printed by the stage, which exits as a shell does.
func TestExecThatFailsLate(t *testing.T) {
	if path := os.Getenv("EXEC_LATE"); path != "" {
		cfg := static()
		if path == "/bin/true" {
			cfg.Filter = cfg.Filter[:1] // which the kernel refuses
		}
		fmt.Println(Exec(path, []string{path}, nil, cfg))
		os.Exit(1)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path, want string
		status     int
	}{
		{file("garbage", "neither ELF nor script"), "exec format error", 126},
		{file("script", "#!/nowhere/at/all\n"), "no such file or directory", 127},
		{"/bin/true", "installing the filter: invalid argument", 125},
	} {
		cmd := exec.Command(self, "-test.run=^TestExecThatFailsLate$")
		cmd.Env = append(os.Environ(), "EXEC_LATE="+c.path)
		out, _ := cmd.CombinedOutput()
		if want := "portcullis: exec " + c.path + ": " + c.want + "\n"; string(out) != want || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("status %d, %q: expected %d, %q", cmd.ProcessState.ExitCode(), out, c.status, want)
		}
	}
}

func TestDeathSignalBelongsToTheThreadThatExecutes(t *testing.T) { diesWithItsParent(t, nil) }

func diesWithItsParent(t *testing.T, user *syscall.Credential) {
	for how, start := range starters {
		cmd := exec.Command("/bin/sh", "-c", "read x")
		in, _ := cmd.StdinPipe()
		defer in.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGUSR1, Credential: user}
		var wait func() error
		done := make(chan error, 1)
		go onMortalThread(func() {
			var err error
			wait, err = start(cmd, allowing())
			done <- err
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := wait(); err == nil || err.Error() != "signal: user defined signal 1" {
			t.Errorf("%s: after its parent's thread died: %v", how, err)
		}
	}
}

// onMortalThread runs f on a thread that ends with it. The main thread never
// does: where it is on that, it keeps it meanwhile.
func onMortalThread(f func()) {
	runtime.LockOSThread() // and never unlocked
	if sys.Gettid() != os.Getpid() {
		f()
		return
	}
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		runtime.LockOSThread()
		f()
	}()
	<-ran
}

// What this process lacks is not said of the target.
func TestNoProcessLeft(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to be another user for whom there is a limit")
	}
	const user = 54321 // who has no process
	if os.Getenv("NO_PROCESS_LEFT") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoProcessLeft$", "-test.v")
		cmd.Env = append(os.Environ(), "NO_PROCESS_LEFT=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	if err := syscall.Setrlimit(6, &syscall.Rlimit{Cur: 0, Max: 0}); err != nil { // RLIMIT_NPROC
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/true")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	_, err := Start(cmd, static())
	var ie *InstallError
	if !errors.As(err, &ie) || ie.Err != syscall.EAGAIN || !strings.Contains(ie.Error(), "ulimit -u") {
		t.Errorf("%v: expected an InstallError with the limit", err)
	}
}
