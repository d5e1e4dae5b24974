//go:build linux && amd64

package attack

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/guest"
)

// TestCrowd attacks the promise that counts are exact: threads, processes,
// processes that share memory and vfork children call all at once.
func TestCrowd(t *testing.T) {
	// 12 processes with 2 threads and 12 that share memory, 4 threads beside
	// them: 40 callers of 20 calls each, then 12 vfork children of one.
	expect(t, "global-count limit=500", "crowd 12 20", "allowed 500 denied 312 other 0")
	expect(t, "array-count limit=500", "crowd 12 20", "allowed 500 denied 312 other 0")
	expect(t, "locked-count limit=500", "crowd 12 20", "allowed 500 denied 312 other 0")
	// Each process by itself: 12 and 12 and the first one; the memory-sharing
	// and vfork children are processes too.
	expect(t, "process-count limit=30", "crowd 12 20", "allowed 642 denied 170 other 0")
}

// TestAlarms attacks the same promise with a signal every 100 microseconds, so
// that calls are interrupted and restarted while they wait for their decision.
func TestAlarms(t *testing.T) {
	for _, how := range []string{"restart", "interrupt", "nested"} {
		expect(t, "global-count limit=3000", "alarms "+how+" 3000", "exactly the limit")
	}
}

// TestStopStorm attacks the same promise by stopping and continuing the caller.
func TestStopStorm(t *testing.T) {
	expect(t, "global-count limit=3000", "stop-storm 3000", "exactly the limit, stopped often")
	expect(t, "process-count limit=3000", "stop-storm 3000", "exactly the limit, stopped often")
}

// TestKillStorm attacks the promises that the death of callers at any moment of
// a decision neither frees a count nor disturbs the supervisor, also while every
// call is observed.
func TestKillStorm(t *testing.T) {
	defer noneLeft(t)()
	for name, observe := range map[string]portcullis.Observe{
		"none": portcullis.ObserveNone, "denials": portcullis.ObserveDenials, "all": portcullis.ObserveAll,
	} {
		cmd := command(t, "global-count limit=2000; process-count limit=1000000", attacker(t), "kill-storm", "100", "2000")
		cmd.Observe, cmd.Events = observe, func(portcullis.Event) {}
		compare(t, "observing "+name, "kill-storm", run(t, cmd).out, []string{"within the limit, EPERM"})
	}
}

// TestExecStorm attacks the promise that state survives execve, which ends the
// other threads while they wait for decisions.
func TestExecStorm(t *testing.T) {
	defer noneLeft(t)()
	expect(t, "global-count limit=2000", "exec-storm 30 2000", "within the limit, EPERM")
	expect(t, "process-count limit=2000", "exec-storm 30 2000", "within the limit, EPERM")
}

// TestCondemned attacks the promise that KILL_PROCESS ends the whole process of
// the caller, and no other, whatever it does against signals.
func TestCondemned(t *testing.T) {
	needNamespaces(t)
	dead := by(" 137", " 159") // SIGKILL, SIGSYS
	expect(t, "dynamic-kill limit=0", "condemned",
		"thread"+dead, "ignoring"+dead, "vfork"+dead, "traced"+dead, "first"+dead)
}

// TestExecIdentified attacks the promise that the death of a thread while it is
// looked at is no reason to end its process.
func TestExecIdentified(t *testing.T) {
	expect(t, "identity", "exec-identified 200", "all generations lived")
}

// TestShortLives attacks the promise that counts by process and thread are never
// mixed up and never leak, however many come and go.
func TestShortLives(t *testing.T) {
	defer noneLeft(t)()
	processes, threads := 5000, 2000
	if guest.Inside() {
		processes, threads = 1000, 400
	}
	expect(t, "process-count", fmt.Sprint("short-processes ", processes), "over the limit 0, stopped short 0")
	expect(t, "thread-count", fmt.Sprint("short-threads ", threads), "wrong 0")
	expect(t, "process-count", "leader-exit",
		"leader: ok ok", "leader gone: ok", "after others: EPERM EPERM", "executed: EPERM")
}

// noneLeft makes a check that this process has no more descriptors than now. A
// first launch opens some for good.
func noneLeft(t *testing.T) func() {
	t.Helper()
	expect(t, "process-count", "calls first 1", "first: ok")
	before := descriptorNames(t)
	return func() {
		after := descriptorNames(t)
		for i := 0; i < 200 && len(after) > len(before); i++ {
			runtime.GC() // by and by os closes the pidfds of processes that have ended
			runtime.Gosched()
			after = descriptorNames(t)
		}
		if len(after) > len(before) {
			t.Errorf("descriptors before: %q, after: %q: expected none to be left", before, after)
		}
	}
}

// TestReusedNumbers attacks the same promise with one number that is first a
// process, then another one, then a thread of a third.
func TestReusedNumbers(t *testing.T) {
	needRoot(t, "to choose process numbers")
	expect(t, "process-count", "reuse",
		"first: ok ok ok EPERM", "second: ok ok ok EPERM", "third: ok ok ok", "thread: EPERM EPERM")
	expect(t, "thread-count", "reuse",
		"first: ok ok ok EPERM", "second: ok ok ok EPERM", "third: ok ok ok", "thread: ok ok")
}

// TestNamespaces attacks the promise that no process escapes its count by moving
// into namespaces, where it has another number.
func TestNamespaces(t *testing.T) {
	needNamespaces(t)
	expect(t, "process-count limit=3", "namespaces", "outside: ok ok", "unshared: ok EPERM",
		"inside as 1: ok ok ok EPERM", "inside: ok ok ok EPERM")
	expect(t, "global-count limit=5", "namespaces", "outside: ok ok", "unshared: ok ok",
		"inside as 1: ok EPERM EPERM EPERM", "inside: EPERM EPERM EPERM EPERM")
}

// TestHiddenMemory attacks the promises that a caller that cannot be looked at is
// counted like any other, and that a filter whose read of memory the kernel
// refuses kills rather than guesses.
func TestHiddenMemory(t *testing.T) {
	expect(t, "process-count", "undumpable", "undumpable: ok ok ok EPERM")
	want := by("137", "1") // killed: the supervisor may not read; the kernel may, and denies
	if os.Getuid() == 0 {
		want = "1" // it may, and denies
	}
	expect(t, "peek", "unreadable", want)
}

// needFaults skips a test whose attacker answers faults of the kernel itself, or does not.
func needFaults(t *testing.T) {
	t.Helper()
	const knob = "/proc/sys/vm/unprivileged_userfaultfd"
	text, _ := os.ReadFile(knob) // 1 where every user may
	if os.Getuid() != 0 && strings.TrimSpace(string(text)) != "1" {
		t.Skipf("needs root, or 1 in %s: to have faults of the kernel itself handled", knob)
	}
}

// TestFaultHandler attacks the promise that the supervisor outlives whatever its
// callers do to it, and a filter in the kernel too: it reads memory whose faults the
// caller never answers.
func TestFaultHandler(t *testing.T) {
	needFaults(t)
	expect(t, "peek", "fault-handler", "killed 137", "EACCES")
}

// TestDaemon attacks the promise that a daemon that outlives the command is
// still decided for.
func TestDaemon(t *testing.T) {
	expect(t, "global-count limit=3", "daemon", "command: ok ok", "daemon: ok EPERM")
}
