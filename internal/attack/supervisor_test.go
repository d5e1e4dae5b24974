//go:build linux && amd64

package attack

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// TestSupervisorOutOfReach attacks the promise that the supervisor's memory,
// files and registers are out of the target's reach, for targets without
// CAP_SYS_PTRACE: with that capability the kernel lets a target trace any
// process of its user namespace, and root's targets have it unless they drop it
// or the filter denies ptrace. Every way in works on a child, so none fails for
// a reason of its own.
func TestSupervisorOutOfReach(t *testing.T) {
	for _, stack := range []string{"global-count limit=1000", traced} {
		outOfReach(t, stack)
	}
}

func outOfReach(t *testing.T, stack string) {
	t.Helper()
	got := attack(t, stack, "reach-supervisor", "drop")
	tried := 0
	for _, line := range strings.Split(got.out, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) != 3:
			t.Errorf("%s: %q: expected who, way and outcome", stack, line)
		case stack == traced && f[0] == "child" && strings.HasPrefix(f[1], "PTRACE_"):
			refused(t, line, f[2]) // it has a tracer already
		case f[0] == "child" && f[2] != "ok":
			t.Errorf("%s: %q: the way does not even lead into a child", stack, line)
		case f[0] == "supervisor":
			tried++
			refused(t, line, f[2])
		}
	}
	if tried < 15 {
		t.Errorf("%s: %d ways tried: expected all; %+v", stack, tried, got)
	}
}

func refused(t *testing.T, line, outcome string) {
	t.Helper()
	if outcome != "EPERM" && outcome != "EACCES" {
		t.Errorf("%q: expected EPERM or EACCES", line)
	}
}

// TestSupervisorOutOfReachOfNamespaces attacks the same promise with all the
// capabilities that a user namespace of the target's own gives.
func TestSupervisorOutOfReachOfNamespaces(t *testing.T) {
	needNamespaces(t)
	got := attack(t, "global-count limit=1000", "reach-from-namespace")
	lines := strings.Split(got.out, "\n")
	for _, line := range lines {
		refused(t, line, line[strings.LastIndexByte(line, ' ')+1:])
	}
	if len(lines) < 15 {
		t.Errorf("%d ways tried: expected all; %+v", len(lines), got)
	}
}

// TestNeighbourOutOfReach attacks the promise that the stage of a launch, which is
// unfiltered and for a moment holds the listener, is out of reach of programs
// that the same supervisor started before.
func TestNeighbourOutOfReach(t *testing.T) {
	out, in := io.Pipe()
	neighbour := command(t, "allow", attacker(t), "neighbour", "drop")
	neighbour.Stdout = in
	if err := neighbour.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "waiting" {
		t.Fatalf("%q: expected the neighbour to wait", lines.Text())
	}
	saw := make(chan map[string]int)
	go func() {
		words := map[string]int{}
		for lines.Scan() {
			words[lines.Text()]++
		}
		saw <- words
	}()
	for i := 0; i < 5; i++ {
		for _, stack := range []string{"no-exec", "count-exec"} {
			run(t, command(t, stack, "/bin/true"))
		}
	}
	_ = neighbour.Process.Kill()
	_ = neighbour.Wait() // killed
	in.Close()
	if words := <-saw; words["saw"] == 0 || words["reached"] != 0 {
		t.Errorf("%v: expected launches to be seen and none to be reached", words)
	}
}

// TestDeadSupervisorCloses attacks the promise that without a supervisor calls
// that need a decision fail, that the kernel goes on to decide the others, and
// that no listener can take the supervisor's place.
func TestDeadSupervisorCloses(t *testing.T) {
	for _, c := range []struct {
		limit, counted string
		sig            syscall.Signal
	}{
		{"0", "EPERM", syscall.SIGKILL},
		{"1000", "ok", syscall.SIGKILL},
		{"0", "EPERM", syscall.SIGSEGV},
		{"1000", "ok", syscall.SIGTERM},
		{"0", "EPERM", syscall.SIGABRT},
	} {
		stack := "global-count limit=" + c.limit + "; static-verdicts"
		got := supervised(t, stack, "kill-supervisor", strconv.Itoa(int(c.sig)))
		rest := ", static EPERM, io_uring ENOSYS, listener EBUSY, upper half EBUSY"
		compare(t, stack, "kill-supervisor "+c.sig.String(), got.out, []string{
			"before: counted " + c.counted + rest, "after: counted ENOSYS" + rest, "again: counted ENOSYS" + rest,
		})
	}
}

// TestBusySupervisorDies attacks the same promise while decisions are under way,
// to deny and to let through.
func TestBusySupervisorDies(t *testing.T) {
	for _, limit := range []string{"1000", "1000000"} {
		got := supervised(t, "global-count limit="+limit, "kill-busy-supervisor", limit)
		compare(t, "global-count", "kill-busy-supervisor", got.out, []string{"within the limit, 8 closed"})
	}
}

// TestLesserUser attacks the promise that a target of another user than its
// supervisor can neither end, stop nor starve it, nor look into it.
func TestLesserUser(t *testing.T) {
	needRoot(t, "to start a target of another user")
	lesser := func(args ...string) []string {
		cmd := command(t, "global-count limit=2", attacker(t), args...)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}
		return strings.Split(run(t, cmd).out, "\n")
	}
	want := []string{"kill EPERM", "stop EPERM", "pidfd_send_signal EPERM", "prlimit EPERM", "sched_setscheduler EPERM", "counted ok"}
	compare(t, "global-count", "hurt-supervisor", strings.Join(lesser("hurt-supervisor"), "\n"), want)
	for _, line := range lesser("reach-supervisor") {
		if strings.HasPrefix(line, "supervisor ") {
			refused(t, line, line[strings.LastIndexByte(line, ' ')+1:])
		}
	}
}

// TestDeadlyOrphans attacks the promise that the supervisor outlives its target's
// children: it adopts orphans, and siblings of the target are born to it, whose
// end asks for a signal that kills or stops.
func TestDeadlyOrphans(t *testing.T) {
	got := supervised(t, "process-count limit=1000", "deadly-orphans")
	if got != (result{"counted ok", 0}) {
		t.Errorf("%+v: expected the supervisor to decide, and end, as ever", got)
	}
}

// TestStoppedSupervisorHolds attacks the promise that a call waits for its
// decision as long as it takes: while the supervisor is stopped no call gets
// through, no listener takes its place, and who waits can be killed.
func TestStoppedSupervisorHolds(t *testing.T) {
	got := supervised(t, "global-count limit=1", "stop-supervisor")
	compare(t, "global-count", "stop-supervisor", got.out, []string{
		"before: ok", "stopped: listener EBUSY", "killed: 137", "waiting: 0 answers", "continued: EPERM",
	})
}

// TestStarvedSupervisorCloses attacks the promise that an exhausted resource
// denies. A target of the same user may set the limits of its supervisor: new
// processes then cannot be told apart, and later the supervisor dies.
func TestStarvedSupervisorCloses(t *testing.T) {
	got := supervised(t, "process-count limit=1", "starve-supervisor", "20")
	lines := strings.Split(got.out, "\n")
	if lines[0] != "NOFILE ok" || lines[len(lines)-1] != "passed 0" {
		t.Errorf("%+v: expected the limit to be set, and no call to pass", got)
	}
}

// TestManyProcesses attacks the promise that a process that the supervisor has
// no descriptor left for is denied, and no other process's count is touched.
func TestManyProcesses(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := syscall.Rlimit{Cur: 128, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}()
	expect(t, "process-count limit=3", "many 300 3", by("over 0, served some, denied some", "over 0, served some, denied none")) // which needs no descriptors
}

// TestFullHash attacks the promise that a full map cannot loosen a filter that
// counts in it by process: who finds no room is denied.
func TestFullHash(t *testing.T) {
	expect(t, "hash-count limit=3", "short-processes 600", "over the limit 0, stopped short 88")
}

// TestNestedSandboxes attacks the promise that nesting cannot loosen: inside a
// stack that keeps state a static one adds to it.
func TestNestedSandboxes(t *testing.T) {
	suite, victim := made.File("suite"), attacker(t)
	nest := func(outer, inner string, args ...string) string {
		return run(t, command(t, outer, suite, append([]string{supervise, *engine, inner, victim}, args...)...)).out
	}
	nestStates(t, nest)
	inside := nest("global-count limit=1000000", "deny-getppid", "calls", "static inside state", "2")
	compare(t, "deny-getppid in global-count", "calls", inside, []string{"static inside state: EBUSY EBUSY"})
	inside = nest("deny-getppid", "global-count limit=1", "calls", "state inside static", "2")
	compare(t, "global-count in deny-getppid", "calls", inside, []string{"state inside static: " + by("EBUSY EBUSY", "EBUSY EPERM")}) // where every filter counts
	inside = nest("deny-getppid", "no-exec", "again")
	compare(t, "no-exec in deny-getppid", "again", inside, noExec())
}

// nestStates has state inside state: refused by the agent, and on the kernel engine each
// counts for itself.
func nestStates(t *testing.T, nest func(outer, inner string, args ...string) string) {
	t.Helper()
	if *engine == "kernel" {
		compare(t, "count in count", "calls", nest("global-count limit=1000", "global-count limit=1", "calls", "inner", "2"), []string{"inner: ok EPERM"})
		compare(t, "count in count", "calls", nest("global-count limit=0", "global-count limit=1000", "calls", "outer", "2"), []string{"outer: EPERM EPERM"})
		return
	}
	refusal := nest("global-count limit=1000", "process-count", "calls", "x", "1")
	if !strings.HasPrefix(refusal, "refused: ") || !strings.Contains(refusal, "already runs under a seccomp listener") {
		t.Errorf("state inside state: %q: expected a refusal that names the listener", refusal)
	}
}

// TestAsNobody runs the suite once more without privilege. A fifth of the attempts will do:
// what is attacked is the same.
func TestAsNobody(t *testing.T) {
	needRoot(t, "to become nobody")
	t.Parallel()
	skip := "^Test(Hostile|I386|Numbers|Vsyscall)"
	if !kit.Wide() {
		skip += "|" + slow
	}
	cmd := exec.Command(made.File("suite"), "-test.v", "-test.skip="+skip, made.Flag(), fmt.Sprint("-attempts=", attempts(t)/5))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	cmd.Dir = made.Dir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	attacker(t) // without it most tests are skipped
	for _, name := range []string{"TestDeadSupervisorCloses", "TestPinnedReads", "TestSetuidGainsNothing"} {
		if !strings.Contains(string(out), "--- PASS: "+name) {
			t.Errorf("as nobody %s did not pass:\n%s", name, out)
		}
	}
}
