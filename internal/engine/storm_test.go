//go:build linux && amd64

package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/engine/launch"
	"portcullis/internal/event"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// conformance is a program of the conformance object with settings, or a panic
// where there is no test, that is in a victim.
func conformance(t testing.TB, name string, settings ...string) Filter {
	ps, err := object.Read("conformance", testdata.Conformance)
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		err = errors.Join(err, prog.Set(ps, k, v))
	}
	for _, p := range ps {
		if p.Name == name && err == nil {
			v, err := verify.Program(p, verify.Options{})
			if err == nil {
				return Filter{Name: p.Name, Hash: "0123", Verified: v, Tree: split.Split(v)}
			}
		}
	}
	if t == nil {
		panic(fmt.Sprint(name, ": ", err))
	}
	t.Fatalf("%s: %v", name, err)
	return Filter{}
}

func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestStormOfForksExecsAndKills(t *testing.T) {
	before := open(t)
	for _, name := range []string{"process-count", "thread-count", "hash-count"} {
		r := run(t, victim("storm", "100"), Options{}, conformance(t, name, "limit=1000000000"))
		if r.out != "survived\n" || !r.state.Success() {
			t.Errorf("%s: %v, %q", name, r.state, r.out)
		}
	}
	if after := open(t); after > before {
		t.Errorf("%d descriptors are open after, %d before", after, before)
	}
}

func TestKillTakesAllThreads(t *testing.T) {
	r := run(t, victim("threads"), Options{}, conformance(t, "dynamic-kill", "limit=1000"))
	if w := r.status(); !w.Signaled() || w.Signal() != syscall.SIGKILL {
		t.Errorf("%v: expected SIGKILL", w)
	}
}

// talk is a conversation with an echo.
type talk struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func (k *talk) line(t *testing.T) string {
	t.Helper()
	s, err := k.out.ReadString('\n')
	if err != nil {
		t.Fatalf("reading from the target: %v", err)
	}
	return strings.TrimSpace(s)
}

// ask has the target make the call.
func (k *talk) ask(t *testing.T) string {
	t.Helper()
	fmt.Fprintln(k.in)
	return k.line(t)
}

// pipes connects cmd to a talk by plain pipes, which no goroutine copies.
func pipes(t *testing.T, cmd *exec.Cmd) (k *talk, closeTheirs func()) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = inR, outW
	t.Cleanup(func() { outR.Close() })
	return &talk{inW, bufio.NewReader(outR)}, func() { inR.Close(); outW.Close() }
}

func TestSupervisorThatDiesLeavesAClosedDoor(t *testing.T) {
	cmd := victim("supervise", "global-count")
	k, done := pipes(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done()
	k.line(t) // the process id
	if got := k.ask(t); got != "0" {
		t.Errorf("with its supervisor: %s", got)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got, want := k.ask(t), fmt.Sprint(int(syscall.ENOSYS)); got != want {
		t.Errorf("without its supervisor: %s, want %s (ENOSYS)", got, want)
	}
	k.in.Close()
}

func TestDaemonsOutliveTheCommand(t *testing.T) {
	cmd := sh(self(t) + " echo <&0 & exit 3")
	k, done := pipes(t, cmd)
	p, err := Start(&Stack{[]Filter{conformance(t, "process-count")}}, cmd, Options{Engine: Agent})
	if err != nil {
		t.Fatal(err)
	}
	done()
	state, _ := p.Wait()
	if state.ExitCode() != 3 {
		t.Errorf("the command: %v, want its status 3", state)
	}
	pid := k.line(t)
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
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if want := fmt.Sprintf("PPid:\t%d\n", os.Getpid()); !strings.Contains(string(status), want) {
		t.Errorf("the daemon is not the supervisor's child: %v", err)
	}
	k.in.Close()
	<-p.Done()
}

// self is the test binary by its own path.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNestedTargets(t *testing.T) {
	r := run(t, victim("nest", "static-verdicts", "global-count"), Options{}, conformance(t, "global-count"))
	lines := strings.Split(r.out, "\n")
	if lines[0] != "<nil>" {
		t.Errorf("a static stack under a supervisor: %s", lines[0])
	}
	if !strings.Contains(lines[1], "already runs under a seccomp listener") {
		t.Errorf("a dynamic stack under a supervisor: %s", lines[1])
	}
}

func TestTargetCannotReachItsSupervisor(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, "TestTargetCannotReachItsSupervisor")
		return
	}
	for _, f := range []Filter{conformance(t, "global-count"), traced(t, "open")} {
		r := run(t, victim("attack", fmt.Sprint(os.Getpid())), Options{}, f)
		if r.out != "tried\n" {
			t.Errorf("%s: the target of the same user:\n%s", f.Name, r.out)
		}
	}
}

// asNobody runs one test without privilege.
func asNobody(t *testing.T, name string) {
	t.Helper()
	again(t, name, &syscall.Credential{Uid: 65534, Gid: 65534})
}

// again runs one test in a process of its own, as another user unless that is nil.
func again(t *testing.T, name string, user *syscall.Credential) {
	t.Helper()
	cmd := victim("-test.run=^"+name+"$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("--- SKIP: "+name+" ")):
		_, why, _ := strings.Cut(string(out), "needs ")
		t.Skip("needs " + strings.TrimSpace(why))
	case err != nil, !bytes.Contains(out, []byte("--- PASS: "+name+" ")):
		t.Errorf("once more, as %+v: %v\n%s", user, err, out)
	}
}

func TestManyTargetsAtOnce(t *testing.T) {
	var group sync.WaitGroup
	for i := 0; i < 10; i++ {
		group.Add(1)
		i := i
		go func() {
			defer group.Done()
			cmd := victim("echo")
			cmd.Stdin = strings.NewReader(strings.Repeat("\n", 10))
			r := run(t, cmd, Options{}, conformance(t, "global-count", fmt.Sprintf("limit=%d", i)))
			if allowed := strings.Count(r.out, "\n0"); allowed != i {
				t.Errorf("target %d was let through %d times: %q", i, allowed, r.out)
			}
		}()
	}
	group.Wait()
}

func TestStaticStackNeedsNoSupervisor(t *testing.T) {
	cmd := sh("/bin/true; echo $?")
	var out bytes.Buffer
	cmd.Stdout = &out
	p, err := Start(&Stack{[]Filter{load(t, "no-exec")}}, cmd, Options{Engine: Agent})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if _, err := p.Wait(); err != nil || out.String() != "126\n" {
		t.Errorf("%v, %q", err, &out)
	}
}

func TestExecInPlace(t *testing.T) {
	if os.Getenv("EXEC_IN_PLACE") != "" {
		err := Exec(&Stack{[]Filter{load(t, "no-exec")}}, "/bin/sh", []string{"sh", "-c", "/bin/true 2>/dev/null; echo $?"}, os.Environ(), Options{})
		t.Fatal(err)
	}
	cmd := victim("-test.run=^TestExecInPlace$")
	cmd.Env = append(os.Environ(), "EXEC_IN_PLACE=1")
	if out, err := cmd.Output(); err != nil || string(out) != "126\n" {
		t.Errorf("%v, %q", err, out)
	}
	var de *DynamicError
	err := Exec(&Stack{[]Filter{load(t, "no-exec"), load(t, "count-exec")}}, "/bin/sh", nil, nil, Options{})
	if !errors.As(err, &de) || de.Program != "count-exec" {
		t.Errorf("a dynamic stack in place: %v", err)
	}
	var pe *fs.PathError
	err = Exec(&Stack{[]Filter{load(t, "no-exec")}}, "/nonexistent", nil, nil, Options{})
	if !errors.As(err, &pe) || pe.Err != syscall.ENOENT {
		t.Errorf("nothing to execute: %v", err)
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	before := open(t)
	for _, name := range []string{"no-exec", "count-exec"} {
		var pe *fs.PathError
		_, err := Start(&Stack{[]Filter{load(t, name)}}, exec.Command("/nonexistent"), Options{Engine: Agent})
		if !errors.As(err, &pe) || pe.Err != syscall.ENOENT {
			t.Errorf("%s on a command that is not there: %v", name, err)
		}
	}
	for _, name := range []string{"dynamic-trap", "inherited-count"} {
		cmd := exec.Command("/bin/sh", "-c", "exit 3")
		o := Options{Engine: Agent, Lift: []prefilter.Guard{prefilter.GuardI386}} // not where calls are traced
		_, err := Start(&Stack{[]Filter{conformance(t, name)}}, cmd, o)
		if err == nil || cmd.ProcessState != nil && cmd.ProcessState.Exited() {
			t.Errorf("%s: %v, %v: expected a refusal before anything runs", name, err, cmd.ProcessState)
		}
		if cmd.Process != nil && cmd.ProcessState == nil {
			t.Errorf("%s: process %d was not waited for", name, cmd.Process.Pid)
		}
	}
	if after := open(t); after > before {
		t.Errorf("%d descriptors are open after, %d before", after, before)
	}
}

func TestRefusals(t *testing.T) {
	var oe *OptionError
	if _, err := Start(&Stack{}, exec.Command("/bin/true"), Options{}); !errors.As(err, &oe) {
		t.Errorf("an empty stack: %v", err)
	}
	if _, err := Start(&Stack{[]Filter{load(t, "count")}}, exec.Command("/bin/true"), Options{Engine: "fast"}); !errors.As(err, &oe) {
		t.Errorf("engine fast: %v", err)
	}
	if _, err := Start(&Stack{[]Filter{traced(t, "serial")}}, exec.Command("/bin/true"), Options{WaitLimit: -1}); !errors.As(err, &oe) {
		t.Errorf("a negative limit: %v", err)
	}
	var pe *prefilter.Error
	for _, name := range []string{"pinned", "serial", "dynamic-trap", "inherited-count"} {
		o := Options{Engine: Agent, Lift: []prefilter.Guard{prefilter.GuardI386}}
		_, err := Start(&Stack{[]Filter{conformance(t, name)}}, exec.Command("/bin/true"), o)
		if !errors.As(err, &pe) || pe.Program != name {
			t.Errorf("%s, whose tracer knows one table of numbers: %v", name, err)
		}
	}
	if _, err := Start(&Stack{[]Filter{load(t, "count")}}, exec.Command("/bin/true"), Options{Engine: Agent, Lift: []prefilter.Guard{prefilter.GuardListener}}); err == nil {
		t.Error("the guard against listeners was lifted")
	}
}

func TestPythonAndThreads(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	r := run(t, exec.Command(python, "-c", `
import os, subprocess, threading
ok = []
def one():
    try: subprocess.run(["/bin/true"], check=True); ok.append(1)
    except OSError as e: ok.append(e.errno)
ts = [threading.Thread(target=one) for _ in range(12)]
[t.start() for t in ts]; [t.join() for t in ts]
print(sorted(ok))`), Options{Observe: prefilter.ObserveDenials}, load(t, "count-exec", "max=7"))
	if want := "[" + strings.TrimSuffix(strings.Repeat("1, ", 12), ", ") + "]\n"; r.out != want {
		t.Errorf("printed %q", r.out)
	}
	if len(r.events) != 5 {
		t.Errorf("%d denials, want 5", len(r.events))
	}
}

func TestPermissiveReportsAndLetsThrough(t *testing.T) {
	for _, name := range []string{"no-exec", "count-exec"} {
		settings := []string{name}
		if name == "count-exec" {
			settings = append(settings, "max=0")
		}
		r := run(t, sh("/bin/echo one; /bin/echo two"), Options{Observe: prefilter.ObservePermissive}, load(t, settings...))
		if r.out != "one\ntwo\n" || len(r.events) < 2 {
			t.Errorf("%s: %q, %d events", name, r.out, len(r.events))
		}
	}
}

func TestObservedStaticDenials(t *testing.T) {
	r := run(t, sh("/bin/true; echo $?"), Options{Observe: prefilter.ObserveDenials}, load(t, "no-exec"))
	if len(r.events) != 1 || !strings.HasSuffix(r.out, "126\n") {
		t.Fatalf("%q, events %v", r.out, r.events)
	}
	e := r.events[0]
	if e.Leaf != event.LeafStatic || e.Program != "no-exec" || e.Call.Name != "execve" || e.Verdict.Action() != abi.ErrnoAction || e.Comm != "bash" {
		t.Errorf("%+v", e)
	}
}

func TestForeignListenerIsExplained(t *testing.T) {
	cmd := victim("nest", "global-count")
	var out bytes.Buffer
	cmd.Stdout = &out
	fd, err := launch.Start(cmd, launch.Config{
		Listen: launch.ListenProbe, Filter: []sys.FilterInsn{{Code: 6, K: uint32(abi.Allow)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	cmd.Wait()
	if !strings.Contains(out.String(), "already runs under a seccomp listener") {
		t.Errorf("%s", &out)
	}
}

func TestReusedProcessIDStartsAnew(t *testing.T) {
	r := run(t, victim("reuse"), Options{}, conformance(t, "process-count"))
	if r.state.ExitCode() == 77 {
		t.Skip("needs CAP_CHECKPOINT_RESTORE: to choose process ids")
	}
	if r.out != "[0 0 0 1] [0 0 0 1]\n" {
		t.Errorf("two processes of one number: %v, %s", r.state, r.out)
	}
}

// The supervisor keeps its privileges, the target has none.
func TestTargetOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to start a target as nobody")
	}
	for name, want := range map[string]string{"process-count": "0 0 0 1", "dynamic-kill": "0 0 0"} {
		cmd := victim("echo")
		cmd.Stdin = strings.NewReader("\n\n\n\n")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		r := run(t, cmd, Options{Observe: prefilter.ObserveDenials}, conformance(t, name))
		if got := strings.Join(strings.Fields(r.out)[1:], " "); got != want || len(r.events) != 1 {
			t.Errorf("%s: %q, want %q; events %v", name, got, want, r.events)
		}
	}
}

func TestTargetThatIsStoppedWhileItWaits(t *testing.T) {
	cmd := victim("echo")
	k, done := pipes(t, cmd)
	p, err := Start(&Stack{[]Filter{conformance(t, "global-count")}}, cmd, Options{Engine: Agent})
	if err != nil {
		t.Fatal(err)
	}
	done()
	k.line(t)
	for i := 0; i < 3; i++ {
		p.Signal(syscall.SIGSTOP)
		fmt.Fprintln(k.in)
		p.Signal(syscall.SIGCONT)
		if got := k.line(t); got != "0" {
			t.Errorf("call %d: %s", i, got)
		}
	}
	if got := k.ask(t); got != "1" {
		t.Errorf("the fourth call: %s, want 1: stops must not be counted", got)
	}
	k.in.Close()
	p.Wait()
	<-p.Done()
}
