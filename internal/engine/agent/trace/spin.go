//go:build linux && amd64

package trace

import "portcullis/internal/sys"

// spin decides whether to look for the next stop a few times before waiting for it.
// To sleep and be woken costs as much as all else about a stop, and more where the
// wake-up crosses processors; and most calls are over soon. Where nothing comes of it
// often, it is given up for a while.
type spin struct {
	credit int // what is left to be lost
	idle   int // waits until it is tried again
}

const (
	looks    = 64 // at most, for one stop
	credit   = 8
	recovery = 32
)

// nextStop waits for a stop or an end.
func (t *Tracer) nextStop() (stop sys.Stop, err error) {
	if t.spin.worth() {
		for i := 0; i < looks; i++ {
			stop, t.last.Status, err = sys.WaitNow(&t.last.Usage)
			if err != nil || stop.Tid != 0 {
				t.spin.won()
				return stop, err
			}
			sys.Yield()
		}
		t.spin.lost()
	}
	stop, t.last.Status, err = sys.WaitUsage(-1, &t.last.Usage)
	return stop, err
}

func (s *spin) worth() bool {
	if s.credit > 0 {
		return true
	}
	if s.idle--; s.idle <= 0 {
		s.credit = 1
	}
	return false
}

func (s *spin) won() {
	if s.credit < credit {
		s.credit++
	}
}

func (s *spin) lost() {
	if s.credit--; s.credit <= 0 {
		s.idle = recovery
	}
}
