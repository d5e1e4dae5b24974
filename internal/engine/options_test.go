package engine

import (
	"runtime"
	"sync"
	"testing"
)

// alone is a writer for one goroutine at a time.
type alone struct {
	t       *testing.T
	writing sync.Mutex
	lines   int
}

func (a *alone) Write(b []byte) (int, error) {
	if !a.writing.TryLock() {
		a.t.Error("written to from two goroutines at once")
		return len(b), nil
	}
	defer a.writing.Unlock()
	runtime.Gosched()
	a.lines++
	return len(b), nil
}

func TestLogIsWrittenOneLineAtATime(t *testing.T) {
	log := &alone{t: t}
	o := Options{Log: log}
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := 0; j < 100; j++ {
				o.logf("line %d", j)
			}
		}()
	}
	group.Wait()
	if log.lines != 800 {
		t.Errorf("%d lines, want 800", log.lines)
	}
}
