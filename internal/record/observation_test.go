package record

import (
	"sort"
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
)

// calls are those of a task, each once, in their order.
func calls(t *testing.T, task, from uint64, comm, names string) (all []Counted) {
	t.Helper()
	for i, name := range strings.Fields(names) {
		nr, ok := syscalls.Number(name)
		if !ok {
			t.Fatalf("%s: no such call", name)
		}
		at := from + uint64(i)
		all = append(all, Counted{Task: task, Comm: comm, Nr: nr, Count: 2, First: at, Last: at})
	}
	return all
}

// TestExactPhases has a process fork one child before it waits and one behind that: the
// second cannot do what the first did, though all have one name.
func TestExactPhases(t *testing.T) {
	o := &Observation{Tasks: []Task{{1, 0, 10, 10, 1}, {2, 1, 11, 11, 12}, {3, 1, 12, 12, 30}, {4, 3, 12, 13, 35}}}
	o.Calls = append(o.Calls, calls(t, 1, 10, "srv", "bind fork")...)
	o.Calls = append(o.Calls, calls(t, 2, 20, "srv", "mount bind")...)
	o.Calls = append(o.Calls, calls(t, 1, 25, "srv", "epoll_wait clone")...)
	o.Calls = append(o.Calls, calls(t, 3, 40, "srv", "getppid")...)
	o.Calls = append(o.Calls, calls(t, 4, 50, "srv", "getpgrp")...)
	r := New()
	r.Observe(o)
	text := made(t, r, Options{Mode: Phases, By: "x"})
	if !strings.Contains(text, "deny: [bind, fork, mount]") || !strings.Contains(text, "# x\n") {
		t.Errorf("got\n%s", text)
	}
}

// TestExactWays has each of three be born in the phase of the one before: there is a way from each
// to the next, and no other.
func TestExactWays(t *testing.T) {
	o := &Observation{Tasks: []Task{{1, 0, 10, 10, 1}, {2, 1, 11, 11, 13}, {3, 2, 12, 12, 23}}}
	o.Calls = append(o.Calls, calls(t, 1, 10, "srv", "bind rt_sigsuspend fork wait4")...)
	o.Calls = append(o.Calls, calls(t, 2, 20, "srv", "setuid poll fork getcwd")...)
	o.Calls = append(o.Calls, calls(t, 3, 30, "srv", "chroot epoll_wait accept4")...)
	r := New()
	r.Observe(o)
	all, err := r.phases(Options{Transitions: []string{"rt_sigsuspend=one", "poll=two", "epoll_wait=three"}, StrictStart: true})
	if err != nil {
		t.Fatal(err)
	}
	var ways []string
	for _, p := range all {
		for _, w := range p.Next {
			ways = append(ways, p.Name+" "+w.On[0].Text+" "+w.To)
		}
	}
	sort.Strings(ways)
	if got, want := strings.Join(ways, ", "), "one poll two, start rt_sigsuspend one, two epoll_wait three"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestUncountedParent has a process be born of one that made no calls, which is in the phase that
// it was born in itself.
func TestUncountedParent(t *testing.T) {
	o := &Observation{Tasks: []Task{{1, 0, 10, 10, 1}, {2, 1, 11, 11, 20}, {3, 2, 12, 12, 30}}}
	o.Calls = append(o.Calls, calls(t, 1, 10, "srv", "bind epoll_wait")...)
	o.Calls = append(o.Calls, calls(t, 3, 40, "srv", "mount")...)
	r := New()
	r.Observe(o)
	if text := made(t, r, Options{Mode: Phases}); !strings.Contains(text, "deny: [bind]") {
		t.Errorf("got\n%s", text)
	}
}

// TestObserve makes the same policy of counters and of events, and tells of what was lost.
func TestObserve(t *testing.T) {
	r, s := New(), New()
	r.Observe(&Observation{
		Tasks: []Task{{1, 0, 1, 1, 1}},
		Calls: []Counted{
			{Task: 1, Comm: "a", Nr: 41, Args: [2]uint64{1, 1}, Count: 2, First: 1, Last: 3},
			{Task: 1, Comm: "a", Nr: 0, Count: 1, First: 2, Last: 2},
			{Task: 1, Comm: "a", Nr: 4000, Count: 7},
		},
		Steps: [][2]uint32{{start, 41}}, Lost: 3, Foreign: 1,
	})
	feed(t, s, "1 a socket 1 0x80001\n1 a read\n1 a socket 1 1\n1 a lost\n1 a i386")
	for i := 0; i < 7; i++ {
		feed := parse(t, strings.Fields("1 a i386"))
		s.Add(&feed)
	}
	for _, mode := range []Mode{Allowlist, Flow} {
		if got, want := made(t, r, Options{Mode: mode}), made(t, s, Options{Mode: mode}); got != want {
			t.Errorf("of counters:\n%s\nof events:\n%s", got, want)
		}
	}
	if made(t, r, Options{Mode: Paths}) != "1 of 1 run without names of files or addresses: expected events that record --mode paths or all wrote\n" {
		t.Error("a policy of names that were never read")
	}
}

// TestCrowdsCounted is TestCrowds for counters.
func TestCrowdsCounted(t *testing.T) {
	o := &Observation{}
	for i := uint64(1); i <= maxThreads+1; i++ {
		o.Tasks = append(o.Tasks, Task{Serial: i, Parent: i - 1, Pid: int(i)})
		o.Calls = append(o.Calls, Counted{Task: i, Nr: 50, Count: 1, First: i, Last: i})
	}
	r := New()
	r.Observe(o)
	if _, err := r.Policy(Options{Mode: Flow}); err == nil || !strings.Contains(err.Error(), "--mode allowlist") {
		t.Errorf("%v: expected a refusal with a remedy", err)
	}
	made(t, r, Options{Mode: Allowlist})
}
