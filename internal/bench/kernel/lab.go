//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"portcullis/internal/bench/tables"
	"portcullis/internal/guest"
)

// lab is where the guests find what they run.
type lab struct {
	options
	dir string // the guest's user reads it
}

// Files of the lab.
const (
	callsFile  = "calls"      // calls.c, compiled
	serveFile  = "serve"      // serve.c
	askFile    = "ask"        // ask.c
	listFile   = "listed.bpf" // libseccomp's program
	listedFile = "listed.o"   // filters
	heldFile   = "held.o"     // filters about paths
)

func newLab(o options) (*lab, error) {
	root, err := tables.Repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "portcullis-bench")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, dir: dir}
	if err := l.fill(root); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// fill puts into the lab what is measured.
func (l *lab) fill(root string) error {
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return err
	}
	for _, from := range []string{
		"internal/bench/kernel/testdata/" + listFile,
		"internal/bench/kernel/testdata/" + rulesFile,
		"internal/bench/testdata/filters/" + allowFile,
		"internal/bench/testdata/filters/" + listedFile,
		"internal/bench/testdata/filters/" + heldFile,
	} {
		data, err := os.ReadFile(filepath.Join(root, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(l.dir, filepath.Base(from)), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{callsFile, serveFile, askFile} {
		if err := compile(root, name, filepath.Join(l.dir, name), "-static"); err != nil {
			return err
		}
	}
	return nil
}

// needError names a tool that is missing.
type needError struct{ what, pkg string }

func (e *needError) Error() string {
	return fmt.Sprintf("needs %s: apt-get install %s", e.what, e.pkg)
}

// compile makes a program of testdata.
func compile(root, name, out string, flags ...string) error {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return &needError{"gcc", "gcc libc6-dev"}
	}
	args := append([]string{
		"-O2", "-Wall", "-Werror", "-I", filepath.Join(root, "internal/bench/testdata"), "-o", out,
		filepath.Join(root, "internal/bench/kernel/testdata", name+".c"),
	}, flags...)
	if text, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}

// requests are fewer than calls: each is many of them.
func requests(o options) options {
	o.calls = max(o.calls/10, 1)
	o.rounds = max(o.rounds/4, 1)
	return o
}

// limit is of a guest's life, far above what it takes.
const limit = 20 * time.Minute

// measure takes figures of ways in a guest of cfg.
func (l *lab) measure(cfg guest.Config, o options, ways []string) (results, error) {
	words, err := json.Marshal(order{
		Dir: l.dir, Clock: clockOf(cfg), Calls: o.calls, Rounds: o.rounds, Ways: ways,
	})
	if err != nil {
		return nil, err
	}
	cfg.CPUs, cfg.Timeout, cfg.Flavour = 1, limit, l.flavour
	cmd := guest.Command(cfg, guest.Self, insideWord, string(words))
	// The lab is in a folder that the guest shows only where a command is run in it.
	cmd.Dir, cmd.UID = l.dir, guest.Nobody
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	if lines := cmd.Complaints(); len(lines) > 0 {
		return nil, fmt.Errorf("the guest's kernel complained: %s", lines[0])
	}
	got := make(results)
	return got, json.Unmarshal(out.Bytes(), &got)
}

// clockOf is the clock of calls.c.
func clockOf(cfg guest.Config) string {
	if cfg.Clock == guest.Counted {
		return "counted"
	}
	return "real"
}
