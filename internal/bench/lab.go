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
)

// lab is where measurements are made, and the report they go to.
type lab struct {
	*report
	dir    string // for what is compiled; every user may look into it
	root   string // of the repository
	rounds int
}

func newLab(rounds int, text io.Writer) (*lab, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "portcullis-bench")
	if err != nil {
		return nil, err
	}
	l := &lab{report: newReport(rounds, text), dir: dir, root: root, rounds: rounds}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another user than root
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

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

// missingError is a tool that a subject needs and this machine lacks.
type missingError struct{ tool, packages string }

func (e *missingError) Error() string {
	return fmt.Sprintf("needs %s: apt-get install %s", e.tool, e.packages)
}

// tool finds a program, also where servers are.
func tool(name, packages string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &missingError{name, packages}
}

// compile makes the program of testdata/NAME.c and returns its path.
func (l *lab) compile(name string, flags ...string) (string, error) {
	gcc, err := tool("gcc", "gcc libc6-dev")
	if err != nil {
		return "", err
	}
	out := filepath.Join(l.dir, name)
	source := filepath.Join(l.root, "internal/bench/testdata", name+".c")
	args := append([]string{"-O2", "-Wall", "-Werror", "-o", out, source}, flags...)
	if text, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, text)
	}
	return out, nil
}

// hasHeader tells whether C programs can include a header.
func hasHeader(name string) bool {
	cmd := exec.Command("gcc", "-E", "-x", "c", "-include", name, os.DevNull)
	return cmd.Run() == nil
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
