//go:build linux && amd64

package trace

import "portcullis/internal/sys"

// seen is a stop or an end, as it was waited for.
type seen struct {
	sys.Stop
	end   End
	ended *thread // what it was that is no more
}

// over tells whether a stop is an end.
func over(stop sys.Stop) bool { return stop.Kind == sys.Ended || stop.Kind == sys.Killed }

// see takes note of a stop. As soon as the tracer waits again, or lets others have its
// lock, the number of what has ended may be another task's.
func (t *Tracer) see(stop sys.Stop, end End) seen {
	s := seen{Stop: stop, end: end}
	if over(stop) {
		s.ended = t.known(stop)
		t.remove(s.ended)
	}
	return s
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
		t.step(s)
	}
}

// enter puts a stop behind those that wait for their turn. From an end or an execve on
// the number is another task's, or that of another thread: they have no turn to wait for.
func (t *Tracer) enter(s seen) {
	if over(s.Stop) || s.Kind == sys.ExecStop {
		t.step(s)
		return
	}
	t.batch = append(t.batch, s)
}

// gather takes all stops that there are.
func (t *Tracer) gather() {
	for {
		s, ok := t.now()
		if !ok {
			return // what is wrong will be so the next time
		}
		t.forget(s.Tid)
		t.enter(s)
	}
}

// now is a stop that there is without waiting.
func (t *Tracer) now() (s seen, ok bool) {
	t.waiting.Lock()
	defer t.waiting.Unlock()
	var end End
	stop, status, err := sys.WaitNow(&end.Usage)
	if err != nil || stop.Tid == 0 {
		return s, false
	}
	end.Status = status
	return t.see(stop, end), true
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
