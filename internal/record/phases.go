package record

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
)

// setup are the calls by which a process makes itself ready to serve, waiting those by which
// it waits to be asked, and serving those that only who serves makes.
const (
	setup = "bind listen epoll_create epoll_create1 setuid setgid setgroups setreuid setregid setresuid setresgid " +
		"chroot pivot_root capset"
	waiting = "accept accept4 epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6 rt_sigsuspend rt_sigtimedwait io_getevents"
	serving = "accept accept4 epoll_wait epoll_pwait epoll_pwait2"
)

func callsOf(text string) map[uint32]bool {
	all := map[uint32]bool{}
	for _, name := range strings.Fields(text) {
		if nr, ok := syscalls.Number(name); ok {
			all[nr] = true
		}
	}
	return all
}

// phases makes a phase of what comes before the first transition of a process, and one for
// each transition of what comes behind it.
func (r *Recorder) phases(named []string) ([]policy.Phase, error) {
	ends, err := r.named(named)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		if ends = r.transitions(); len(ends) == 0 {
			return nil, fmt.Errorf("no process was seen to wait for the first time after a call that sets up a service (%s): "+
				"name the call that ends the initialization with --transition, or use --mode allowlist", shortened(setup))
		}
	}
	s := &stages{ends: ends, of: map[uint32]map[uint32]bool{start: {}}, ended: map[*process]ending{}}
	for _, one := range r.runs {
		s.run(one)
	}
	return r.phasesOf(s), nil
}

func shortened(text string) string { return strings.Join(strings.Fields(text)[:4], ", ") + " …" }

func (r *Recorder) named(calls []string) (map[uint32]bool, error) {
	ends := map[uint32]bool{}
	for _, name := range calls {
		nr, ok := syscalls.Number(name)
		if !ok || r.calls[nr] == nil {
			return nil, fmt.Errorf("--transition %s: expected the name of a call that was seen", name)
		}
		ends[nr] = true
	}
	return ends, nil
}

// transitions are the calls that end the initialization of some process: of the calls that
// wait, the first that it had not made before its last one of setup. A process that set
// up nothing itself, such as a worker that inherits a socket, counts if it serves.
func (r *Recorder) transitions() map[uint32]bool {
	ends := map[uint32]bool{}
	prepares, waits, serves := callsOf(setup), callsOf(waiting), callsOf(serving)
	for _, one := range r.runs {
		ready := ^uint64(0) // where the first call of setup stands
		for _, p := range one.processes {
			spans := p.spans()
			for nr, s := range spans {
				if prepares[nr] {
					ready = min(ready, s.first)
				}
			}
			last, from := lastOf(spans, prepares), waits
			if last == 0 && p.earlier != nil {
				continue // it may have been ready before
			}
			if last == 0 {
				last, from = ready, serves
			}
			nr, ok := firstBehind(spans, from, last)
			if main, found := p.mainTransition(spans, prepares, waits); found && p.earlier == nil && (!ok || accepts(nr)) {
				nr, ok = main, true
			}
			if ok {
				ends[nr] = true
			}
		}
	}
	return ends
}

// accepts tells calls that a process makes when its first client comes, which may be late.
func accepts(nr uint32) bool { return callsOf("accept accept4")[nr] }

// mainTransition is that of a process's first thread by itself, if no other thread makes the
// call before. There are programs of which all threads wait before some have set up everything:
// their first thread hands that to others, and waits for signals.
func (p *process) mainTransition(all map[uint32]span, prepares, waits map[uint32]bool) (uint32, bool) {
	spans := map[uint32]span{}
	for nr, s := range p.threads[0].calls {
		spans[nr] = *s
	}
	last := lastOf(spans, prepares)
	nr, ok := firstBehind(spans, waits, last)
	return nr, ok && last > 0 && all[nr].first == spans[nr].first
}

// spans are those of all threads together.
func (p *process) spans() map[uint32]span {
	all := map[uint32]span{}
	for _, t := range p.threads {
		for nr, s := range t.calls {
			one, ok := all[nr]
			if !ok {
				one = *s
			}
			all[nr] = span{min(one.first, s.first), max(one.last, s.last)}
		}
	}
	return all
}

// lastOf is where the last of some calls stands; 0 if there was none.
func lastOf(spans map[uint32]span, calls map[uint32]bool) (last uint64) {
	for nr, s := range spans {
		if calls[nr] {
			last = max(last, s.last)
		}
	}
	return last
}

// firstBehind is the first of some calls that was not made up to a place.
func firstBehind(spans map[uint32]span, calls map[uint32]bool, last uint64) (uint32, bool) {
	found, at := uint32(0), ^uint64(0)
	for nr, s := range spans {
		if calls[nr] && s.first > last && s.first < at {
			found, at = nr, s.first
		}
	}
	return found, at != ^uint64(0)
}

// start stands for the first phase where others are known by the number of their
// transition.
const start = ^uint32(0)

// stages collects the calls of each phase.
type stages struct {
	ends map[uint32]bool
	of   map[uint32]map[uint32]bool
	// ended are the transitions that were found: each fork of a process asks for its, and both may be
	// many.
	ended map[*process]ending
}

// ending is the transition of a process that begins at the start, and where it stands.
type ending struct {
	nr uint32
	at uint64
}

// run goes through a run as the policy will: a process begins in the phase in which its
// parent was when it forked. Events do not name the parent; so without it, it counts as a
// child of all that had forked by then under the name it has, and its calls as those of each
// phase in which one of these was.
func (s *stages) run(r *run) {
	in := map[*process]map[uint32]bool{}
	by := map[string]map[uint32]bool{}
	next := 0
	for _, p := range r.processes {
		for ; next < len(r.forks) && r.forks[next].index < p.first; next++ {
			f := r.forks[next]
			if by[f.comm] == nil {
				by[f.comm] = map[uint32]bool{}
			}
			for phase := range in[f.parent] {
				by[f.comm][s.at(f.parent, phase, f.index)] = true
			}
		}
		in[p] = map[uint32]bool{}
		if p.known {
			for phase := range in[p.parent] {
				in[p][s.at(p.parent, phase, p.born)] = true
			}
		} else {
			for phase := range by[p.comm] {
				in[p][phase] = true
			}
		}
		if p.earlier != nil {
			for phase := range in[p.earlier] {
				in[p][s.at(p.earlier, phase, p.first)] = true
			}
		}
		if len(in[p]) == 0 {
			in[p][start] = true
		}
		for phase := range in[p] {
			s.process(p, phase)
		}
	}
}

// at is the phase of a process that begins in a phase, when a call had been made.
func (s *stages) at(p *process, phase uint32, index uint64) uint32 {
	if end := s.end(p); phase == start && index > end.at {
		return end.nr
	}
	return phase
}

func (s *stages) end(p *process) ending {
	end, ok := s.ended[p]
	if !ok {
		end = s.find(p)
		s.ended[p] = end
	}
	return end
}

func (s *stages) find(p *process) ending {
	end := ending{start, ^uint64(0)}
	for _, t := range p.threads {
		for nr, one := range t.calls {
			if s.ends[nr] && one.first < end.at {
				end = ending{nr, one.first}
			}
		}
	}
	return end
}

// process adds the calls of a process. Those of threads that did not make the transition
// count as made on both sides of it: nothing orders them another time.
func (s *stages) process(p *process, phase uint32) {
	end := s.end(p)
	if phase != start {
		end = ending{phase, 0}
	}
	for _, t := range p.threads {
		crosses := end.at != 0 && end.at != ^uint64(0) && (t.calls[end.nr] == nil || t.calls[end.nr].first != end.at)
		for nr, one := range t.calls {
			if one.first <= end.at || crosses {
				s.add(start, nr)
			}
			if one.last > end.at || crosses {
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

func (r *Recorder) phasesOf(s *stages) []policy.Phase {
	var ends []uint32
	for nr := range s.ends {
		ends = append(ends, nr)
	}
	all := []policy.Phase{r.initial()}
	for _, nr := range sorted(ends) {
		name := "serve-" + strings.ReplaceAll(callName(nr), "_", "-")
		if len(ends) == 1 {
			name = "serve"
		}
		all[0].Next = append(all[0].Next, policy.Transition{On: []policy.Name{{Text: callName(nr)}}, To: name})
		s.add(nr, nr) // who waited once waits again
		all = append(all, r.phase(name, callName(nr), s.of[nr]))
	}
	return all
}

// initial is the first phase, which takes nothing away: what a program does to make itself
// ready differs with its configuration, and with what goes wrong.
func (r *Recorder) initial() policy.Phase {
	known, _ := group.Lookup("@known")
	p := policy.Phase{Name: "start", Comment: "until a process waits to be asked: all that the rules allow", Allow: []policy.Name{{Text: "@known"}}}
	var newer []uint32
	for nr := range r.calls {
		name := callName(nr)
		if at := sort.SearchStrings(known, name); at == len(known) || known[at] != name {
			newer = append(newer, nr)
		}
	}
	p.Allow = append(p.Allow, names(newer)...)
	return p
}

// harmless are calls that no phase takes away beside those that are incidental: they are for
// what a process has already, and errors and other requests lead to them at any time.
func harmless() map[uint32]bool {
	calls, _ := group.Lookup("@basic-io")
	return callsOf(incidental + " mmap mprotect " + strings.Join(calls, " "))
}

// phase denies what was seen, but not in the phase, where there is such a call.
func (r *Recorder) phase(name, end string, calls map[uint32]bool) policy.Phase {
	keep := harmless()
	p := policy.Phase{Name: name}
	var out []uint32
	for nr := range r.calls {
		if !calls[nr] && !keep[nr] {
			out = append(out, nr)
		}
	}
	if r.calls[clone3] != nil && r.calls[clone] == nil && !calls[clone] {
		out = append(out, clone)
	}
	p.Comment = fmt.Sprintf("from the first %s on, if a process came from start: %d of the %s seen",
		end, r.kept(calls, keep), many(uint64(len(r.calls)), "kind"))
	if len(out) > 0 {
		p.Deny = names(out)
	} else {
		p.Allow = r.initial().Allow
	}
	return p
}

// kept is how many of the calls that were seen a phase has.
func (r *Recorder) kept(calls, keep map[uint32]bool) (n int) {
	for nr := range r.calls {
		if calls[nr] || keep[nr] {
			n++
		}
	}
	return n
}
