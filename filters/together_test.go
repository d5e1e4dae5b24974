package filters_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	agent "portcullis/internal/engine/agent/decide"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// waiting is a task that waits for a decision.
type waiting struct{ task }

func (w *waiting) Tid() int   { return int(w.thread) }
func (w *waiting) Pid() int   { return int(w.process) }
func (w *waiting) Err() error { return nil }

// TestNothingIsLostTogether asks one installation from many goroutines at once,
// while tasks are forgotten: filters that count without atomic instructions,
// under a lock or without one, count exactly.
func TestNothingIsLostTogether(t *testing.T) {
	const (
		getppid = 110
		askers  = 8
		each    = 500
		limit   = askers * each / 2
	)
	for _, name := range []string{"locked-count", "global-count", "array-count", "lru-count"} {
		in := installed(t, name, fmt.Sprint("limit=", limit))
		var group sync.WaitGroup
		allowed := make([]int, askers)
		for i := range allowed {
			group.Add(1)
			go func(i int) {
				defer group.Done()
				call := &agent.Call{
					Data:   abi.SeccompData{Nr: getppid, Arch: abi.ArchX86_64},
					Caller: &waiting{task{process: uint64(i), thread: uint64(i)}},
				}
				for n := 0; n < each; n++ {
					if d := in.Decide(call); d.Act() == agent.ActContinue {
						allowed[i]++
					}
					in.ForgetProcess(uint64(i))
				}
			}(i)
		}
		group.Wait()
		total := 0
		for _, n := range allowed {
			total += n
		}
		if total != limit {
			t.Errorf("%s: %d calls were let through, want %d", name, total, limit)
		}
	}
}

// installed is an installation of one program of the conformance object.
func installed(t *testing.T, name, setting string) *agent.Installation {
	t.Helper()
	ps, err := object.Read("conformance", testdata.Conformance)
	if err != nil {
		t.Fatal(err)
	}
	k, value, _ := strings.Cut(setting, "=")
	if err := prog.Set(ps, k, value); err != nil {
		t.Fatal(err)
	}
	var p *prog.Program
	for _, p = range ps {
		if p.Name == name {
			break
		}
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pre, err := prefilter.Build([]*split.Tree{split.Split(v)}, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := agent.New([]agent.Filter{{Name: name, Verified: v}}, pre, agent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return in
}
