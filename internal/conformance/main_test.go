package conformance

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/filters/testdata"
	"portcullis/internal/guest"
)

// The suite runs in three places: here, here as nobody, and in guests. The
// latter two are this binary again, told where the victim is and who enforces.
var (
	kit    = flag.String("kit", "", "directory with the victim and the filters; made if empty")
	engine = flag.String("engine", "agent", "engine the suite runs on")
)

func TestMain(m *testing.M) {
	guest.MaybeInit()
	flag.Parse()
	os.Exit(runWithKit(m))
}

func runWithKit(m *testing.M) int {
	if *kit != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err == nil {
		defer os.RemoveAll(dir)
		err = makeKit(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "conformance: %v\n", err)
		return 1
	}
	*kit = dir
	return m.Run()
}

// makeKit puts what the suite needs where every user and a guest can see it.
// Without a C compiler there is no victim, and the tests that need it skip.
func makeKit(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "conformance.o"), testdata.Conformance, 0o644); err != nil {
		return err
	}
	if err := copyFile("/proc/self/exe", filepath.Join(dir, "suite")); err != nil {
		return err
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return nil
	}
	victim := exec.Command("gcc", "-O1", "-static", "-pthread", "-o", filepath.Join(dir, "victim"), "testdata/victim.c")
	if out, err := victim.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s", err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// victim is the path of the compiled victim.
func victim(t *testing.T) string {
	t.Helper()
	path := filepath.Join(*kit, "victim")
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs gcc: it compiles the victim")
	}
	return path
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
		spec = filepath.Join(*kit, "conformance.o") + ":" + name
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
