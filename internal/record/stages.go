package record

import "sort"

// start stands for the first phase where others are known by the number of their
// transition.
const start = ^uint32(0)

// stages collects the calls of each phase, and the ways that lead from one to another.
type stages struct {
	ends map[uint32]bool
	of   map[uint32]map[uint32]bool
	// closed are ways that nobody is let go, taken those that somebody went.
	closed, taken map[way]bool
	// strict has the start be of what was seen in it alone.
	strict bool
	// marked are the transitions that each process made: each fork of a process asks for them, and
	// forks and threads may be many.
	marked map[*process][]mark
}

// way leads from one phase to another.
type way struct{ from, to uint32 }

// standing is the phase that a process is in, and whether it came there by a transition of its
// own: else it was born there.
type standing struct {
	phase uint32
	came  bool
}

// mark is where a process made the call of a transition for the first and for the last time.
type mark struct {
	nr          uint32
	first, last uint64
	by          *thread // who made it first
	shared      bool    // by another thread too
}

func newStages(titles map[uint32]string) *stages {
	s := &stages{
		ends: map[uint32]bool{}, of: map[uint32]map[uint32]bool{start: {}},
		closed: map[way]bool{}, taken: map[way]bool{}, marked: map[*process][]mark{},
	}
	for nr := range titles {
		s.ends[nr] = true
	}
	return s
}

// learn closes ways until nobody goes two, and collects what is then done in each phase. So a process
// leaves the phase that it was born in, or none: who came to wait for signals does not leave
// by accident what a child of it leaves.
func (s *stages) learn(runs []*run) {
	for closed := -1; closed < len(s.closed); {
		closed = len(s.closed)
		more := map[way]bool{} // what is closed meanwhile must not depend on who is looked at first
		s.replay(runs, func(p *process, at standing) { s.second(p, at, more) })
		for w := range more {
			s.closed[w] = true
		}
	}
	s.replay(runs, s.process)
}

// replay goes through runs as the policy will, and visits each process with each standing that it
// may begin in.
func (s *stages) replay(runs []*run, visit func(*process, standing)) {
	for _, one := range runs {
		s.run(one, visit)
	}
}

// run goes through a run: a process begins in the phase in which its
// parent was when it forked. Events do not name the parent; so without it, it counts as a
// child of all that had forked by then under the name it has, and its calls as those of each
// phase in which one of these was.
func (s *stages) run(r *run, visit func(*process, standing)) {
	in := map[*process]map[standing]bool{}
	by := map[string]map[standing]bool{}
	forks := r.births()
	for _, p := range r.processes {
		for ; len(forks) > 0 && forks[0].index < p.first; forks = forks[1:] {
			s.forked(forks[0], in, by)
		}
		in[p] = s.begins(p, in, by)
		for at := range in[p] {
			visit(p, at)
		}
	}
}

// forked notes where children of a fork begin: behind the call, which may be a transition itself.
func (s *stages) forked(f fork, in map[*process]map[standing]bool, by map[string]map[standing]bool) {
	if by[f.comm] == nil {
		by[f.comm] = map[standing]bool{}
	}
	for at := range in[f.parent] {
		by[f.comm][standing{phase: s.at(f.parent, at, f.index+1).phase}] = true
	}
}

// begins are the standings in which a process may begin.
func (s *stages) begins(p *process, in map[*process]map[standing]bool, by map[string]map[standing]bool) map[standing]bool {
	all := map[standing]bool{}
	if p.known {
		parent, born := p.parent, p.born
		for parent != nil && in[parent] == nil { // it made no call that has a name, and so no transition
			parent, born = parent.parent, parent.born
		}
		for at := range in[parent] {
			all[standing{phase: s.at(parent, at, born).phase}] = true
		}
	} else {
		for at := range by[p.comm] {
			all[at] = true
		}
	}
	if p.earlier != nil {
		for at := range in[p.earlier] {
			all[s.at(p.earlier, at, p.first)] = true
		}
	}
	if len(all) == 0 {
		all[standing{phase: start}] = true
	}
	return all
}

// at is where a process stands that began somewhere, when a call had been made.
func (s *stages) at(p *process, at standing, index uint64) standing {
	if end, ok := s.leaves(p, at); ok && index > end.first {
		return standing{end.nr, true}
	}
	return at
}

// leaves is the transition by which a process leaves the phase that it was born in.
func (s *stages) leaves(p *process, at standing) (mark, bool) {
	if at.came {
		return mark{}, false
	}
	for _, m := range s.marks(p) {
		if m.nr != at.phase && !s.closed[way{at.phase, m.nr}] {
			return m, true
		}
	}
	return mark{}, false
}

// second finds the ways out of the phase that a process came to which it would go too: all that it
// makes, if it had come before. Nothing orders the calls of other threads than the one that had it come
// another time, so they count too.
func (s *stages) second(p *process, at standing, closing map[way]bool) {
	end, ok := s.leaves(p, at)
	if !ok && !at.came {
		return
	}
	came := end.nr
	if at.came {
		came = at.phase
	}
	for _, m := range s.marks(p) {
		if w := (way{came, m.nr}); m.nr != came && !s.closed[w] && m.behind(end) {
			closing[w] = true
		}
	}
}

// behind tells whether a call was made behind the first of another, or may be another time.
func (m mark) behind(end mark) bool { return m.last > end.first || m.shared || m.by != end.by }

// marks are the transitions that a process made, in their order.
func (s *stages) marks(p *process) []mark {
	all, ok := s.marked[p]
	if !ok {
		for nr := range s.ends {
			if m, made := p.mark(nr); made {
				all = append(all, m)
			}
		}
		sort.Slice(all, func(i, j int) bool {
			return all[i].first < all[j].first || all[i].first == all[j].first && all[i].nr < all[j].nr
		})
		s.marked[p] = all
	}
	return all
}

func (p *process) mark(nr uint32) (m mark, made bool) {
	for _, t := range p.threads {
		one := t.calls[nr]
		switch {
		case one == nil:
			continue
		case !made:
			m = mark{nr, one.first, one.last, t, false}
		case one.first < m.first:
			m = mark{nr, one.first, max(one.last, m.last), t, true}
		default:
			m.last, m.shared = max(one.last, m.last), true
		}
		made = true
	}
	return m, made
}

// process adds the calls of a process. Those of threads that did not make the transition
// count as made on both sides of it: nothing orders them another time.
func (s *stages) process(p *process, at standing) {
	end, leaves := s.leaves(p, at)
	if leaves {
		s.taken[way{at.phase, end.nr}] = true
	}
	for _, t := range p.threads {
		crosses := leaves && t != end.by
		for nr, one := range t.calls {
			if !leaves || crosses || one.first <= end.first {
				s.add(at.phase, nr)
			}
			if leaves && (crosses || one.last > end.first) {
				s.add(end.nr, nr)
			}
		}
	}
}

func (s *stages) add(phase, nr uint32) {
	if s.of[phase] == nil {
		s.of[phase] = map[uint32]bool{}
	}
	s.of[phase][nr] = true
	if nr == clone3 { // see always
		s.of[phase][clone] = true
	}
}

// reached tells whether somebody came to a phase.
func (s *stages) reached(nr uint32) bool {
	for w := range s.taken {
		if w.to == nr {
			return true
		}
	}
	return false
}
