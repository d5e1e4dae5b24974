package main

import (
	"os"
	"sort"
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/event"
)

const served = `version: 1
rules:
  - allow: [read, write, clone, clone3, accept, socket, execve]
phases:
  - name: start
    deny: [accept]
    next:
      - {on: accept, to: serve}
      - {on: [accept, write], to: other}
      - {on: clone, if: {flags: {all: CLONE_THREAD}}, to: worker}
  - name: serve
    allow: [read, write, accept]
  - name: worker
    deny: [execve]
  - {name: other, deny: [execve]}
`

func (c calls) String() string {
	var names []string
	for name := range c {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

// Calls that lead out of a phase are of it, whatever its lists say.
func TestInPhase(t *testing.T) {
	m, err := machineOf("served", []byte(served))
	if err != nil {
		t.Fatal(err)
	}
	for phase, want := range map[string]string{
		"start":  "accept clone clone3 execve read socket write",
		"serve":  "accept read write",
		"worker": "accept clone clone3 read socket write",
	} {
		if got := m.inPhase(phase).String(); got != want {
			t.Errorf("%s: %s, expected %s", phase, got, want)
		}
	}
}

// A call is of the phase that it is made in, and of the one that it leads to: by the first
// way that it is in.
func TestTrace(t *testing.T) {
	m, err := machineOf("served", []byte(served))
	if err != nil {
		t.Fatal(err)
	}
	self := os.Getpid() // who has a parent, which is none of those traced
	tr := newTrace(m)
	add := func(pid int, name string, arg uint64) {
		var e portcullis.Event
		e.Pid, e.Call = pid, event.Call{Name: name}
		e.Call.Args[0] = arg
		tr.add(e)
	}
	add(1<<30, "read", 0)
	add(1<<30, "accept", 0)
	add(1<<30, "clone", 17)
	add(self, "write", 0)
	add(1<<30+1, "clone", cloneThread)
	if got := tr.all[0].made["start"].String(); got != "accept read" {
		t.Errorf("the first process made %s in its first phase, expected accept and read", got)
	}
	if got := tr.all[0].made["serve"].String(); got != "accept clone" {
		t.Errorf("and %s in the next one, expected accept and clone", got)
	}
	if got := tr.all[1].made["serve"].String(); got != "write" {
		t.Errorf("a child made %s in the phase of who forked last, expected write", got)
	}
	if len(tr.all) != 3 || tr.total != 5 {
		t.Errorf("%d processes and %d calls, expected 3 and 5", len(tr.all), tr.total)
	}
}

func TestMachineRefuses(t *testing.T) {
	for add, want := range map[string]string{
		"default: allow\n": "expected that what it does not name is refused",
		"unknown: allow\n": "expected that what it does not name is refused",
		"limits:\n  - {calls: read, max: 3, per: process}\n": "expected no state but phases",
	} {
		if _, err := machineOf("served", []byte(served+add)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", add, err, want)
		}
	}
	if _, err := machineOf("served", []byte("version: 1\nrules:\n  - allow: read\n")); err == nil || !strings.Contains(err.Error(), "expected phases") {
		t.Errorf("a policy without phases: %v", err)
	}
	conditional := strings.Replace(served, "{on: accept, to: serve}", "{on: accept, if: {flags: 1}, to: serve}", 1)
	if _, err := machineOf("served", []byte(conditional)); err == nil {
		t.Error("a way with a condition was taken")
	}
	if _, err := newMachine("nobody"); err == nil {
		t.Error("a policy that there is not was taken")
	}
}

// The servers of the comparison have policies that can be evaluated.
func TestServers(t *testing.T) {
	for _, name := range servers() {
		if _, err := newMachine(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
