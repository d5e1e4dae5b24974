package main

import (
	"reflect"
	"testing"
)

func callsOf(names ...string) calls {
	all := calls{}
	for _, name := range names {
		all[name] = true
	}
	return all
}

func servedMachine(t *testing.T) *machine {
	t.Helper()
	m, err := machineOf("served", []byte(served))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// twoRuns are two processes that serve, a worker, and one that never leaves the first phase.
func twoRuns() []*trace {
	return []*trace{
		{total: 9, all: []*process{
			{"serve", map[string]calls{"start": callsOf("execve", "socket", "read", "accept"), "serve": callsOf("accept", "read", "write")}},
			{"worker", map[string]calls{"start": callsOf("clone3"), "worker": callsOf("clone3", "read", "write")}},
			{"start", map[string]calls{"start": callsOf("read", "clone")}},
		}},
		{total: 5, all: []*process{
			{"serve", map[string]calls{"start": callsOf("socket", "accept"), "serve": callsOf("accept", "socket")}},
		}},
	}
}

// TestCount has each figure of two runs worked out by hand. Three calls are never observed,
// and are in every list: rt_sigreturn, exit and exit_group.
func TestCount(t *testing.T) {
	r := Result{}
	if err := r.count(servedMachine(t), twoRuns()); err != nil {
		t.Fatal(err)
	}
	want := Result{
		Calls: 14,
		// In start execve, socket, read, accept, clone3, clone; later accept, read, write,
		// socket, clone3: seven of both.
		Recorded:   Split{7 + 3, 6 + 3, 5 + 3, 0.1, 0.2},
		OneList:    Split{7 + 3, 7 + 3, 7 + 3, 0, 0},
		TwoFilters: Split{7 + 3, 7 + 3, 5 + 3, 0, 0.2},
		ByPhases:   Split{7 + 3, 6 + 3, 5 + 3, 0.1, 0.2},
		// Of seven that the policy has, the later phases together lack execve.
		Policy: Split{7, 7, 6, 0, 1.0 / 7},
		// Docker's list lacks clone3 of them.
		Docker:        Split{308, 6, 5, 302.0 / 308, 303.0 / 308},
		OutsideDocker: []string{"clone3"},
		Phases: []Phase{
			{"start", 4, 6 + 3, 7}, {"serve", 2, 4 + 3, 3}, {"worker", 1, 3 + 3, 6}, {"other", 0, 0 + 3, 6},
		},
		// Who serves made execve, socket, read and accept before, and accept, read, write and
		// socket there; a worker clone3, and clone3, read and write. The last one has no kind.
		Kinds: []Kind{
			{"serve", 2, Split{5 + 3, 4 + 3, 4 + 3, 0.125, 0.125}},
			{"worker", 1, Split{3 + 3, 1 + 3, 3 + 3, 2.0 / 6, 0}},
		},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("found\n%+v, expected\n%+v", r, want)
	}
}

// TestKind has none of who stays in the first phase, or of nobody.
func TestKind(t *testing.T) {
	m, r := servedMachine(t), Result{}
	r.kind(m, "start", twoRuns()[0].all)
	r.kind(m, "other", nil)
	if len(r.Kinds) != 0 {
		t.Errorf("found %+v, expected none", r.Kinds)
	}
}

// TestCompare tells what Docker's list lacks of what was seen, in order, whatever phase it is of.
func TestCompare(t *testing.T) {
	m := servedMachine(t)
	s := newSeen(m, map[string]calls{"start": callsOf("read", "ptrace", "clone3"), "serve": callsOf("bpf")})
	r := Result{}
	r.compare(s, callsOf("read", "clone3"))
	if want := (Split{7, 6, 4, 1.0 / 7, 3.0 / 7}); r.Recorded != want {
		t.Errorf("recorded %+v, expected %+v", r.Recorded, want)
	}
	if want := (Split{7, 7, 2, 0, 5.0 / 7}); r.Policy != want {
		t.Errorf("of the policy %+v, expected %+v", r.Policy, want)
	}
	if want := (Split{308, 6, 1, 302.0 / 308, 307.0 / 308}); r.Docker != want {
		t.Errorf("of Docker's list %+v, expected %+v", r.Docker, want)
	}
	if want := []string{"bpf", "clone3"}; !reflect.DeepEqual(r.OutsideDocker, want) {
		t.Errorf("outside of Docker's list %v, expected %v", r.OutsideDocker, want)
	}
}

// TestSplit has no shares of nothing.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		got, want Split
	}{
		{splitOf(8, 6, 2), Split{8, 6, 2, 0.25, 0.75}},
		{splitOf(0, 0, 0), Split{}},
	} {
		if c.got != c.want {
			t.Errorf("found %+v, expected %+v", c.got, c.want)
		}
	}
}
