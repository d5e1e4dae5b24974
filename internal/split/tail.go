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
		c.each(c.nr, func(x *summary) { x.addTail(tail{s.PC, target}) })
	}
}

func (s *summary) addTail(t tail) {
	if !s.leadsTo(t) {
		s.tails = append(s.tails, t)
	}
}

func (s *summary) leadsTo(t tail) bool {
	for _, known := range s.tails {
		if known == t {
			return true
		}
	}
	return false
}

// tails are all tail calls of p, in ascending order of the calls that make them.
func (p partition) tails() []tail {
	var all summary
	for i := range p {
		for _, t := range p[i].tails {
			all.addTail(t)
		}
	}
	return all.tails
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
	calls  absint.Numbers
	limits absint.Limits
	visits int
	// certain tells that no tail call fails for being one too many.
	certain  bool
	machines map[*verify.Verified]*absint.Machine
	room     *absint.Room // of all machines
	mayTrace map[*verify.Verified]bool
	// done is what has been explored. Where tail calls go in a circle it may lack
	// what others in the circle do: a whole exploration has all of it.
	done   map[*verify.Verified]partition
	failed error // what was too complex; nothing below it is known
}

func newFollower(v *verify.Verified) *follower {
	return &follower{
		certain: v.CertainTails(), machines: map[*verify.Verified]*absint.Machine{}, room: absint.NewRoom(),
		mayTrace: map[*verify.Verified]bool{}, done: map[*verify.Verified]partition{},
	}
}

// reset makes f explore other calls, in the memory it has.
//
// Where tail calls may go in a circle, paths are not told apart by number: what
// others in the circle do is found once, on some path, and has to count for all.
func (f *follower) reset(arch abi.Arch, calls absint.Numbers, l absint.Limits) {
	f.calls, f.limits, f.visits, f.failed = calls, l, 0, nil
	if f.in = absint.InputOf(arch, calls); !f.certain {
		f.in.Calls = nil
	}
	clear(f.done)
	for _, m := range f.machines {
		m.Reset(f.in)
	}
}

// machine interprets v for the follower's calls.
func (f *follower) machine(v *verify.Verified) *absint.Machine {
	m := f.machines[v]
	if m != nil {
		return m
	}
	m = absint.NewMachine(v.Code(), f.in)
	m.Share(f.room)
	f.machines[v] = m
	if f.certain {
		m.Gone(func(array *prog.Map, index absint.Scalar) bool {
			i, known := index.Const()
			return known && v.Tail(array, uint32(i)) != nil
		})
	}
	return m
}

// explore follows every path of v from s on, a state of v's machine.
func (f *follower) explore(v *verify.Verified, s *absint.State) (partition, error) {
	calls := s.Nr
	if calls == nil {
		calls = f.calls
	}
	c := f.newCollector(v, calls)
	l := f.limits
	l.Visits = max(l.Visits-f.visits, 2*v.Visited())
	visits, err := f.machine(v).Explore(s, c, l)
	f.visits += visits
	if err != nil {
		return nil, err
	}
	for _, t := range c.tails() {
		found, err := f.target(t.target)
		if err != nil {
			return nil, err
		}
		c.merge(t, found)
	}
	return c.partition, nil
}

// target is what a whole program does. Where tail calls go in a circle it is
// not known yet: then there is no single verdict, and what the program does is
// found by whoever is exploring it.
func (f *follower) target(v *verify.Verified) (partition, error) {
	if known := f.done[v]; known != nil || f.failed != nil {
		return known, f.failed
	}
	circle := newPartition(f.calls)
	for i := range circle {
		circle[i].summary = summary{ends: 1, open: &Reason{Text: "tail calls go in a circle"}}
	}
	f.done[v] = circle
	found, err := f.explore(v, f.machine(v).Start())
	f.done[v] = found
	if f.failed == nil {
		f.failed = err
	}
	return found, err
}

// merge adds what the calls that make a tail call may go on in.
func (c *collector) merge(t tail, found partition) {
	w := &wording{c: c, t: t}
	for i := range found {
		c.each(absint.NumbersBetween(found[i].from, found[i].to), func(x *summary) {
			if x.leadsTo(t) {
				x.merge(w, &found[i].summary)
			}
		})
	}
}

// merge adds what a tail call may go on in.
func (s *summary) merge(w *wording, found *summary) {
	for _, r := range []struct{ to, from **Reason }{
		{&s.state, &found.state}, {&s.trace, &found.trace}, {&s.action, &found.action},
	} {
		if *r.to == nil && *r.from != nil {
			*r.to = w.within(*r.from)
		}
	}
	s.byNr, s.pure, s.pins = s.byNr || found.byNr, s.pure || found.pure, s.pins || found.pins
	switch {
	case found.ends == 0:
	case s.open != nil:
	case found.open != nil:
		s.open = w.within(found.open)
	case s.ends == 0:
		s.verdict = found.verdict
	case s.verdict != found.verdict:
		if s.open = s.fork; s.open == nil {
			s.open = w.c.reason(w.t.pc, "there are several verdicts")
		}
	}
	s.ends += found.ends
}

// wording words reasons in another program as ones at a tail call.
type wording struct {
	c *collector
	t tail
}

func (w *wording) within(r *Reason) *Reason {
	where := fmt.Sprintf("instruction %d", r.Insn)
	if line := r.Line.String(); line != "" {
		where = line
	}
	return w.c.reason(w.t.pc, "goes on in %s (%s): %s", w.t.target.Program().Name, where, r.Text)
}
