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
	t.batch = t.batch[:0]
	t.enter(first)
	if t.served%round == 0 && len(t.threads) > 1 {
		t.gather()
	}
	for _, s := range t.batch {
		t.last = s.end
		t.step(s.Stop)
	}
}

// enter puts a stop behind those that wait for their turn. From an end or an execve on
// the number is another task's, or that of another thread: they have no turn to wait for.
func (t *Tracer) enter(s seen) {
	switch s.Kind {
	case sys.Ended, sys.Killed, sys.ExecStop:
		t.last = s.end
		t.step(s.Stop)
	default:
		t.batch = append(t.batch, s)
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
		t.enter(seen{stop, end})
	}
}

// forget drops an earlier stop of a task that has come to another one without having
// been let go: it was killed, or another thread has executed and has its number.
func (t *Tracer) forget(tid int) {
	kept := t.batch[:0]
	for _, s := range t.batch {
		if s.Tid != tid {
			kept = append(kept, s)
		}
	}
	t.batch = kept
}
