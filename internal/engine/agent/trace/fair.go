//go:build linux && amd64

package trace

import "portcullis/internal/sys"

// seen is a stop or an end, as it was waited for.
type seen struct {
	sys.Stop
	end End
}

// round is how many stops are taken as they come. The kernel reports the youngest task
// first (new tracees are put before others, and the search begins there), so one that
// stops over and over would keep others from being heard.
const round = 32

// take steps through a stop, and each time a round is over through all there are: no
// task that waits goes on before each of them had its turn.
func (t *Tracer) take(first seen) {
	t.served++
	t.batch = append(t.batch[:0], first)
	if t.served%round == 0 && len(t.threads) > 1 {
		t.gather()
	}
	for _, s := range t.batch {
		t.last = s.end
		t.step(s.Stop)
	}
}

// gather takes all stops that there are.
func (t *Tracer) gather() {
	for {
		var end End
		stop, status, err := sys.WaitNow(&end.Usage)
		if err != nil || stop.Tid == 0 {
			return // what is wrong will be so the next time
		}
		t.forget(stop.Tid)
		end.Status = status
		t.batch = append(t.batch, seen{stop, end})
	}
}

// forget drops an earlier stop of a task that has come to another one without having
// been let go: it was killed, or another thread has executed and has its number. An end
// stays: a new task may have the number.
func (t *Tracer) forget(tid int) {
	kept := t.batch[:0]
	for _, s := range t.batch {
		if s.Tid != tid || s.Kind == sys.Ended || s.Kind == sys.Killed {
			kept = append(kept, s)
		}
	}
	t.batch = kept
}
