package record

import (
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
)

// TestForksOfMany finds the phases of a process that had many threads, each of which forked often.
// It does not end in time if a process's transition is looked for at each fork.
func TestForksOfMany(t *testing.T) {
	const threads, kinds = 1 << 15, 16
	r := New()
	e := parse(t, []string{"1", "x", "bind"})
	r.Add(&e)
	e = parse(t, []string{"1", "x", "listen"})
	for i := 1; i <= threads; i++ {
		e.Tid = i
		for _, call := range syscalls.All()[:kinds] {
			e.Call.Nr = int32(call.Nr)
			r.Add(&e)
		}
		for j := 0; j < maxForks/threads; j++ {
			e.Call.Nr = forkCall
			r.Add(&e)
		}
	}
	for _, line := range []string{"1 x getpid", "70000 x getppid"} {
		e = parse(t, strings.Fields(line))
		r.Add(&e)
	}
	if text := made(t, r, Options{Mode: Phases, Transitions: []string{}}); !strings.Contains(text, "deny: [bind]") {
		t.Errorf("got\n%s", text)
	}
}

// TestDoubts has a process of many threads take another name again and again, as if others got its
// number: they are counted, and the policy that needs them is refused.
func TestDoubts(t *testing.T) {
	const threads = 1 << 10
	r := New()
	e := parse(t, []string{"1", "x", "listen"})
	for e.Tid = 2; e.Tid < threads; e.Tid++ {
		r.Add(&e)
	}
	e.Tid = 1
	for i := 0; i < 2*maxThreads; i++ {
		e.Comm = string([]byte{'a' + byte(i%2)})
		r.Add(&e)
	}
	if n := len(r.runs[0].processes); !r.crowded || n > maxThreads {
		t.Errorf("%d processes: expected to be told of the crowd", n)
	}
	made(t, r, Options{Mode: Allowlist})
}
