package record

// kindSet is a set of kinds of calls, by their places in a list of at most 64.
type kindSet uint64

// loops are steps that were not seen, but the other way round, between calls that come round: a
// thread made both, and each leads to the other by some way. Which of two that are asked for
// comes first is who asks first, another day.
func (r *Recorder) loops() map[step]bool {
	nrs := numbersOf(r.kinds)
	reached, made := reach(nrs, r.steps), r.together(nrs)
	more := map[step]bool{}
	for a, from := range nrs {
		for b, to := range nrs {
			if there := (step{from, to}); !r.steps[there] && r.steps[step{to, from}] &&
				reached[a]>>b&1 != 0 && both(made, 1<<a|1<<b) {
				more[there] = true
			}
		}
	}
	return more
}

// both tells whether a thread made all of some kinds.
func both(made map[kindSet]bool, some kindSet) bool {
	for set := range made {
		if set&some == some {
			return true
		}
	}
	return false
}

// reach is, of each kind, to which others steps lead from it.
func reach(nrs []uint32, steps map[step]bool) []kindSet {
	reached := make([]kindSet, len(nrs))
	for a, from := range nrs {
		for b, to := range nrs {
			if steps[step{from, to}] {
				reached[a] |= 1 << b
			}
		}
	}
	for via := range nrs {
		for a := range nrs {
			if reached[a]>>via&1 != 0 {
				reached[a] |= reached[via]
			}
		}
	}
	return reached
}

// together are the sets of kinds that threads made.
func (r *Recorder) together(nrs []uint32) map[kindSet]bool {
	sets := map[kindSet]bool{}
	for _, one := range r.runs {
		for _, p := range one.processes {
			for _, t := range p.threads {
				sets[t.kinds(nrs)] = true
			}
		}
	}
	return sets
}

// kinds are those that a thread made.
func (t *thread) kinds(nrs []uint32) (made kindSet) {
	for i, nr := range nrs {
		if t.calls[nr] != nil || nr == clone && t.calls[clone3] != nil {
			made |= 1 << i
		}
	}
	return made
}
