package split

import (
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

const (
	// maxTests bounds the tests of one call's decision; what lies deeper is a leaf.
	maxTests = 256
	// unfoldVisits bounds the instructions visited for all decisions of an
	// architecture, restVisits those for one leaf.
	unfoldVisits = 250_000
	restVisits   = 20_000
)

// choice is the decision for some calls. It is vague where a part of them may have
// a better one.
type choice struct {
	nr    absint.Numbers
	d     *Decision
	vague bool
}

// unfolder turns a program into decisions without joining paths.
type unfolder struct {
	*follower
	collector *collector
	m         *absint.Machine
	arch      abi.Arch
	own       []Range // the leaves that hold whatever the call's data are
	left      int     // visits
	failures  int     // of byValue
	known     []fact
	// probes are how many more parts of the real calls may be followed apart from
	// others, and of those above.
	probes, probesAbove int
}

// fact is a test that was made on the way, and its outcome.
type fact struct {
	test  Test
	holds bool
}

// unfold follows the program through the tests it makes of the data of the calls
// open.
func unfold(v *verify.Verified, arch abi.Arch, own []Range, open absint.Numbers) []choice {
	f := newFollower(v)
	u := &unfolder{
		follower: f, arch: arch, own: own, left: unfoldVisits, collector: f.newCollector(v, nil),
		probes: 2 * int(spans[0].to+1), probesAbove: probes,
	}
	return u.together(open)
}

// together follows the calls nr as one, told apart by the program's own tests of
// their number. What it makes of the number in other ways is found out by
// following fewer of them, down to single ones.
func (u *unfolder) together(nr absint.Numbers) (all []choice) {
	u.reset(u.arch, nr, absint.Limits{Bytes: stateBytes, Visits: restVisits})
	u.m = u.machine(u.collector.v)
	tests := maxTests
	var vague []choice
	for _, c := range u.follow(u.m.Start(), &tests) {
		if c.vague && !nr.Single() {
			vague = append(vague, c)
		} else {
			all = append(all, c)
		}
	}
	return append(all, u.apart(vague)...)
}

// apart follows halves of the calls that cs are about.
func (u *unfolder) apart(cs []choice) (all []choice) {
	var nr absint.Numbers
	for _, c := range cs {
		nr = append(nr, c.nr...)
	}
	if nr == nil {
		return nil
	}
	sort.Slice(nr, func(i, j int) bool { return nr[i].Min < nr[j].Min })
	for _, half := range nr.Halves() {
		left := &u.probes
		if half[0].Min > spans[0].to {
			left = &u.probesAbove
		}
		if *left--; *left >= 0 {
			all = append(all, u.together(half)...)
		}
	}
	if u.left <= 0 || u.probesAbove < 0 || u.probes < 0 {
		return cs
	}
	return all
}

// follow follows one path until the program touches state or ends. Where it is
// parted by number, each part may make as many tests as are left.
func (u *unfolder) follow(s *absint.State, tests *int) (all []choice) {
	for {
		u.left--
		if u.left <= 0 || u.collector.stateful(s) || u.collector.exits(s) {
			return append(all, u.rest(s)...)
		}
		if !absint.IsBranch(u.collector.p.Insns[s.PC]) {
			if found, ok := u.byValue(s, *tests); ok {
				return append(all, found...)
			}
			u.m.Step(s)
			continue
		}
		test, negated, ok := branchTest(u.collector.p, s)
		ok = ok && *tests > 0
		before := (*absint.State)(nil)
		if !ok {
			before = s.Clone()
		}
		switch jumped, end := u.m.Step(s); {
		case end:
			return append(all, u.owned(s.Nr)...)
		case jumped == nil:
		case !jumped.Nr.Same(s.Nr):
			others := *tests
			all = append(all, u.follow(jumped, &others)...)
		case !ok:
			return append(all, u.either(before, jumped, s)...)
		default:
			return append(all, u.both(test, negated, jumped, s, tests)...)
		}
	}
}

// both follows the two ways from a test, or the only one if it was made before.
func (u *unfolder) both(t Test, negated bool, jumped, on *absint.State, tests *int) []choice {
	yes, no := jumped, on
	if negated {
		yes, no = on, jumped
	}
	for _, f := range u.known {
		switch {
		case f.test == t && f.holds:
			return u.follow(yes, tests)
		case f.test == t:
			return u.follow(no, tests)
		}
	}
	*tests--
	a := u.knowing(fact{t, true}, yes, tests)
	b := u.knowing(fact{t, false}, no, tests)
	return pair(a, b, func(_ absint.Numbers, a, b *Decision) *Decision {
		if a.equal(b) {
			return b
		}
		return &Decision{Test: t, Then: a, Else: b}
	})
}

func (u *unfolder) knowing(f fact, s *absint.State, tests *int) []choice {
	u.known = append(u.known, f)
	c := u.follow(s, tests)
	u.known = u.known[:len(u.known)-1]
	return c
}

// pair makes one of two decisions for the same calls.
func pair(as, bs []choice, make func(nr absint.Numbers, a, b *Decision) *Decision) (all []choice) {
	if len(as) == 1 && len(bs) == 1 {
		return []choice{{as[0].nr, make(as[0].nr, as[0].d, bs[0].d), as[0].vague || bs[0].vague}}
	}
	for _, a := range as {
		for _, b := range bs {
			if both, _ := a.nr.Cut(b.nr); len(both) > 0 {
				all = append(all, choice{both, make(both, a.d, b.d), a.vague || b.vague})
			}
		}
	}
	return all
}

// either is where a test cannot be made outside the program: it matters only
// if what follows differs.
func (u *unfolder) either(before, jumped, on *absint.State) []choice {
	rest := u.rest(before)
	alike := pair(u.rest(jumped), u.rest(on), func(_ absint.Numbers, a, b *Decision) *Decision {
		if a.equal(b) && a.Leaf.Kind == Static {
			return a
		}
		return nil
	})
	found := pair(rest, alike, func(_ absint.Numbers, rest, alike *Decision) *Decision {
		if alike != nil {
			return alike
		}
		return rest
	})
	for i := range found {
		found[i].vague = found[i].vague && found[i].d.Leaf.Kind != Static
	}
	return found
}

// rest is the leaves for everything that can follow s, which is used up.
func (u *unfolder) rest(s *absint.State) (all []choice) {
	if u.left <= 0 {
		return u.owned(s.Nr)
	}
	if v, known := u.collector.verdict(s); known {
		nr := s.Nr
		u.m.Drop(s)
		return []choice{{nr: nr, d: &Decision{Leaf: Leaf{Kind: Static, Verdict: v}}}}
	}
	u.visits = 0
	nr := s.Nr
	found, err := u.explore(u.collector.v, s)
	u.left -= u.visits
	if err != nil {
		return u.owned(nr)
	}
	for _, c := range found {
		all = append(all, choice{absint.NumbersBetween(c.from, c.to), &Decision{Leaf: c.leaf()}, c.divisible()})
	}
	return all
}

// owned is the leaves that were found for the calls nr without unfolding.
func (u *unfolder) owned(nr absint.Numbers) (all []choice) {
	for _, r := range u.own {
		if part, _ := nr.Cut(absint.NumbersBetween(r.From, r.To)); len(part) > 0 {
			all = append(all, choice{nr: part, d: &Decision{Leaf: r.Leaf}})
		}
	}
	return all
}

// exits tells whether s is at the end of the program.
func (c *collector) exits(s *absint.State) bool {
	return c.p.Insns[s.PC].Op == prog.OpExitInsn && len(s.Frames) == 1
}

// verdict is the constant that s is about to return.
func (c *collector) verdict(s *absint.State) (abi.Verdict, bool) {
	if !c.exits(s) {
		return 0, false
	}
	r0 := s.Top().Regs[prog.R0].Scalar.Truncate()
	v, known := r0.Const()
	return abi.Verdict(v), known
}

// stateful tells whether the instruction at hand touches anything but the call's
// data, or may leave the program.
func (c *collector) stateful(s *absint.State) bool {
	in := c.p.Insns[s.PC]
	switch in.Class() {
	case prog.ClassLDX:
		return c.shared(&s.Top().Regs[in.Src])
	case prog.ClassST, prog.ClassSTX:
		return c.shared(&s.Top().Regs[in.Dst])
	}
	return c.code.Signature(in) != nil
}

// shared tells whether r points to what other calls see.
func (c *collector) shared(r *absint.Reg) bool {
	return r.Kind == absint.Value && !c.p.Maps[r.Map].Frozen
}
