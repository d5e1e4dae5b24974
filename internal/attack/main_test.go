//go:build linux && amd64

package attack

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis"
	"portcullis/filters/testdata"
	"portcullis/internal/engine/target"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// made is where attacker and suite are. The suite runs once more as nobody:
// this binary again, told where.
var made = kit.New()

var (
	engine = flag.String("engine", "agent", "engine that is attacked")
	asked  = flag.String("attempts", os.Getenv("PORTCULLIS_ATTEMPTS"), "attempts to get around pinned reads")
)

// The first argument of this binary where it is not a test: a supervisor that
// may die, or a process that becomes the attacker. The second is the engine.
const (
	supervise = "supervise"
	become    = "become"
)

func TestMain(m *testing.M) {
	guest.MaybeInit()
	if len(os.Args) > 4 && (os.Args[1] == supervise || os.Args[1] == become) {
		*engine = os.Args[2]
		os.Exit(supervisor(os.Args[1], os.Args[3], os.Args[4:]))
	}
	os.Exit(made.Main(m, fill))
}

// fill puts what the suite needs where every user can see it. Without a C compiler
// there is no attacker, and the tests that need it skip.
func fill(dir string) error {
	if err := kit.CopySelf(filepath.Join(dir, "suite")); err != nil {
		return err
	}
	sources, err := filepath.Glob("testdata/*.c")
	if err != nil {
		return err
	}
	// The entry point keeps the registers that the launch leaves behind.
	path := filepath.Join(dir, "attacker")
	if err := kit.Compile(path, append([]string{"-Wl,-e,entry"}, sources...)...); err != nil {
		return err
	}
	return makeSetuid(path, filepath.Join(dir, "setuid"))
}

// makeSetuid makes a copy of the attacker that would run as root, if this is root.
func makeSetuid(attacker, path string) error {
	data, err := os.ReadFile(attacker)
	if os.Getuid() != 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o755)
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o755|os.ModeSetuid)
}

// attacker is the path of the compiled attacker.
func attacker(t *testing.T) string {
	t.Helper()
	return made.Compiled(t, "attacker")
}

// patience is how long an attack may take before it counts as a hang.
func patience() time.Duration { return max(40*time.Second, guest.Patience(2*time.Second)) }

// command is a program under a stack, which is written as "global-count limit=2;
// no-exec": programs of the conformance object, or built-in filters, with their
// variables.
func command(t *testing.T, stack, name string, args ...string) *portcullis.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	t.Cleanup(cancel)
	return commandUntil(ctx, t, stack, name, args...)
}

// commandUntil is command with an end of its own.
func commandUntil(ctx context.Context, t *testing.T, stack, name string, args ...string) *portcullis.Cmd {
	t.Helper()
	cmd := portcullis.CommandContext(ctx, name, args...)
	cmd.Engine = portcullis.Engine(*engine)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C"}
	cmd.Log = &testLog{t: t, lines: 10}
	// A group of its own, so that a hanging attack ends with all it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(ignore(context.AfterFunc(ctx, func() {
		if p := cmd.Process; p != nil {
			_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
		}
	})))
	var err error
	if cmd.Filters, err = loadStack(stack); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// by is what is expected of the engine that is attacked.
func by(agent, kernel string) string {
	if *engine == "kernel" {
		return kernel
	}
	return agent
}

func ignore(stop func() bool) func() { return func() { stop() } }

func loadStack(stack string) ([]*portcullis.Filter, error) {
	var fs []*portcullis.Filter
	for _, one := range strings.Split(stack, ";") {
		words := strings.Fields(one)
		f, err := load(words[0])
		if err != nil {
			return nil, err
		}
		for _, s := range words[1:] {
			variable, value, _ := strings.Cut(s, "=")
			if err := f.Set(variable, value); err != nil {
				return nil, err
			}
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func load(name string) (*portcullis.Filter, error) {
	for _, b := range portcullis.Builtins() {
		if b == name {
			return portcullis.Load(name)
		}
	}
	if program, ok := strings.CutPrefix(name, "pinned:"); ok {
		return portcullis.LoadObject("pinned.o", pinned, program)
	}
	return portcullis.LoadObject("conformance.o", testdata.Conformance, name)
}

// testLog gives the test what the engine logs, up to a number of lines.
type testLog struct {
	t     *testing.T
	lines int
}

func (l *testLog) Write(b []byte) (int, error) {
	if l.lines--; l.lines >= 0 {
		l.t.Logf("engine: %s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

// result is what came of an attack: what the attacker wrote, and how it ended as
// a shell would say.
type result struct {
	out    string
	status int
}

// attack runs a mode of the attacker under a stack, to the end of everything it
// started. This process is the supervisor.
func attack(t *testing.T, stack string, args ...string) result {
	t.Helper()
	return run(t, command(t, stack, attacker(t), args...))
}

func run(t *testing.T, cmd *portcullis.Cmd) result {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &testLog{t: t, lines: 10}
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	await(t, cmd.Done())
	return result{strings.TrimRight(out.String(), " \n"), target.ExitStatus(cmd.ProcessState)}
}

func await(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience()):
		t.Fatal("the supervision does not end")
	}
}

// expect runs an attack and compares what it printed, line by line.
func expect(t *testing.T, stack string, mode string, want ...string) {
	t.Helper()
	compare(t, stack, mode, attack(t, stack, strings.Fields(mode)...).out, want)
}

func compare(t *testing.T, stack, mode, got string, want []string) {
	t.Helper()
	if w := strings.Join(want, "\n"); got != w {
		t.Errorf("%s under %s:\n%s\nexpected\n%s", mode, stack, got, w)
	}
}

// supervised runs an attack under a supervisor that is a process of its own,
// for attacks that it does not survive, or that change it for good. What the
// attacker writes is read to the end of everything that can write.
func supervised(t *testing.T, stack string, args ...string) result {
	t.Helper()
	return apart(t, supervise, stack, args...)
}

func apart(t *testing.T, how, stack string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	cmd := exec.CommandContext(ctx, made.File("suite"),
		append([]string{how, *engine, stack, attacker(t)}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.Discard // a killed Go program prints its stacks
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{strings.TrimRight(out.String(), " \n"), target.ExitStatus(cmd.ProcessState)}
}

// supervisor is the main of such a process.
func supervisor(how, stack string, args []string) int {
	fs, err := loadStack(stack)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	cmd := portcullis.Command(args[0], args[1:]...)
	cmd.Engine, cmd.Filters, cmd.Log = portcullis.Engine(*engine), fs, io.Discard
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	start := cmd.Start
	if how == become {
		start = cmd.Exec
	}
	if err := start(); err != nil {
		fmt.Println("refused:", err)
		return 125
	}
	_ = cmd.Wait() // the state says it
	<-cmd.Done()
	return target.ExitStatus(cmd.ProcessState)
}

// needRoot skips a test that only root can make sense of.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: " + why)
	}
}

// needNamespaces skips a test whose attacker needs a user namespace of its own.
func needNamespaces(t *testing.T) {
	t.Helper()
	cmd := exec.Command(attacker(t), "identity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Run(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
}
