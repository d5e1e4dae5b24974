package engine

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
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

func TestWaitLimits(t *testing.T) {
	for limit, want := range map[time.Duration]bool{
		0: true, DefaultWaitLimit: true, time.Millisecond: true, 24 * time.Hour: true,
		-1: false, 1: false, time.Millisecond - 1: false, 24*time.Hour + 1: false, 1 << 32 * time.Millisecond: false, 1<<63 - 1: false, -1 << 63: false,
	} {
		o := Options{WaitLimit: limit}
		err := o.settle()
		var oe *OptionError
		if want != (err == nil) || !want && !errors.As(err, &oe) {
			t.Errorf("%v: %v", limit, err)
		}
		if err == nil && (o.WaitLimit <= 0 || limit != 0 && o.WaitLimit != limit) {
			t.Errorf("%v became %v", limit, o.WaitLimit)
		}
	}
}
