package conformance

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/filters/testdata"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// The suite runs in three places: here, here as nobody, and in guests. The
// latter two are this binary again, told where the victims are and who enforces.
var (
	made   = kit.New()
	engine = flag.String("engine", "agent", "engine the suite runs on")
)

func TestMain(m *testing.M) {
	guest.MaybeInit()
	os.Exit(made.Main(m, fill))
}

// fill puts what the suite needs where every user and a guest can see it. Without a C
// compiler there are no victims, and the tests that need them skip.
func fill(dir string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	object, err := os.ReadFile("testdata/filters/pinned.o")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"conformance.o": testdata.Conformance, "pinned.o": object, "pinned_numbers.h": []byte(numbers()),
	} {
		if err := os.WriteFile(in(name), data, 0o644); err != nil {
			return err
		}
	}
	if err := kit.CopySelf(in("suite")); err != nil {
		return err
	}
	if err := kit.Compile(in("victim"), "testdata/victim.c"); err != nil {
		return err
	}
	if runtime.GOARCH != "amd64" {
		return nil
	}
	if err := kit.Compile(in("holder"), "testdata/cve.c"); err != nil {
		return err
	}
	return kit.Compile(in("pinned"), "-w", "-I", dir, "-I", "../../include", "testdata/pinned.c")
}

// victim is the path of the compiled victim.
func victim(t *testing.T) string {
	t.Helper()
	return made.Compiled(t, "victim")
}

// command is cmd under the programs of the suite's object, or built-in filters
// where a name has no program there: "count-exec max=2" sets a variable too.
func command(t *testing.T, filters []string, name string, args ...string) *portcullis.Cmd {
	t.Helper()
	cmd := portcullis.Command(name, args...)
	cmd.Engine = portcullis.Engine(*engine)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + t.TempDir()}
	for _, f := range filters {
		words := strings.Fields(f)
		cmd.Filters = append(cmd.Filters, load(t, words[0], words[1:]))
	}
	return cmd
}

func load(t *testing.T, name string, set []string) *portcullis.Filter {
	t.Helper()
	spec := name
	if !builtin(name) {
		spec = made.File("conformance.o") + ":" + name
	}
	f, err := portcullis.Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range set {
		variable, value, _ := strings.Cut(s, "=")
		if err := f.Set(variable, value); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func builtin(name string) bool {
	for _, b := range portcullis.Builtins() {
		if b == name {
			return true
		}
	}
	return false
}

// result is what came of a command: what it wrote, and how it ended as a shell
// would say.
type result struct {
	out    string
	status int
}

// run runs cmd to the end of everything it started.
func run(t *testing.T, cmd *portcullis.Cmd) result {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%v: %+v", cmd.Args, err)
	}
	<-cmd.Done()
	return result{strings.TrimRight(out.String(), "\n"), status(cmd.ProcessState)}
}

func status(s *os.ProcessState) int {
	if ws := s.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
