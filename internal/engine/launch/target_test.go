//go:build linux && amd64

package launch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// allowing is a filter that says nothing.
func allowing() Config {
	return Config{Filter: []sys.FilterInsn{{Code: 6, K: uint32(abi.Allow)}}, Token: token}
}

// place prints process, group and session by what they have in common.
const place = `read pid comm state ppid group session tty front rest </proc/$$/stat
	test $pid = $group && echo leads its group; test $pid = $session && echo leads its session
	test $front = $group && echo is in front; id -u; id -G; pwd
	grep -E "^(Cap|Sig(Ign|Cgt|Blk))" /proc/self/status; exec ls /proc/self/fd`

// A command is started, or fails to be, as by os/exec.
func TestStartIsThatOfExec(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/program", []byte("#!/bin/sh\necho $0 in $PWD\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	sh := exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", place}, Dir: "/"}
	with := func(change func(c *exec.Cmd)) exec.Cmd {
		c := sh
		change(&c)
		return c
	}
	attr := func(a syscall.SysProcAttr) exec.Cmd { return with(func(c *exec.Cmd) { c.SysProcAttr = &a }) }
	huge := strings.Repeat("x", 100<<10)
	for name, description := range map[string]exec.Cmd{
		"session": attr(syscall.SysProcAttr{Setsid: true}),
		"group":   attr(syscall.SysProcAttr{Setpgid: true}),
		"user": attr(syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{7}},
		}),
		"capabilities": attr(syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{10}, // CAP_NET_BIND_SERVICE
		}),
		"files": with(func(c *exec.Cmd) {
			for i := 0; i < 120; i++ {
				c.ExtraFiles = append(c.ExtraFiles, null)
			}
		}),
		"relative path":        {Path: "./program", Dir: dir},
		"relative to here":     {Path: "./program"},
		"absent directory":     {Path: "/bin/true", Dir: dir + "/absent"},
		"long path":            {Path: "/" + strings.Repeat("p", 5000)},
		"no path":              {},
		"itself":               {Path: self, Args: []string{"itself", "-test.run=^TestNothing$"}},
		"NUL in the path":      {Path: "/bin/true\x00"},
		"NUL in an argument":   {Path: "/bin/true", Args: []string{"true", "a\x00b"}},
		"NUL in a variable":    {Path: "/bin/true", Env: []string{"A=\x00"}},
		"too much environment": {Path: "/bin/true", Env: strings.Fields(strings.Repeat("V"+huge+" ", 2))},
		"too long an argument": {Path: "/bin/true", Args: []string{"true", huge + huge}},
	} {
		if name == "too much environment" {
			for i := 0; i < 100; i++ {
				description.Env = append(description.Env, fmt.Sprintf("V%d=%s", i, huge))
			}
		}
		t.Run(name, func(t *testing.T) { compare(t, description) })
	}
}

// TestNothing is run by a test of starting this program.
func TestNothing(*testing.T) {}

func compare(t *testing.T, description exec.Cmd) {
	if a := description.SysProcAttr; a != nil && (a.Credential != nil || a.AmbientCaps != nil) && os.Getuid() != 0 {
		t.Skip("needs root: to become another user")
	}
	var want bytes.Buffer
	plain := description
	plain.Stdout = &want
	wantErr := plain.Run()
	for how, start := range starters {
		var out bytes.Buffer
		cmd := description
		cmd.Stdout = &out
		wait, err := start(&cmd, allowing())
		if err == nil {
			err = wait()
		}
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || out.String() != want.String() {
			t.Errorf("%s: %v, it printed\n%s\nwant %v,\n%s", how, err, &out, wantErr, &want)
		}
	}
}

// starters start a target without a listener; what they return waits for its end.
var starters = map[string]func(*exec.Cmd, Config) (wait func() error, err error){
	"untraced": func(cmd *exec.Cmd, cfg Config) (func() error, error) {
		_, err := Start(cmd, cfg)
		return cmd.Wait, err
	},
	"traced": func(cmd *exec.Cmd, cfg Config) (func() error, error) {
		tr := newTracer()
		_, err := tr.start(cmd, cfg)
		return func() error { <-tr.done; return cmd.Wait() }, err
	},
}

// TestUserNamespace runs itself, for a process that is dumpable: any other may not
// map users.
func TestUserNamespace(t *testing.T) {
	cmd := &exec.Cmd{
		Path: "/bin/sh", Args: []string{"sh", "-c", place}, Dir: "/", Stdout: os.Stdout,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	}
	if start := starters[os.Getenv("USER_NAMESPACE")]; start != nil {
		wait, err := start(cmd, allowing())
		if err == nil {
			err = wait()
		}
		fmt.Println(err)
		return
	}
	again := func(how string) (string, error) {
		cmd := exec.Command(self, "-test.run=^TestUserNamespace$")
		cmd.Env = append(os.Environ(), "USER_NAMESPACE="+how)
		out, err := cmd.Output()
		return string(out), err
	}
	untraced, err := again("untraced")
	if err != nil || !strings.Contains(untraced, "\n0\n") {
		t.Skipf("needs user namespaces: %v: %s", err, untraced)
	}
	if traced, err := again("traced"); err != nil || traced != untraced {
		t.Errorf("%v:\n%s, and untraced\n%s", err, traced, untraced)
	}
}

// TestForeground runs itself with a terminal of its own.
func TestForeground(t *testing.T) {
	if os.Getenv("FOREGROUND") != "" {
		compare(t, exec.Cmd{
			Path: "/bin/sh", Args: []string{"sh", "-c", place + " | grep front"},
			SysProcAttr: &syscall.SysProcAttr{Foreground: true, Ctty: 0},
		})
		return
	}
	master, terminal, err := sys.OpenTerminal()
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	defer master.Close()
	cmd := exec.Command(self, "-test.run=^TestForeground$", "-test.v")
	cmd.Env, cmd.Stdin = append(os.Environ(), "FOREGROUND=1"), terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out, err := cmd.CombinedOutput()
	terminal.Close()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestForeground") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestDeathSignalOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to become another user")
	}
	diesWithItsParent(t, &syscall.Credential{Uid: 65534, Gid: 65534})
}

// A target in place finds what it would without a filter: open files, their
// limit, signals, environment.
func TestInPlaceIsThatOfExec(t *testing.T) {
	if how := os.Getenv("IN_PLACE"); how != "" {
		signal.Ignore(syscall.SIGUSR2)
		signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1)
		argv := []string{"sh", "-c", `echo "$0|$1|$X"; ulimit -n; ls /proc/$$/fd; exec grep -E "^Sig(Ign|Cgt|Blk)" /proc/self/status`, "zero", "o\xffne"}
		env := []string{"X=y", "PATH=/usr/bin:/bin"}
		if how == "filtered" {
			fmt.Println(Exec("/bin/sh", argv, env, allowing()))
		}
		fmt.Println(syscall.Exec("/bin/sh", argv, env))
		os.Exit(1)
	}
	var printed [2]string
	for i, how := range []string{"filtered", "plain"} {
		cmd := exec.Command(self, "-test.run=^TestInPlaceIsThatOfExec$")
		cmd.Env = append(os.Environ(), "IN_PLACE="+how)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", how, err, out)
		}
		printed[i] = string(out)
	}
	if printed[0] != printed[1] || !strings.HasPrefix(printed[0], "zero|o\xffne|y\n") {
		t.Errorf("printed\n%s, and without a filter\n%s", printed[0], printed[1])
	}
}

// What cannot be executed at all is still an error, and this process as it was.
func TestInPlaceFailsEarly(t *testing.T) {
	long := []string{"true", strings.Repeat("x", 200<<10)}
	for _, c := range []struct {
		path string
		argv []string
		want syscall.Errno
	}{
		{"/bin/true", long, syscall.E2BIG},
		{"/bin/true", []string{"a\x00b"}, syscall.EINVAL},
		{"/bin/true\x00", nil, syscall.EINVAL},
		{"/" + strings.Repeat("p", 5000), nil, syscall.ENAMETOOLONG},
	} {
		err := Exec(c.path, c.argv, nil, allowing())
		if want := fmt.Sprintf("exec %s: %v", c.path, c.want); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if sys.Seccomp() != 0 {
		t.Error("this process is filtered")
	}
}

// The filter that cannot be installed is named, and a stack that is too large.
func TestFilterIsNamed(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cfg := allowing()
	cfg.Programs = []Program{{Name: "limits", File: null}} // which is none
	_, err = Start(exec.Command("/bin/true"), cfg)
	if want := "installing the filter: seccomp(EXTENDED) of limits: invalid argument"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for i := 0; i < 100; i++ {
		cfg.Programs = append(cfg.Programs, cfg.Programs[0])
	}
	_, err = Start(exec.Command("/bin/true"), cfg)
	if err == nil || !strings.Contains(err.Error(), "102 filters of ") || !strings.Contains(err.Error(), "expected at most 64") {
		t.Errorf("%v: the largest stack expected", err)
	}
}

// TestStageEndsWithItsSupervisor runs itself as a supervisor that is killed.
func TestStageEndsWithItsSupervisor(t *testing.T) {
	if step := os.Getenv("SUPERVISOR"); step != "" {
		supervisorUntil(step)
		return
	}
	for _, step := range []string{"begun", "ordered", "listening"} {
		cmd := exec.Command(self, "-test.run=^TestStageEndsWithItsSupervisor$")
		cmd.Env = append(os.Environ(), "SUPERVISOR="+step)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if _, err := cmd.StdinPipe(); err != nil { // never written to
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: the supervisor said %q", step, line)
		}
		stageEnds(t, step, pid, cmd)
	}
}

func stageEnds(t *testing.T, step string, pid int, supervisor *exec.Cmd) {
	fd, err := sys.PidfdProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	if sys.PidfdGone(fd) {
		t.Errorf("%s: the stage is gone before its supervisor", step)
	}
	_ = supervisor.Process.Kill()
	_ = supervisor.Wait()
	const patience = 20_000 // ms
	if ready, _, err := sys.Poll(fd, -1, patience); err != nil || ready == 0 {
		t.Errorf("%s: the stage outlives its supervisor (%v)", step, err)
		_ = sys.PidfdSignal(fd, syscall.SIGKILL)
	}
}

// supervisorUntil prints the id of a stage it has brought to step, and waits.
func supervisorUntil(step string) {
	cfg := allowing()
	cfg.Listen = ListenPlain
	s, err := Begin(exec.Command("/bin/sleep", "1000"))
	if err == nil && step != "begun" {
		err = s.order(&cfg, sys.StageOrder{Token: cfg.Token})
	}
	if err == nil && step == "listening" {
		_, err = s.receive(&cfg)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestWithoutExecutableMemory runs itself where anonymous files in memory cannot
// be executed: there a temporary one has to do, and to allow it.
func TestWithoutExecutableMemory(t *testing.T) {
	if dir := os.Getenv("NO_EXECUTABLE_MEMORY"); dir != "" {
		forbidMemory(t)
		startBy(t, dir)
		return
	}
	inNamespaces(t, "NO_EXECUTABLE_MEMORY="+t.TempDir())
}

// inNamespaces runs the test that calls it in namespaces of its own, with variable.
func inNamespaces(t *testing.T, variable string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: for namespaces")
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("needs more than is here:\n%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS"):
		t.Errorf("%v:\n%s", err, out)
	}
}

// forbidMemory sets vm.memfd_noexec for the namespace this process leads.
func forbidMemory(t *testing.T) {
	if os.Getpid() != 1 {
		t.Fatal("this is not a namespace of its own")
	}
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); err != nil {
		t.Skipf("needs vm.memfd_noexec, of Linux 6.3: %v", err)
	}
	privateMounts(t)
}

func privateMounts(t *testing.T) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
}

func startBy(t *testing.T, dir string) {
	t.Setenv("TMPDIR", dir)
	if out, err := startOutput(exec.Command("/bin/echo", "started"), allowing()); err != nil || out != "started\n" {
		t.Errorf("%q, %v", out, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_NOEXEC, ""); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
	for temp, cause := range map[string]string{dir: "permission denied", dir + "/absent": "no such file or directory"} {
		t.Setenv("TMPDIR", temp)
		for how, start := range map[string]func() error{
			"started":  func() error { _, err := Start(exec.Command("/bin/true"), allowing()); return err },
			"in place": func() error { return Exec("/bin/true", nil, nil, allowing()) },
		} {
			var ie *InstallError
			if err := start(); !errors.As(err, &ie) || !strings.Contains(err.Error(), cause) || !strings.Contains(err.Error(), "vm.memfd_noexec is 2") {
				t.Errorf("%s by %s: %v: an InstallError with %q and a remedy expected", how, temp, err, cause)
			}
		}
	}
}

// TestWithoutProc runs itself where /proc is empty.
func TestWithoutProc(t *testing.T) {
	if os.Getenv("NO_PROC") == "" {
		inNamespaces(t, "NO_PROC=1")
		return
	}
	privateMounts(t)
	if err := syscall.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		t.Skipf("needs to mount: %v", err)
	}
	_, err := Start(exec.Command("/bin/true"), allowing())
	var ie *InstallError
	if !errors.As(err, &ie) || !strings.HasSuffix(err.Error(), "mount /proc") {
		t.Errorf("%v: an InstallError that asks for /proc expected", err)
	}
}
