package kit_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/kit"
)

// suite stands in for a *testing.M: what a run of tests does.
type suite func() int

func (s suite) Run() int { return s() }

func TestMain(m *testing.M) {
	made := kit.New()
	os.Exit(made.Main(suite(func() int { return check(made, m) }), func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "file"), []byte("filled"), 0o644)
	}))
}

// check looks at the kit before the tests run, and at what is left of none afterwards.
func check(k *kit.Kit, m *testing.M) int {
	text, err := os.ReadFile(k.File("file"))
	if err != nil || string(text) != "filled" || k.Flag() != "-kit="+k.Dir() {
		fmt.Fprintf(os.Stderr, "%s: %q, %v: expected what fill put there\n", k.Flag(), text, err)
		return 1
	}
	info, err := os.Stat(k.Dir())
	if err != nil || info.Mode().Perm() != 0o755 {
		fmt.Fprintf(os.Stderr, "%s: %v, %v: expected others to see it\n", k.Dir(), info, err)
		return 1
	}
	return m.Run()
}

func TestFailure(t *testing.T) {
	var k kit.Kit
	ran := false
	code := k.Main(suite(func() int { ran = true; return 0 }), func(string) error { return errors.New("no room") })
	if code != 1 || ran {
		t.Errorf("exit status %d, ran %v: expected no test to run", code, ran)
	}
}

func TestCompile(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc")
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.c"), filepath.Join(dir, "main")
	if err := os.WriteFile(source, []byte("int main(void) { return 3; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := kit.Compile(program, source); err != nil {
		t.Error(err)
	} else if err := exec.Command(program).Run(); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("%v: expected status 3", err)
	}
	if err := kit.Compile(program, source+"x"); err == nil || !strings.Contains(err.Error(), "main.cx") {
		t.Errorf("%v: expected what gcc says", err)
	}
}

// skipped notes that a test was.
type skipped string

func (s *skipped) Helper() {}

func (s *skipped) Skipf(format string, args ...any) { *s = skipped(fmt.Sprintf(format, args...)) }

func TestCompiled(t *testing.T) {
	var k kit.Kit
	var s skipped
	k.Compiled(&s, "victim-that-is-not-there")
	if !strings.HasPrefix(string(s), "needs gcc") {
		t.Errorf("%q: expected a skip", s)
	}
}
