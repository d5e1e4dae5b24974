//go:build linux && amd64

package trace

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/kit"
)

// made is where the victim is.
var made = kit.New()

func TestMain(m *testing.M) {
	os.Exit(made.Main(m, func(dir string) error {
		return kit.Compile(filepath.Join(dir, "victim"), "testdata/victim.c")
	}))
}

// mode runs a mode of the victim under filters.
func mode(t *testing.T, filters, mode string) outcome {
	t.Helper()
	return run(t, filters, victimPath(t), strings.Fields(mode)...)
}

func victimPath(t testing.TB) string {
	t.Helper()
	return made.Compiled(t, "victim")
}

// expect runs a mode of the victim and compares what came of it.
func expect(t *testing.T, filters, m string, status syscall.WaitStatus, lines ...string) {
	t.Helper()
	want := outcome{strings.Join(append(lines, ""), "\n"), status}
	if got := mode(t, filters, m); got != want {
		t.Errorf("%s under %s: %v\nexpected %v", m, filters, got, want)
	}
}

const killedBySys = syscall.WaitStatus(syscall.SIGSYS)

// withCore is the status of a process that left, or could have left, a core.
func withoutCore(o outcome) outcome { o.status &^= 0x80; return o }

// What a notification cannot do is exactly what the kernel does by itself.
func TestActions(t *testing.T) {
	got := withoutCore(mode(t, "trap", "trap"))
	want := outcome{"first 1\nsignal 31 code 1 errno 77 syscall 110 arch c000003e rax 110 at 1\nhandled\n", killedBySys}
	if got != want {
		t.Errorf("TRAP: %v\nexpected %v", got, want)
	}
	expect(t, "kill_thread", "kill-thread", 0, "joined")
	if got := withoutCore(mode(t, "kill_process", "kill-process")); got != (outcome{"", killedBySys}) {
		t.Errorf("KILL_PROCESS: %v", got)
	}
	expect(t, "trace", "none", 0, "ok", "errno 38")
}

func TestRegisters(t *testing.T) {
	expect(t, "open", "registers", 0,
		"0: 1 1 1 1 1 1 1 1", "-13: 1 1 1 1 1 1 1 1", "-14: 1 1 1 1 1 1 1 1")
}

// What is below the stack is there as soon as somebody looks: an empty path.
func TestStackGrows(t *testing.T) {
	expect(t, "open", "deep", 0, "errno 2", "errno 14")
}

func TestLives(t *testing.T) {
	var want []string
	for _, who := range strings.Split("first,forked,grandchild,vforked,after vfork,sharing,silent,apart,thread,executed by a thread,executed,last", ",") {
		want = append(want, who+": ok 13")
	}
	expect(t, "open", "lives", 0, want...)
	expect(t, "open exec", "lives", 0, want...)
}

func TestLeaderEndsFirst(t *testing.T) {
	expect(t, "open", "leader ends", 7<<8, "outlives: ok 13")
	expect(t, "open exec", "leader executes", 0, "outlives: ok 13", "executed by a thread: ok 13")
}

func TestEnds(t *testing.T) {
	expect(t, "open exec", "ends 60", 0, "done")
}

// An execve may fail when the threads beside it are gone, and the number of the one that
// is left is the first one's.
func TestExecThatFailsLate(t *testing.T) {
	expect(t, "open", "late 20", 0, "done")
	expect(t, "open exec", "late 20", 0, "done")
}

func TestSignals(t *testing.T) {
	expect(t, "open", "fifo", 0, "interrupted: errno 4", "restarted: ok", "handled 1")
	expect(t, "open", "storm 300", 0, "bad 0")
	expect(t, "open", "ignored", 0, "epoll_wait: ok", "handled: errno 4")
	expect(t, "open", "compat", 0, "handled")
}

func TestOrder(t *testing.T) {
	expect(t, "serial", "order", 0, "done")
	expect(t, "hold", "crowd 1", 0, "held 1", "ok 1")
	expect(t, "hold", "crowd 20", 0, "held 20", "ok 20")
}

// A call that waits for others sees signals, stops, its time limit, and the end of
// those it waits for.
func TestHeld(t *testing.T) {
	v := start(t, "hold", victimPath(t), "held")
	want := outcome{strings.Join([]string{
		"interrupted: errno 4", "let go: ok", "signals 2", "held 1", "stopped 1", "continued 1", "held 1",
		"held 1", "killed while held 1", "after the sleeper's death: ok", "too long: errno 110", "",
	}, "\n"), 0}
	if got := v.wait(); got != want {
		t.Errorf("%v\nexpected %v", got, want)
	}
	if n := len(v.events.all); n != 1 || v.events.all[0].Verdict != abi.Errno(110) || !strings.Contains(v.events.all[0].Text, "waited") || v.events.all[0].Program != "hold" {
		t.Errorf("%d events: expected one, of the call that waited too long", n)
	}
}

func TestInherit(t *testing.T) {
	expect(t, "inherit", "inherit", 0, "parent: ok", "child: ok", "executed: ok EPERM",
		"thread: ok", "vforked: ok EPERM", "parent: ok EPERM")
}
