package split

import (
	"sort"

	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

const (
	// valueVisits bounds the instructions visited for all values of one argument;
	// pairs of what was found for one value and for others count as well.
	valueVisits = 10_000
	// maxFailures bounds how often that may not suffice.
	maxFailures = 4
)

// byValue follows s once for each number that an argument may be, where the
// instruction at hand is about to make something of it that classic BPF cannot:
// compilers turn a switch into "1 << arg & set", or into a table. Values with the
// same decision become intervals. It is false, and s as it was, if there is no such
// argument or if that takes too much.
//
// Soundness: the values are all that the argument can be in s, and Assume only
// drops runs in which it is another.
func (u *unfolder) byValue(s *absint.State, tests int) ([]choice, bool) {
	f, raws := u.m.Losing(s)
	if len(raws) == 0 || len(raws) > tests || u.failures == maxFailures {
		return nil, false
	}
	part, shift, ok := wholePart(f)
	if !ok {
		return nil, false
	}
	left := u.left
	u.left = min(left, valueVisits)
	quota := u.left
	var all []valued
	for _, raw := range raws {
		one, others := s.Clone(), tests
		if one.Assume(f, raw) {
			found := u.follow(one, &others)
			if u.left -= len(found); !alike(all, found) {
				u.left -= len(all) * len(found) / 16
			}
			all = withValue(all, raw>>shift, found)
		}
	}
	exhausted := u.left <= 0
	u.left += left - quota
	if exhausted {
		u.failures++
		return nil, false
	}
	found := make([]choice, len(all))
	for i, v := range all {
		found[i] = choice{v.nr, v.search(part), v.vague}
		if found[i].d.Tests() > tests {
			return nil, false
		}
	}
	return found, len(found) > 0
}

// wholePart is the part of the call's data that f depends on, and by how much
// values of f's Bits are to be shifted to be values of it.
func wholePart(f absint.Field) (p Part, shift uint8, ok bool) {
	t := Test{Part: Part{Off: f.Off, Size: f.Size, Mask: f.Bits() & full(f.Size)}}
	if t.Size == 8 {
		t = t.half()
	}
	return t.Part, 8 * (t.Off - f.Off), f.Size >= 4
}

// valued is the decisions for some calls, by the value of an argument.
type valued struct {
	nr    absint.Numbers
	cases []valueCase
	vague bool
}

// valueCase is the decision for the values lo … hi, as far as the argument can be
// one of them.
type valueCase struct {
	lo, hi uint64
	d      *Decision
	n      int // how many
}

// withValue adds the decisions for one more value.
func withValue(all []valued, raw uint64, cs []choice) (out []valued) {
	if all == nil {
		for _, c := range cs {
			out = append(out, valued{c.nr, []valueCase{{raw, raw, c.d, 1}}, c.vague})
		}
		return out
	}
	if alike(all, cs) {
		for i, c := range cs {
			all[i].cases, all[i].vague = append(all[i].cases, valueCase{raw, raw, c.d, 1}), all[i].vague || c.vague
		}
		return all
	}
	for _, v := range all {
		for _, c := range cs {
			if both, _ := v.nr.Cut(c.nr); len(both) > 0 {
				cases := append([]valueCase(nil), v.cases...)
				out = append(out, valued{both, append(cases, valueCase{raw, raw, c.d, 1}), v.vague || c.vague})
			}
		}
	}
	return out
}

// alike tells whether all and cs part the calls in the same way, as most values do.
func alike(all []valued, cs []choice) bool {
	for i := 0; i < len(all) && len(all) == len(cs); i++ {
		if !all[i].nr.Equal(cs[i].nr) {
			return false
		}
	}
	return len(all) == len(cs)
}

// search tests p for the intervals that are not decided as most values are.
func (v valued) search(p Part) *Decision {
	runs := v.runs()
	most, n := runs[0].d, 0
	for _, r := range runs {
		if k := count(runs, r.d); k > n {
			most, n = r.d, k
		}
	}
	d := most
	for i := len(runs) - 1; i >= 0; i-- {
		if r := runs[i]; !r.d.equal(most) {
			d = &Decision{Test: p.within(r.lo, r.hi), Then: r.d, Else: d}
		}
	}
	return d
}

// runs joins neighbours with equal decisions.
func (v valued) runs() (runs []valueCase) {
	sort.Slice(v.cases, func(i, j int) bool { return v.cases[i].lo < v.cases[j].lo })
	for _, c := range v.cases {
		if n := len(runs); n > 0 && runs[n-1].d.equal(c.d) {
			runs[n-1].hi = c.hi
			runs[n-1].n++
		} else {
			runs = append(runs, c)
		}
	}
	return runs
}

func count(runs []valueCase, d *Decision) (n int) {
	for _, r := range runs {
		if r.d.equal(d) {
			n += r.n
		}
	}
	return n
}

// within tests p for the interval lo … hi.
func (p Part) within(lo, hi uint64) Test {
	if lo == hi {
		return Test{Part: p, Op: prog.OpJeq, Value: lo}
	}
	return Test{Part: p, Op: prog.OpJle, Low: lo, Value: hi}
}
