package prefilter

import (
	"math"

	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// stretch is an interval of the values of a part of the call's data that are decided
// alike.
type stretch struct {
	lo, hi uint64
	end    *ending
}

// searched is the ending of a decision whose tests, from the first on, are about
// where one part lies: a search among the intervals that these tests make together,
// whatever their order was. It is nil for other decisions.
func (em *emitter) searched(d *Decision) *ending {
	p := d.Test.Part
	_, _, _, plain := d.Test.Interval()
	switch {
	case !plain:
		return nil
	case p.Size == 4:
		return em.find(p, em.stretches(nil, d, p, 0, p.Mask))
	case p.Mask == math.MaxUint64:
		return em.findHalves(p, em.stretches(nil, d, p, 0, math.MaxUint64))
	}
	return nil
}

// stretches appends what d decides for the values lo … hi of p.
func (em *emitter) stretches(all []stretch, d *Decision, p split.Part, lo, hi uint64) []stretch {
	a, b, outside, plain := uint64(0), uint64(0), false, false
	if d.Then != nil && d.Test.Part == p {
		a, b, outside, plain = d.Test.Interval()
	}
	if !plain {
		return appended(all, stretch{lo, hi, em.lower(d)})
	}
	in, out := d.Then, d.Else
	if outside {
		in, out = out, in
	}
	if lo < a {
		all = em.stretches(all, out, p, lo, min(hi, a-1))
	}
	if a <= b && max(lo, a) <= min(hi, b) {
		all = em.stretches(all, in, p, max(lo, a), min(hi, b))
	}
	if hi > b {
		all = em.stretches(all, out, p, max(lo, b+1), hi)
	}
	return all
}

// appended merges s with its neighbour if they are decided alike.
func appended(all []stretch, s stretch) []stretch {
	if n := len(all); n > 0 && all[n-1].end == s.end {
		all[n-1].hi = s.hi
		return all
	}
	return append(all, s)
}

// find searches for the stretch that p, of 32 bits, is in. A value is as likely to be
// beyond all that the tests name as to be one of them.
func (em *emitter) find(p split.Part, all []stretch) *ending {
	weights := make([]int, len(all))
	for i := range weights {
		weights[i] = 1
	}
	if last := all[len(all)-1]; last.hi == p.Mask && last.lo < last.hi {
		weights[len(all)-1] = len(all)
	}
	f := &finder{emitter: em, part: p, all: all}
	f.plan = newPlan(weights, func(i int) bool {
		return all[i].lo == all[i].hi && all[i-1].end == all[i+1].end
	})
	return f.find(0, len(all)-1)
}

// finder makes a search of stretches.
type finder struct {
	*emitter
	part split.Part
	all  []stretch
	plan *plan
}

func (f *finder) find(i, j int) *ending {
	first, last := f.all[i], f.all[j]
	switch k := f.plan.part(i, j); {
	case i == j:
		return first.end
	case k == 0:
		return f.choice(prog.OpJeq, f.all[i+1].lo, f.all[i+1].end, first.end)
	case j == i+1 && first.lo == first.hi:
		return f.choice(prog.OpJeq, first.lo, first.end, last.end)
	case j == i+1 && last.lo == last.hi:
		return f.choice(prog.OpJeq, last.lo, last.end, first.end)
	default:
		return f.choice(prog.OpJge, f.all[k].lo, f.find(k, j), f.find(i, k-1))
	}
}

func (f *finder) choice(op uint8, v uint64, then, els *ending) *ending {
	return f.ending(ending{test: split.Test{Part: f.part, Op: op, Value: v}, then: then, els: els})
}

// findHalves searches for p, of 64 bits, by its halves.
func (em *emitter) findHalves(p split.Part, all []stretch) *ending {
	low := split.Part{Off: p.Off, Size: 4, Mask: math.MaxUint32}
	high := split.Part{Off: p.Off + 4, Size: 4, Mask: math.MaxUint32}
	uppers := byUpper(all)
	if at, others := onlyUpper(uppers); others != nil {
		return em.find(low, em.under(high, uppers[at], others))
	}
	var highs []stretch
	for _, u := range uppers {
		if u.lows != nil {
			u.end = em.find(low, u.lows)
		}
		highs = appended(highs, u.stretch)
	}
	return em.find(high, highs)
}

// upper is an interval of upper halves. If it is one that does not decide by
// itself, lows are what the lower half decides.
type upper struct {
	stretch
	lows []stretch
}

func byUpper(all []stretch) (uppers []upper) {
	var lows []stretch // of one upper half, and not all there are of it
	for _, s := range all {
		for _, half := range s.halves() {
			u := upper{stretch: stretch{half.lo >> 32, half.hi >> 32, s.end}}
			if uint32(half.lo) == 0 && uint32(half.hi) == math.MaxUint32 {
				uppers = append(uppers, u)
				continue
			}
			lows = append(lows, stretch{uint64(uint32(half.lo)), uint64(uint32(half.hi)), s.end})
			if uint32(half.hi) == math.MaxUint32 {
				u.lows, lows = lows, nil
				uppers = append(uppers, u)
			}
		}
	}
	return uppers
}

// onlyUpper finds the upper half that alone needs the lower one, where all others
// end alike; others is nil where there is no such half.
func onlyUpper(uppers []upper) (at int, others *ending) {
	found := 0
	for i, u := range uppers {
		switch {
		case u.lows != nil:
			at = i
			found++
		case others != nil && others != u.end:
			return 0, nil
		default:
			others = u.end
		}
	}
	if found != 1 {
		return 0, nil
	}
	return at, others
}

// under is what the lower half decides if only one upper half matters: what ends as
// under the others needs no look at the upper half.
func (em *emitter) under(high split.Part, only upper, others *ending) (lows []stretch) {
	for _, s := range only.lows {
		if s.end != others {
			test := split.Test{Part: high, Op: prog.OpJeq, Value: only.lo}
			s.end = em.ending(ending{test: test, then: s.end, els: others})
		}
		lows = appended(lows, s)
	}
	return lows
}

// halves parts s where its upper half begins or ends to be whole.
func (s stretch) halves() (parts []stretch) {
	for lo, last := s.lo, false; !last; {
		hi := s.hi
		switch ends := lo | math.MaxUint32; {
		case ends >= s.hi: // the rest is of one upper half
		case uint32(lo) != 0:
			hi = ends
		case uint32(s.hi) != math.MaxUint32:
			hi = s.hi&^math.MaxUint32 - 1
		}
		parts = append(parts, stretch{lo, hi, s.end})
		last, lo = hi == s.hi, hi+1
	}
	return parts
}
