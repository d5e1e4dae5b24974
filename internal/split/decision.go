package split

import (
	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/prog"
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
	if k := d.Then.Kind(); k > d.Else.Kind() {
		return k
	}
	return d.Else.Kind()
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
	case (d.Then == nil) != (o.Then == nil):
		return false
	case d.Then == nil:
		return d.Leaf.Kind == o.Leaf.Kind && d.Leaf.Verdict == o.Leaf.Verdict
	}
	return d.Test == o.Test && d.Then.equal(o.Then) && d.Else.equal(o.Else)
}

const (
	// maxTests bounds a decision; what lies deeper is a leaf.
	maxTests = 64
	// unfoldVisits bounds the instructions visited for one decision.
	unfoldVisits = 20_000
)

// Arguments follows the program for one call number through the tests it makes
// of the call's data, as far as classic BPF can make them. No leaf below is dearer
// than the Leaf of the number, which holds for all of them. nil says that the
// tests separate nothing: that the number's own leaf is all there is to say.
func (t *Tree) Arguments(arch abi.Arch, nr uint32) *Decision {
	own := t.Leaf(arch, nr)
	if own.Kind == Static || t.Ranges(arch) == nil {
		return nil
	}
	f := newFollower(t.v)
	f.reset(arch, absint.NumbersBetween(nr, nr), absint.Limits{Bytes: stateBytes})
	u := &unfolder{v: t.v, own: own, left: unfoldVisits, tests: maxTests, follower: f, m: f.machine(t.v)}
	if d := u.unfold(u.m.Start()); d.static() {
		return d
	}
	return nil
}

// unfolder turns a program into decisions without joining paths.
type unfolder struct {
	*follower
	v           *verify.Verified
	m           *absint.Machine
	own         Leaf
	left, tests int
}

// unfold follows a path until the program tests, touches state or ends.
func (u *unfolder) unfold(s *absint.State) *Decision {
	p := u.v.Program()
	for {
		in := p.Insns[s.PC]
		c := newCollector(u.v, s.Nr)
		u.left--
		if err := c.Visit(s); err != nil || c.partition[0].state != nil || c.partition[0].tails != nil || u.left <= 0 || in.Op == prog.OpExitInsn && len(s.Frames) == 1 {
			return u.rest(s)
		}
		if !absint.IsBranch(in) {
			u.m.Step(s)
			continue
		}
		test, negated, ok := branchTest(p, s)
		before := s.Clone()
		switch jumped, end := u.m.Step(s); {
		case end:
			return u.rest(before)
		case jumped == nil:
		case !ok || u.tests <= 0:
			return u.either(before, jumped, s)
		default:
			u.tests--
			return choose(test, negated, u.unfold(jumped), u.unfold(s))
		}
	}
}

// choose makes a node, unless both ways lead to the same.
func choose(t Test, negated bool, jumped, on *Decision) *Decision {
	if jumped.equal(on) {
		return on
	}
	if negated {
		jumped, on = on, jumped
	}
	return &Decision{Test: t, Then: jumped, Else: on}
}

// either is where a test cannot be made outside the program: it matters only
// if what follows differs.
func (u *unfolder) either(before, jumped, on *absint.State) *Decision {
	if a, b := u.rest(jumped), u.rest(on); a.equal(b) && a.Leaf.Kind == Static {
		return a
	}
	return u.rest(before)
}

// rest is the leaf for everything that can follow s.
func (u *unfolder) rest(s *absint.State) *Decision {
	u.limits.Visits, u.visits = max(u.left, unfoldVisits/10), 0
	if !u.certain {
		clear(u.done)
	}
	start := s.Clone()
	start.Touched = false // what touched state is visited again
	found, err := u.explore(u.v, start)
	u.left -= u.visits
	if err != nil {
		return &Decision{Leaf: u.own} // holds for every part
	}
	return &Decision{Leaf: found[0].leaf()}
}
