package split

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// tail is a place where a program may go on in another.
type tail struct {
	pc     int
	target *verify.Verified
}

// tail notes what a tail call may go on in. The call itself touches no state:
// arrays of programs do not change.
func (c *collector) tail(s *absint.State, array *prog.Map, index absint.Scalar) {
	if _, known := index.Const(); !known {
		c.dependsOnNr(s.Top().Regs[3].Origin)
	}
	for _, target := range c.v.Tails(array, index) {
		c.addTail(tail{s.PC, target})
	}
}

func (c *collector) addTail(t tail) {
	for _, known := range c.tails {
		if known == t {
			return
		}
	}
	c.tails = append(c.tails, t)
}

// follower explores a program together with what its tail calls go on in, for
// one range of calls.
//
// Soundness: a tail call either finds its program or fails, and then the caller
// goes on. The caller's exploration takes every tail call for one that fails,
// apart from those that certainly do not; what each one may find is explored from
// its beginning, for the same calls, and its exits count as the caller's.
type follower struct {
	in     absint.Input
	limits absint.Limits
	visits int
	// certain tells that no tail call fails for being one too many.
	certain bool
	// done is what has been explored. Where tail calls go in a circle it may lack
	// what others in the circle do: a whole exploration has all of it.
	done   map[*verify.Verified]*summary
	failed error // what was too complex; nothing below it is known
}

func newFollower(v *verify.Verified, in absint.Input, l absint.Limits) *follower {
	return &follower{in: in, limits: l, certain: v.CertainTails(), done: map[*verify.Verified]*summary{}}
}

// machine interprets v for the follower's calls.
func (f *follower) machine(v *verify.Verified) *absint.Machine {
	m := absint.NewMachine(v.Code(), f.in)
	if f.certain {
		m.Gone(func(array *prog.Map, index absint.Scalar) bool {
			i, known := index.Const()
			return known && v.Tail(array, uint32(i)) != nil
		})
	}
	return m
}

// explore follows every path of v from s on, a state of m.
func (f *follower) explore(v *verify.Verified, m *absint.Machine, s *absint.State) (summary, error) {
	c := newCollector(v)
	l := f.limits
	l.Visits = max(l.Visits-f.visits, 2*v.Visited())
	visits, err := m.Explore(s, c, l)
	f.visits += visits
	if err != nil {
		return c.summary, err
	}
	for _, t := range c.tails {
		found, err := f.target(t.target)
		if err != nil {
			return c.summary, err
		}
		c.merge(t, found)
	}
	return c.summary, nil
}

// target is the summary of a whole program. Where tail calls go in a circle it is
// not known yet: then there is no single verdict, and what the program does is
// found by whoever is exploring it.
func (f *follower) target(v *verify.Verified) (*summary, error) {
	if known := f.done[v]; known != nil || f.failed != nil {
		return known, f.failed
	}
	f.done[v] = &summary{exits: 1, open: &Reason{Text: "tail calls go in a circle"}}
	m := f.machine(v)
	found, err := f.explore(v, m, m.Start())
	f.done[v] = &found
	if f.failed == nil {
		f.failed = err
	}
	return &found, err
}

// merge adds what a tail call may go on in.
func (c *collector) merge(t tail, found *summary) {
	for _, r := range []struct{ to, from **Reason }{
		{&c.state, &found.state}, {&c.trace, &found.trace}, {&c.action, &found.action},
	} {
		if *r.to == nil && *r.from != nil {
			*r.to = c.within(t, **r.from)
		}
	}
	c.byNr, c.pure = c.byNr || found.byNr, c.pure || found.pure
	switch {
	case found.exits == 0:
	case c.open != nil:
	case found.open != nil:
		c.open = c.within(t, *found.open)
	case c.exits == 0:
		c.verdict = found.verdict
	case c.verdict != found.verdict:
		if c.open = c.fork; c.open == nil {
			c.open = c.reason(t.pc, "there are several verdicts")
		}
	}
	c.exits += found.exits
}

// within words a reason in another program as one at the tail call.
func (c *collector) within(t tail, r Reason) *Reason {
	where := fmt.Sprintf("instruction %d", r.Insn)
	if line := r.Line.String(); line != "" {
		where = line
	}
	return c.reason(t.pc, "goes on in %s (%s): %s", t.target.Program().Name, where, r.Text)
}

// inputOf is the calls from … to of an architecture.
func inputOf(arch abi.Arch, from, to uint32) absint.Input {
	return absint.Input{Nr: absint.Between(uint64(from), uint64(to)), Arch: absint.Const(uint64(arch))}
}
