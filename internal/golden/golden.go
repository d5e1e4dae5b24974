// Package golden runs tests whose cases are data: programs in the assembly of
// package bpfasm, several to an archive, each behind what is expected of it.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/prog"
)

// update makes Run write what is found over what was expected.
var update = flag.Bool("update", false, "write what is found into testdata")

// Run runs each case of testdata/*.txtar as a subtest. A file of an archive is
// the expected lines, which begin with "# ", and then a program; found gives the
// lines that hold for it, or fails the test.
func Run(t *testing.T, found func(t *testing.T, p *prog.Program) string) {
	t.Helper()
	for _, path := range archives(t) {
		a := parse(t, path)
		for i := range a.Files {
			c := &a.Files[i]
			t.Run(filepath.Base(path)+"/"+c.Name, func(t *testing.T) { compare(t, c, found) })
		}
		if *update {
			if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func compare(t *testing.T, c *txtar.File, found func(*testing.T, *prog.Program) string) {
	want, text := expectation(string(c.Data))
	got := found(t, assemble(t, c))
	if *update {
		c.Data = []byte(got + text)
		return
	}
	if got != want {
		t.Errorf("found\n%s\nexpected\n%s", got, want)
	}
}

// Programs are the programs of all cases, under the names of their files.
func Programs(t testing.TB) []Program {
	t.Helper()
	var all []Program
	for _, path := range archives(t) {
		a := parse(t, path)
		for i := range a.Files {
			all = append(all, Program{Name: a.Files[i].Name, Program: assemble(t, &a.Files[i])})
		}
	}
	return all
}

// Program is the program of one case.
type Program struct {
	// Name is the case's.
	Name string
	*prog.Program
}

func archives(t testing.TB) []string {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("expected cases in testdata, found %v, %v", paths, err)
	}
	return paths
}

func parse(t testing.TB, path string) *txtar.Archive {
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func assemble(t testing.TB, c *txtar.File) *prog.Program {
	_, text := expectation(string(c.Data))
	p, err := bpfasm.Assemble("p", text)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return p
}

// expectation splits the leading comment off.
func expectation(data string) (want, text string) {
	for strings.HasPrefix(data, "# ") {
		line, rest, _ := strings.Cut(data, "\n")
		want += line + "\n"
		data = rest
	}
	return want, data
}
