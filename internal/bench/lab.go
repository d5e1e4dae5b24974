//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"portcullis"
	"portcullis/internal/bench/tables"
)

// lab is where measurements are made, and the report they go to.
type lab struct {
	*report
	dir     string // for what is compiled; every user may look into it
	root    string // of the repository
	rounds  int
	project string // what is built
}

func newLab(rounds int, text io.Writer) (*lab, error) {
	root, err := tables.Repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "portcullis-bench")
	if err != nil {
		return nil, err
	}
	l := &lab{report: newReport(rounds, text), dir: dir, root: root, rounds: rounds, project: defaultProject}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another user than root
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// missingError is what a subject needs and this machine lacks.
type missingError struct{ tools, packages []string }

func (e *missingError) Error() string {
	return fmt.Sprintf("needs %s: apt-get install %s", strings.Join(e.tools, ", "), strings.Join(e.packages, " "))
}

// tool is a program, a header or the path of a file, and Debian's package of it.
type tool struct{ name, pkg string }

// The tools that subjects need.
const (
	compiler   = "gcc"
	scmpH      = "seccomp.h"
	webServer  = "nginx"
	webClient  = "wrk"
	pinner     = "taskset"
	callTracer = "strace"
)

func tools() []tool {
	return []tool{
		{compiler, "gcc libc6-dev"},
		{scmpH, "libseccomp-dev"},
		{webServer, "nginx-light"},
		{webClient, "wrk"},
		{pinner, "util-linux"},
		{callTracer, "strace"},
		{"make", "make"},
		{"python3", "python3"},
		{"xz", "xz-utils"},
		{"go", "golang"},
		{"gelf.h", "libelf-dev"},
		{kernelSource, "linux-source-6.12"},
	}
}

// need fails with all that is missing at once: a *missingError.
func need(names ...string) error {
	lacking := &missingError{}
	for _, t := range tools() {
		if contains(names, t.name) && !t.present() {
			lacking.tools, lacking.packages = append(lacking.tools, t.name), append(lacking.packages, t.pkg)
		}
	}
	if len(lacking.tools) > 0 {
		return lacking
	}
	return nil
}

func (t tool) present() bool {
	if strings.HasSuffix(t.name, ".h") {
		return exec.Command(compiler, "-E", "-x", "c", "-include", t.name, os.DevNull).Run() == nil
	}
	if filepath.IsAbs(t.name) {
		_, err := os.Stat(t.name)
		return err == nil
	}
	return find(t.name) != ""
}

// find looks for a program also where servers are; "" if there is none.
func find(name string) string {
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// compile makes the program of testdata/NAME.c and returns its path.
func (l *lab) compile(name string, flags ...string) (string, error) {
	out := filepath.Join(l.dir, name)
	source := filepath.Join(l.root, "internal/bench/testdata", name+".c")
	args := append([]string{"-O2", "-Wall", "-Werror", "-o", out, source}, flags...)
	if text, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", compiler, err, text)
	}
	return out, nil
}

// cli builds the command.
func (l *lab) cli() (string, error) {
	bin := filepath.Join(l.dir, "portcullis")
	build := exec.Command("go", "build", "-o", bin, "./cmd/portcullis")
	build.Dir, build.Stderr = l.root, os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	return bin, build.Run()
}

// load takes a filter of one of the measured objects, given as FILE:PROGRAM
// below the root of the repository.
func (l *lab) load(spec string) (*portcullis.Filter, error) {
	return portcullis.Load(filepath.Join(l.root, spec))
}

// output runs cmd and returns what it wrote; the error holds what it complained.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(complaint.String()))
	}
	return out, nil
}

// command joins the parts of a command line.
func command(parts ...[]string) *exec.Cmd {
	var argv []string
	for _, p := range parts {
		argv = append(argv, p...)
	}
	return exec.Command(argv[0], argv[1:]...)
}
