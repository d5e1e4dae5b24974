package prefilter

import (
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// maxNodes bounds the tests of one call: those of stacked filters multiply.
const maxNodes = 1024

// Reasons of leaves that only the size of what is tested made dynamic.
const (
	tooManyTests = "; the tests of the stack together are too many for classic BPF"
	noRoom       = "; there is no room for its tests in classic BPF"
)

// leafOf is the decision without tests.
func (b *builder) leafOf(l Leaf) *Decision { return b.intern(Decision{Leaf: l}) }

// choose tests t, unless both ways lead to the same.
func (b *builder) choose(t split.Test, then, els *Decision) *Decision {
	if then == els || then.asks() && els.asks() && then.Leaf.Kind == els.Leaf.Kind {
		return then
	}
	return b.intern(Decision{Test: t, Then: then, Else: els})
}

// asks tells whether d is a leaf that needs the filters, for whatever reason.
func (d *Decision) asks() bool {
	return d.Then == nil && d.Leaf.Kind != split.Static && !d.Leaf.Observed && d.Leaf.Guard == ""
}

// is tells whether d is one leaf, of a constant verdict.
func (d *Decision) is(v abi.Verdict) bool {
	return d.Then == nil && d.Leaf.Kind == split.Static && d.Leaf.Verdict == v
}

func (b *builder) intern(d Decision) *Decision {
	if known := b.made[d]; known != nil {
		return known
	}
	b.made[d] = &d
	return &d
}

// each is d with every leaf replaced.
func (b *builder) each(d *Decision, f func(Leaf) Leaf) *Decision {
	if d.Then == nil {
		return b.leafOf(f(d.Leaf))
	}
	return b.choose(d.Test, b.each(d.Then, f), b.each(d.Else, f))
}

// any tells whether f holds for a leaf of d.
func (d *Decision) any(f func(Leaf) bool) bool {
	if d.Then == nil {
		return f(d.Leaf)
	}
	return d.Then.any(f) || d.Else.any(f)
}

// dearest is the leaf of d that costs most, and of those the strictest.
func (d *Decision) dearest() Leaf {
	if d.Then == nil {
		return d.Leaf
	}
	a, b := d.Then.dearest(), d.Else.dearest()
	if a.Kind > b.Kind || a.Kind == b.Kind && abi.Strictest(a.Verdict, b.Verdict) == a.Verdict {
		return a
	}
	return b
}

// numbered builds the decision of one run of numbers, all of which are like the first.
type numbered struct {
	*builder
	arch abi.Arch
	nr   uint32
	left int // nodes
}

// known is the tests on the way to a node, with their outcomes.
type known struct {
	test  split.Test
	holds bool
	up    *known
}

func (k *known) about(t split.Test) (holds, ok bool) {
	for ; k != nil; k = k.up {
		if k.test == t {
			return k.holds, true
		}
	}
	return false, false
}

// join makes the tests of the first filter that has any, then those of the others.
func (n *numbered) join(ds []*split.Decision, k *known) *Decision {
	for i, d := range ds {
		if d.Then == nil {
			continue
		}
		if holds, ok := k.about(d.Test); ok {
			return n.join(replaced(ds, i, side(d, holds)), k)
		}
		if n.left--; n.left < 0 {
			return n.leafOf(Leaf{}) // rule takes the whole instead
		}
		then := n.join(replaced(ds, i, d.Then), &known{d.Test, true, k})
		els := n.join(replaced(ds, i, d.Else), &known{d.Test, false, k})
		return n.choose(d.Test, then, els)
	}
	leaves := make([]split.Leaf, len(ds))
	for i, d := range ds {
		leaves[i] = d.Leaf
	}
	return n.decide(leaves)
}

func side(d *split.Decision, holds bool) *split.Decision {
	if holds {
		return d.Then
	}
	return d.Else
}

func replaced(ds []*split.Decision, i int, d *split.Decision) []*split.Decision {
	out := append([]*split.Decision(nil), ds...)
	out[i] = d
	return out
}

// leaf is what holds without tests of arguments, which are not made because why.
func (n *numbered) leaf(parts []split.Range, why string) *Decision {
	leaves := make([]split.Leaf, len(parts))
	for i, p := range parts {
		if leaves[i] = p.Leaf; p.Decision != nil {
			leaves[i].Why.Text += why
		}
	}
	return n.decide(leaves)
}

// decide joins the leaves of a stack: the filters, then guards of whole calls, then
// observation.
func (n *numbered) decide(leaves []split.Leaf) *Decision {
	l := n.joinLeaves(leaves)
	g, guarded := n.always(n.arch, n.nr)
	seen := observed(n.options.Observe, l)
	switch {
	case guarded:
		l = n.stricter(l, g)
	case l.Kind != split.Notify && !seen: // no notification
	case isUnfailing(n.arch, n.nr):
		l = n.uninterrupted(l)
	case seen:
		l.Kind, l.Observed = split.Notify, true
	}
	return n.leafOf(l)
}

// argument tests the lower size bytes of an argument for a value.
func argument(arg, size uint8, v uint64) split.Test {
	mask := ^uint64(0) >> (64 - 8*size)
	return split.Test{Part: split.Part{Off: abi.OffArgs + 8*arg, Size: size, Mask: mask}, Op: prog.OpJeq, Value: v}
}

// flagged tests the lower half of an argument for one of flags.
func flagged(arg uint8, flags uint32) split.Test {
	t := argument(arg, 4, uint64(flags))
	t.Op = prog.OpJset
	return t
}

// fit replaces decisions by their whole leaves, the largest first, until their
// tests have room.
func (b *builder) fit(lists ...[]rule) {
	var tested []*rule
	for _, rs := range lists {
		for i := range rs {
			if rs[i].d.Then != nil && rs[i].whole != nil {
				tested = append(tested, &rs[i])
			}
		}
	}
	sort.SliceStable(tested, func(i, j int) bool { return tested[i].d.tests() < tested[j].d.tests() })
	room, counted := b.room, map[*Decision]bool{}
	for _, r := range tested {
		n := r.d.count(counted)
		if room -= n; room < 0 && n > 0 {
			r.d = r.whole(noRoom)
		}
	}
}

func (d *Decision) tests() int { return d.count(map[*Decision]bool{}) }

// count is how many tests d has that are not counted yet.
func (d *Decision) count(counted map[*Decision]bool) int {
	if d.Then == nil || counted[d] {
		return 0
	}
	counted[d] = true
	return 1 + d.Then.count(counted) + d.Else.count(counted)
}
