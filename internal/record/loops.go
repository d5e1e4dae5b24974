package record

import "math/bits"

// kindSet is a set of kinds of calls, by their places in a list of at most 64.
type kindSet uint64

// loops are the steps that were not seen between calls that were seen to come round: where a
// thread made both, and each led to the other by some way, what comes next is who asks next,
// and another day asks in another order.
func (r *Recorder) loops() map[step]bool {
	nrs := numbersOf(r.kinds)
	reached := reach(nrs, r.steps)
	more := map[step]bool{}
	for made := range r.together(nrs) {
		for rest := made; rest != 0; rest &= rest - 1 {
			a := bits.TrailingZeros64(uint64(rest))
			for other := made & reached[a]; other != 0; other &= other - 1 {
				b := bits.TrailingZeros64(uint64(other))
				if s := (step{nrs[a], nrs[b]}); reached[b]>>a&1 != 0 && a != b && !r.steps[s] {
					more[s] = true
				}
			}
		}
	}
	return more
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
