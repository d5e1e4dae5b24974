package split

import (
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/verify"
)

// Decision is what is left of a program for one call number: tests of the
// call's data, with leaves below them.
type Decision struct {
	// Leaf is the decision if Then is nil.
	Leaf Leaf
	// Test chooses between Then, if it holds, and Else.
	Test       Test
	Then, Else *Decision
}

// Decide is the leaf for d.
func (d *Decision) Decide(data *abi.SeccompData) Leaf {
	for d.Then != nil {
		if d.Test.Holds(data) {
			d = d.Then
		} else {
			d = d.Else
		}
	}
	return d.Leaf
}

// Kind is the dearest kind of d's leaves.
func (d *Decision) Kind() Kind {
	if d.Then == nil {
		return d.Leaf.Kind
	}
	return max(d.Then.Kind(), d.Else.Kind())
}

// Tests is how many tests d has.
func (d *Decision) Tests() int {
	if d.Then == nil {
		return 0
	}
	return 1 + d.Then.Tests() + d.Else.Tests()
}

// static tells whether any leaf of d is static.
func (d *Decision) static() bool {
	if d.Then == nil {
		return d.Leaf.Kind == Static
	}
	return d.Then.static() || d.Else.static()
}

// equal compares what d and o decide, apart from why.
func (d *Decision) equal(o *Decision) bool {
	switch {
	case d == o:
		return true
	case (d.Then == nil) != (o.Then == nil):
		return false
	case d.Then == nil:
		return d.Leaf.Kind == o.Leaf.Kind && d.Leaf.Verdict == o.Leaf.Verdict && d.Leaf.Pins == o.Leaf.Pins
	}
	return d.Test == o.Test && d.Then.equal(o.Then) && d.Else.equal(o.Else)
}

// Decisions is Ranges, parted further by what the program tests of the call's
// data, as far as classic BPF can make such tests. Neighbours may be alike.
func (t *Tree) Decisions(arch abi.Arch) []Range {
	r, ok := t.arch[arch]
	if !ok {
		return nil
	}
	r.decided.Do(func() { r.decisions = decide(t.v, arch, t.Ranges(arch)) })
	return r.decisions
}

// Find is the part of Decisions that a call is in, with the call alone in it. For
// an architecture that is not split it is a Trace leaf that no engine accepts.
func (t *Tree) Find(arch abi.Arch, nr uint32) Range {
	rs := t.Decisions(arch)
	i := sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })
	if i == len(rs) {
		return Range{From: nr, To: nr, Leaf: t.Leaf(arch, nr)}
	}
	return Range{From: nr, To: nr, Leaf: rs[i].Leaf, Decision: rs[i].Decision}
}

// Arguments is the Decision of one call; nil if its leaf is all there is to say.
func (t *Tree) Arguments(arch abi.Arch, nr uint32) *Decision { return t.Find(arch, nr).Decision }

// decide replaces the leaves that are not static by decisions with leaves that
// are, where there are any.
func decide(v *verify.Verified, arch abi.Arch, all []Range) []Range {
	open := openOf(all)
	if open == nil || !v.CertainTails() {
		return all // see follower.reset
	}
	var pieces []Range
	for _, c := range unfold(v, arch, all, open) {
		for _, n := range c.nr {
			pieces = append(pieces, c.over(n.Min, n.Max))
		}
	}
	sort.Slice(pieces, func(i, j int) bool { return pieces[i].From < pieces[j].From })
	var out []Range
	for _, r := range all {
		if r.Leaf.Kind == Static {
			out = append(out, r)
			continue
		}
		for len(pieces) > 0 && pieces[0].From <= r.To {
			out = append(out, r.with(pieces[0]))
			if pieces[0].To > r.To {
				pieces[0].From = r.To + 1
				break
			}
			pieces = pieces[1:]
		}
	}
	return out
}

// openOf is the numbers whose leaf is not static.
func openOf(all []Range) (open absint.Numbers) {
	for _, r := range all {
		switch n := len(open); {
		case r.Leaf.Kind == Static:
		case n > 0 && open[n-1].Max+1 == r.From:
			open[n-1].Max = r.To
		default:
			open = append(open, absint.NumbersBetween(r.From, r.To)...)
		}
	}
	return open
}

// over is c as a range; a decision that is one leaf is that leaf.
func (c choice) over(from, to uint32) Range {
	r := Range{From: from, To: to, Leaf: c.d.Leaf}
	if c.d.Then != nil {
		r.Decision = c.d
	}
	return r
}

// with is the part of r that a decision is about, with it: its single leaf if
// that is cheaper than r's, its tests if some of what they lead to is static.
func (r Range) with(d Range) Range {
	part := Range{From: max(r.From, d.From), To: min(r.To, d.To), Leaf: r.Leaf}
	switch {
	case d.Decision == nil && d.Leaf.Kind < r.Leaf.Kind:
		part.Leaf = d.Leaf
	case d.Decision != nil && d.Decision.static():
		part.Decision = d.Decision
	}
	return part
}
