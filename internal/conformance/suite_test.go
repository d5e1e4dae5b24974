package conformance

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// scenario is one victim under one stack, and what both engines must make of it.
type scenario struct {
	name    string
	filters []string
	victim  string // its arguments
	out     string
	status  int
}

const (
	kill = 128 + int(syscall.SIGKILL)
	sys  = 128 + int(syscall.SIGSYS)
)

var scenarios = []scenario{
	{"global count", one("global-count"), "calls 5", "ok ok ok EPERM EPERM", 0},
	{"global count over fork", one("global-count"), "fork 2", "parent: ok ok\nchild: ok EPERM\nparent: EPERM EPERM", 0},
	{"global count over vfork", one("global-count"), "vfork 2", "parent: ok ok\nok EPERM", 0},
	{"global count over exec", one("global-count"), "exec 2", "before: ok ok\nok EPERM", 0},
	{"global count over exec from a thread", one("global-count"), "thread-exec 2", "before: ok ok\nok EPERM", 0},
	{"global count over generations", one("global-count limit=4"), "generations 6", "ok\nok\nok\nok\nEPERM\nEPERM", 0},
	{"global count in 500 threads", one("global-count limit=700"), "threads 500 2", "allowed 700 denied 300", 0},
	{"global count in 50 processes", one("global-count limit=123"), "processes 50 5", "allowed 123 denied 127", 0},
	{"global count under signals", one("global-count limit=100000"), "signals 1500", "allowed 1500 denied 0", 0},
	{"array count", one("array-count"), "fork 2", "parent: ok ok\nchild: ok EPERM\nparent: EPERM EPERM", 0},
	{"array count in threads", one("array-count limit=90"), "threads 50 2", "allowed 90 denied 10", 0},
	{"count under a lock", one("locked-count limit=90"), "threads 50 2", "allowed 90 denied 10", 0},
	{"hash count by process", one("hash-count"), "fork 4", "parent: ok ok ok EPERM\nchild: ok ok ok EPERM\nparent: EPERM EPERM EPERM EPERM", 0},
	{"hash count over exec", one("hash-count"), "exec 2", "before: ok ok\nok EPERM", 0},

	{"process count", one("process-count"), "calls 5", "ok ok ok EPERM EPERM", 0},
	{"process count starts anew in a child", one("process-count"), "fork 4", "parent: ok ok ok EPERM\nchild: ok ok ok EPERM\nparent: EPERM EPERM EPERM EPERM", 0},
	{"process count over exec", one("process-count"), "exec 2", "before: ok ok\nok EPERM", 0},
	{"process count over exec from a thread", one("process-count"), "thread-exec 2", "before: ok ok\nok EPERM", 0},
	{"process count of threads together", one("process-count limit=60"), "threads 40 2", "allowed 60 denied 20", 0},
	{"process count in 20 processes", one("process-count"), "processes 20 5", "allowed 60 denied 40", 0},
	{"a count that a child starts with", one("inherited-count"), "fork 2", "parent: ok ok\nchild: ok EPERM\nparent: ok EPERM", 0},
	{"a count that is copied while others count", one("inherited-count limit=3000"), "copies 3000 20", "20 of 20 copies right, some while others counted, 3000 ok", 0},
	{"thread count", one("thread-count"), "threads 40 5", "allowed 120 denied 80", 0},
	{"process and thread count", one("process-and-thread-count"), "calls 6", "ok ok ok EAGAIN EAGAIN EAGAIN", 0},
	{"life of task storage", one("storage-life"), "calls 5", "ENOENT EBUSY ok ENOENT ENOENT", 0},
	{"a full hash", one("hash-full"), "calls 4", "ok ok E2BIG E2BIG", 0},
	{"life of a hash's element", one("hash-life"), "calls 8", "ENOENT ok EEXIST ok EBUSY ok ENOENT ESRCH", 0},
	{"an array refuses a new element", one("array-errors"), "call 600", "EEXIST", 0},
	{"an array refuses deletion", one("array-errors"), "call 601", "EINVAL", 0},
	{"an array refuses an index behind its end", one("array-errors"), "call 602", "E2BIG", 0},
	{"an array has nothing behind its end", one("array-errors"), "call 603", "ESRCH", 0},

	{"static errno", one("static-verdicts"), "value 600", "1", 0},
	{"static kill", one("static-verdicts"), "value 601", "", sys},
	{"static log", one("static-verdicts"), "value 602", "38", 0},
	{"static allow", one("static-verdicts"), "value 603", "38", 0},
	{"static errno 0", one("static-verdicts"), "value 604", "0", 0},
	{"static errno beyond the largest", one("static-verdicts"), "value 605", "4095", 0},
	{"static unknown action", one("static-verdicts"), "value 606", "", sys},
	{"static notification without a listener", one("static-verdicts"), "value 607", "38", 0},
	{"static trap", one("static-verdicts"), "value 608", "", sys},
	{"static kill of the only thread", one("static-verdicts"), "value 609", "", sys},
	{"static trace without a tracer", one("static-verdicts"), "value 610", "38", 0},

	{"dynamic errno", one("dynamic-verdicts"), "value 600", "1", 0},
	{"dynamic kill", one("dynamic-verdicts"), "value 601", "", killed()},
	{"dynamic log", one("dynamic-verdicts"), "value 602", "38", 0},
	{"dynamic allow", one("dynamic-verdicts"), "value 603", "38", 0},
	{"dynamic errno 0", one("dynamic-verdicts"), "value 604", "0", 0},
	{"dynamic errno beyond the largest", one("dynamic-verdicts"), "value 605", "4095", 0},
	{"dynamic unknown action", one("dynamic-verdicts"), "value 606", "", killed()},
	{"dynamic notification without a listener", one("dynamic-verdicts"), "value 607", "38", 0},
	{"kill after a count", one("dynamic-kill"), "generations 5", "ok\nok\nok", killed()},

	{"the strictest of a stack", []string{"stack-a", "stack-b"}, "calls 4", "ok EACCES EACCES EACCES", 0},
	{"the strictest of a stack turned over", []string{"stack-b", "stack-a"}, "calls 4", "ok EACCES EPERM EPERM", 0},
	{"a static denial above a count", []string{"global-count", "deny-getppid"}, "calls 4", "EBUSY EBUSY EBUSY EBUSY", 0},
	{"a static denial below a count", []string{"deny-getppid", "global-count"}, "calls 4", "EBUSY EBUSY EBUSY EPERM", 0},

	{"an argument", one("argument"), "value 600", "38", 0},
	{"time", one("time"), "calls 3", "EBUSY EBUSY EBUSY", 0},
	{"a count in a window", one("window-count"), "calls 5", "ok ok ok EPERM EPERM", 0},
	{"chance", one("random"), "calls 2", "EBUSY EBUSY", 0},
	{"atomic instructions", one("atomics"), "calls 1", "EBUSY", 0},
	{"functions", one("functions"), "value 110", "64", 0},
	{"arithmetic", one("arithmetic"), "calls 2", "EBUSY EBUSY", 0},

	{"a tail call", one("tail-calls"), "value 600", "1", 0},
	{"a tail call to a program with state", one("tail-calls"), "value 601", "38", 0},
	{"a tail call to no program", one("tail-calls"), "value 602", "13", 0},
	{"as many tail calls as there may be", one("tail-calls"), "value 603", "33", 0},
	{"a tail call behind the end", one("tail-calls"), "value 605", "13", 0},
	{"a tail call by half an index", one("tail-calls"), "value 607", "1", 0},
	{"a tail call that is known", one("tail-known"), "value 600", "1", 0},
	{"a tail call that is known to fail", one("tail-known"), "value 602", "38", 0},

	{"int 0x80", one("allow"), "i386", "", sys},
	{"x32", one("allow"), "call 0x40000027", "", sys},
	{"number -1", one("allow"), "call -1", "ENOSYS", 0},
	{"io_uring_setup", one("allow"), "call 425", "ENOSYS", 0},
	{"io_uring_enter", one("allow"), "call 426", "ENOSYS", 0},
	{"io_uring_register", one("allow"), "call 427", "ENOSYS", 0},
	{"int 0x80 beside a count", one("global-count"), "i386", "", sys},
	{"x32 beside a count", one("global-count"), "call 0x4000006e", "", sys},
	{"number -1 beside a count", one("global-count"), "call -1", "ENOSYS", 0},
	{"io_uring_enter beside a count", one("global-count"), "call 426", "ENOSYS", 0},
}

func one(filter string) []string { return []string{filter} }

// killed stands for how a decision with state kills, the difference between the
// engines that docs/ENGINES.md lists.
func killed() int { return -1 }

func (s *scenario) wantStatus() int {
	switch {
	case s.status != killed():
		return s.status
	case *engine == "agent":
		return kill
	}
	return sys
}

func TestScenarios(t *testing.T) {
	path := victim(t)
	for _, s := range scenarios {
		s := s
		t.Run(s.name, func(t *testing.T) {
			cmd := command(t, s.filters, path, strings.Fields(s.victim)...)
			got := run(t, cmd)
			if want := (result{s.out, s.wantStatus()}); got != want {
				t.Errorf("%v under %v: %+v, expected %+v", s.victim, s.filters, got, want)
			}
		})
	}
}

// TestIdentity compares what a filter sees of its caller with what is true.
func TestIdentity(t *testing.T) {
	path := victim(t)
	for _, c := range []struct {
		call string
		want func(pid int) int
	}{
		{"600", func(pid int) int { return pid }},
		{"601", func(pid int) int { return pid }},
		{"602", func(int) int { return os.Getuid() }},
		{"603", func(int) int { return os.Getgid() }},
		{"604", func(int) int { return 'v' }},
		{"605", func(int) int { return len("victim") }},
	} {
		cmd := command(t, one("identity"), path, "value", c.call)
		got := run(t, cmd)
		want := c.want(cmd.Process.Pid) % 4096
		if want == 4095 {
			continue // an errno the kernel clamps is no answer
		}
		if got.out != strconv.Itoa(want) {
			t.Errorf("call %s: the filter saw %q, expected %d", c.call, got.out, want)
		}
	}
}

// sameForAll are tests in which it makes no difference who runs them.
const sameForAll = "EveryCallIsObserved|AuditChangesNothing|Audited.*|LossesAddUp|DebuggersWork"

// slow are tests that are run as root alone, on the agent, where time is short.
const slow = "Mitigations|PinnedCalls|PinnedFilter|MoreBuiltins|MitigationsMatter|Rate|Cache|CountExec|Programs|ThreadsUnderOrder|PatternsTogether|MadviseWaitsForNobody"

// TestAsNobody runs the suite once more without privilege.
func TestAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to become nobody")
	}
	t.Parallel()
	skip := "AsNobody|Kernel.*|" + sameForAll
	if !kit.Wide() {
		skip += "|" + slow
	}
	cmd := exec.Command(made.File("suite"), "-test.v", "-test.short", "-test.skip=^Test("+skip+")$",
		made.Flag(), "-engine="+*engine)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	cmd.Dir = made.Dir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestScenarios") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// TestKernel runs the suite on the kernel engine: in a guest, as nobody. Servers and
// compilers are started by other tests there, too.
func TestKernel(t *testing.T) {
	t.Parallel()
	skip := "^Test(AsNobody|Kernel.*|Audited.*)$|^TestPrograms$/^gcc$"
	if !kit.Wide() {
		skip += "|^Test(" + slow + ")$"
	}
	if !kit.Long() {
		skip += "|^TestPinned(Programs|Sleepers|Servers)$|^TestAuditChangesNothing$|^TestMitigationsTogether$/^(gcc|git|ip|python)$"
	}
	onKernel(t, guest.Nobody, "-test.skip="+skip)
}

// TestKernelAsRoot runs what root alone can make of calls.
func TestKernelAsRoot(t *testing.T) {
	if !kit.Long() {
		t.Skip("runs in make soak")
	}
	t.Parallel()
	onKernel(t, 0, "-test.run=^TestPinnedCalls$")
}

func onKernel(t *testing.T, uid int, which string) {
	t.Helper()
	cfg := guest.Suite(made.Dir())
	cfg.Timeout = 20 * time.Minute // beside other guests on a busy machine
	if kit.Long() {
		cfg.Timeout = time.Hour
	}
	guest.TestIn(t, cfg, uid, "-test.short", which, made.Flag(), "-engine=kernel")
}
