// Package kit makes what a suite of tests compiles, once, in a directory that runs of the
// same suite as another user or in a guest are told by a flag.
package kit

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kit is such a directory. Every user can see what is in it.
type Kit struct{ dir string }

// New returns the kit that the flag -kit names, or that Main makes.
func New() *Kit {
	k := &Kit{}
	flag.StringVar(&k.dir, "kit", "", "directory with what the suite compiles; made if empty")
	return k
}

// Main is the body of a TestMain: it makes the kit where the flag names none, and runs
// the tests (m is a *testing.M).
func (k *Kit) Main(m interface{ Run() int }, fill func(dir string) error) int {
	flag.Parse()
	if k.dir != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "kit")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = fill(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "kit: %v\n", err)
		return 1
	}
	k.dir = dir
	return m.Run()
}

// Dir is the directory.
func (k *Kit) Dir() string { return k.dir }

// Flag is the argument that tells another run of the suite where the kit is.
func (k *Kit) Flag() string { return "-kit=" + k.dir }

// File is the path of a file in the kit.
func (k *Kit) File(name string) string { return filepath.Join(k.dir, name) }

// TB is the part of testing.TB that Compiled needs.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
}

// Compiled is the path of a program in the kit. Without a compiler there is none, and the
// test is skipped.
func (k *Kit) Compiled(t TB, name string) string {
	t.Helper()
	if _, err := os.Stat(k.File(name)); err != nil {
		t.Skipf("needs gcc: it compiles the %s", name)
	}
	return k.File(name)
}

// Long tells whether tests may take hours, as make soak has them.
func Long() bool { return os.Getenv("PORTCULLIS_LONG") != "" }

// Wide tells whether tests may take twice the minutes that a person waits for: continuous
// integration and make soak leave nothing out that is not Long.
func Wide() bool { return os.Getenv("PORTCULLIS_WIDE") != "" || Long() }

// Compile makes a static program of C sources and further arguments of gcc. Without a
// compiler it does nothing.
func Compile(program string, args ...string) error {
	if _, err := exec.LookPath("gcc"); err != nil {
		return nil
	}
	args = append([]string{"-O1", "-static", "-pthread", "-o", program}, args...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// CopySelf puts the running suite at path, for others to run.
func CopySelf(path string) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(path, self, 0o755)
}
