package conformance

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"

	"portcullis"
	"portcullis/internal/kit"
)

// lives is how many tasks of each kind come and go: PORTCULLIS_LIVES, of which
// make soak makes a million.
func lives(t *testing.T) int {
	t.Helper()
	s := os.Getenv("PORTCULLIS_LIVES")
	if s == "" {
		return 6000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("PORTCULLIS_LIVES: %v", err)
	}
	return n
}

// TestShortLives has tasks with storage come and go, and finds the supervisor as
// it was: what it keeps depends on how many live, not on how many have lived.
func TestShortLives(t *testing.T) {
	if *engine != "agent" {
		t.Skip("needs the agent engine: the kernel's has no supervisor")
	}
	for _, c := range []struct {
		kind string
		cost int // how many of the cheapest one takes as long as
	}{{"processes", 1}, {"threads", 1}, {"executions", 10}, {"orphans", 2}} {
		c := c
		t.Run(c.kind, func(t *testing.T) { churn(t, c.kind, lives(t)/c.cost/2) })
	}
}

const (
	// held bounds the descriptors of tasks that are dead or about to be: the
	// supervisor looks for dead ones each time it has this many or twice as many
	// as were alive.
	held = 64 + 2*8
	// grown bounds what a heap gains by chance, in bytes.
	grown = 64 << 10
)

func churn(t *testing.T, kind string, n int) {
	filters := []string{"process-count limit=1000000000000", "thread-count limit=1000000000000"}
	cmd := command(t, filters, victim(t), "churn", kind, fmt.Sprint(n))
	ask, hear := conversation(t, cmd)
	before := measure(t)
	live := func() usage {
		fmt.Fprintln(ask)
		if line, err := hear.ReadString('\n'); line != "lived\n" {
			t.Fatalf("the victim said %q: %v", line, err)
		}
		return measure(t)
	}
	warm := live()
	after := live()
	t.Logf("%d %s: %v before, %v after half of them, %v after all", 2*n, kind, before, warm, after)
	if after.heap > warm.heap+grown {
		t.Errorf("the heap went from %d to %d bytes: expected what ended to be forgotten", warm.heap, after.heap)
	}
	if after.files > before.files+held || after.zombies > before.zombies+held {
		t.Errorf("%v, and %v at the beginning: expected at most %d more", after, before, held)
	}
	ask.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	<-cmd.Done()
	if end := measure(t); end.files > before.files || end.zombies > before.zombies {
		t.Errorf("%v in the end, %v at the beginning: expected nothing to be left", end, before)
	}
}

// conversation starts cmd with pipes that no goroutine copies.
func conversation(t *testing.T, cmd *portcullis.Cmd) (ask io.WriteCloser, hear *bufio.Reader) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inW.Close(); outR.Close() })
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	return inW, bufio.NewReader(outR)
}

// usage is what this process, the supervisor, holds.
type usage struct {
	heap           uint64
	files, zombies int
}

func (u usage) String() string {
	return fmt.Sprintf("%d bytes, %d files, %d zombies", u.heap, u.files, u.zombies)
}

func measure(t *testing.T) usage {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found to be finalized
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return usage{m.HeapAlloc, len(files), zombies(t)}
}

// zombies counts the children of this process that nobody has waited for.
func zombies(t *testing.T) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // no process
		}
		words, err := kit.Stat(pid)
		if err == nil && words[kit.StatState] == "Z" && words[kit.StatParent] == strconv.Itoa(os.Getpid()) {
			n++
		}
	}
	return n
}
