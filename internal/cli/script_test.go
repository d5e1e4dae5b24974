package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"portcullis/internal/engine/target"
	"portcullis/internal/guest"
)

// TestMain makes the test binary the portcullis command too, with the same
// first call as its main.
func TestMain(m *testing.M) {
	guest.MaybeInit()
	os.Exit(testscript.RunMain(m, map[string]func() int{
		"portcullis": func() int {
			return Main(os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		},
		"new-listener": newListener,
	}))
}

// newListener is a target that asks for a seccomp listener, with no filter to
// install, and prints what it got.
func newListener() int {
	const sysSeccomp, setModeFilter, flagNewListener = 317, 1, 8
	_, _, errno := syscall.Syscall(sysSeccomp, setModeFilter, flagNewListener, 0)
	fmt.Println(errno)
	return 0
}

// TestCommands runs the scripts that need nothing of the running kernel.
func TestCommands(t *testing.T) { scripts(t, "testdata/any") }

// TestRun runs the scripts that put commands under filters.
func TestRun(t *testing.T) {
	needAgent(t)
	scripts(t, "testdata/agent")
}

// TestTraced runs those whose commands are traced.
func TestTraced(t *testing.T) {
	needTracing(t)
	scripts(t, "testdata/traced")
}

// TestListenerGuard has a target ask for a listener of its own.
func TestListenerGuard(t *testing.T) {
	needAgent(t)
	scripts(t, "testdata/guard")
}

func scripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			filters, err := filepath.Abs("../../filters")
			env.Setenv("FILTERS", filters)
			env.Setenv("TRACED", filepath.Join(filters, "../internal/engine/agent/trace/testdata/filters/trace.o"))
			return err
		},
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and expects an exit status: exits STATUS CMD ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS CMD ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		got = target.ExitStatus(ended.ProcessState) // as a shell sees what was executed in place
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit status %d, want %d", args[1:], got, want)
	}
}
