//go:build linux && amd64

// Command bench measures the engines against named floors and prints one table
// of ratios per subject: `make bench` runs all of them.
//
// Every figure that is compared with another is taken in turn with it, round by
// round, and the median of the rounds' ratios is printed; absolute figures
// depend on the machine and are medians too.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"portcullis"
	"portcullis/internal/guest"
)

// subjects are what can be measured, in the order of the report.
var subjects = []struct {
	name string
	run  func(*lab) error
}{
	{"decide", decide},
	{"launch", launch},
	{"many", many},
	{"verify", verifyAndSplit},
}

// lab is where measurements are made.
type lab struct {
	dir    string // for the compiled victim
	victim string
	rounds int
	root   string // of the repository
}

func main() {
	guest.MaybeInit()
	portcullis.MaybeInit()
	rounds := flag.Int("rounds", 15, "rounds a comparison takes")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [-rounds N] [decide|launch|many|verify]...\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := measure(*rounds, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func measure(rounds int, names []string) error {
	l, err := newLab(rounds)
	if err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	for _, s := range subjects {
		if !wanted(s.name, names) {
			continue
		}
		fmt.Printf("== %s\n", s.name)
		if err := s.run(l); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func wanted(name string, names []string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return len(names) == 0
}

// newLab compiles the victim; it takes a C compiler and the repository.
func newLab(rounds int) (*lab, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "portcullis-bench")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, victim: filepath.Join(dir, "victim"), rounds: rounds, root: root}
	source := filepath.Join(root, "internal/bench/testdata/victim.c")
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", l.victim, source).CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("gcc: %w: %s", err, out)
	}
	return l, nil
}

func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("expected to be run inside the repository")
	}
	return filepath.Dir(mod), nil
}

// load takes a program of one of the measured objects.
func (l *lab) load(spec string) (*portcullis.Filter, error) {
	return portcullis.Load(filepath.Join(l.root, "filters/testdata", spec))
}

// median is the middle of xs.
func median(xs []float64) float64 {
	s := append([]float64(nil), xs...)
	sort.Float64s(s)
	return s[len(s)/2]
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

func row(name string, format string, args ...any) {
	fmt.Printf("%-44s %s\n", name, fmt.Sprintf(format, args...))
}
