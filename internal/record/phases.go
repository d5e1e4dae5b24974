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
	signals = "rt_sigsuspend rt_sigtimedwait"
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
func (r *Recorder) phases(o Options) ([]policy.Phase, error) {
	titles, err := r.named(o.Transitions)
	if err != nil {
		return nil, err
	}
	if len(o.Transitions) == 0 {
		if titles = titled(r.transitions()); len(titles) == 0 {
			return nil, fmt.Errorf("no process was seen to wait for the first time after a call that sets up a service (%s): "+
				"name the call that ends the initialization with --transition, or use --mode allowlist", shortened(setup))
		}
	}
	s := newStages(titles)
	s.strict = o.StrictStart
	s.learn(r.runs)
	return r.phasesOf(s, titles), nil
}

func shortened(text string) string { return strings.Join(strings.Fields(text)[:4], ", ") + " …" }

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
			if !ok {
				nr, ok = reloading(spans, prepares)
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

// reloading is the call by which a process waits for signals, before and behind its last call of
// setup: who is told to read its configuration again sets up something again.
func reloading(spans map[uint32]span, prepares map[uint32]bool) (uint32, bool) {
	begun, last, waits := ^uint64(0), lastOf(spans, prepares), map[uint32]bool{}
	for nr, s := range spans {
		if prepares[nr] {
			begun = min(begun, s.first)
		}
	}
	for nr := range callsOf(signals) {
		waits[nr] = spans[nr].first < last && spans[nr].last > last
	}
	return firstBehind(spans, waits, begun)
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

// phasesOf has a way out of the start to each other phase, and between these the ways that were
// taken.
func (r *Recorder) phasesOf(s *stages, titles map[uint32]string) []policy.Phase {
	all := []policy.Phase{r.initial()}
	if s.strict {
		all[0] = r.phase(firstPhase, "until a process waits to be asked", s.of[start])
	}
	all[0].Next = s.waysOf(start, titles)
	for _, nr := range sorted(numbersOf(s.ends)) {
		s.add(nr, nr) // who waited once waits again
		p := r.phase(titles[nr], "from the first "+callName(nr)+" on, if a process came from "+s.sources(nr, titles), s.of[nr])
		p.Next = s.waysOf(nr, titles)
		all = append(all, p)
	}
	return all
}

// waysOf are the ways out of a phase.
func (s *stages) waysOf(from uint32, titles map[uint32]string) (all []policy.Transition) {
	for _, nr := range sorted(numbersOf(s.ends)) {
		if s.leads(way{from, nr}) {
			all = append(all, policy.Transition{On: []policy.Name{{Text: callName(nr)}}, To: titles[nr]})
		}
	}
	return all
}

// leads tells whether there is a way. All lead out of the start, but where it is strict: there
// one is missing that everybody took from another phase, as its call would be of the start.
func (s *stages) leads(w way) bool {
	return s.taken[w] || w.from == start && !(s.strict && s.reached(w.to))
}

// sources are the phases from which ways lead to one.
func (s *stages) sources(to uint32, titles map[uint32]string) string {
	var all []string
	if s.leads(way{start, to}) {
		all = append(all, firstPhase)
	}
	for _, nr := range sorted(numbersOf(s.ends)) {
		if s.leads(way{nr, to}) {
			all = append(all, titles[nr])
		}
	}
	last := len(all) - 1
	if last == 0 {
		return all[0]
	}
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// initial is the first phase, which takes nothing away: what a program does to make itself
// ready differs with its configuration, and with what goes wrong.
func (r *Recorder) initial() policy.Phase {
	known, _ := group.Lookup("@known")
	p := policy.Phase{Name: firstPhase, Comment: "until a process waits to be asked: all that the rules allow", Allow: []policy.Name{{Text: "@known"}}}
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
func (r *Recorder) phase(name, when string, calls map[uint32]bool) policy.Phase {
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
	p.Comment = fmt.Sprintf("%s: %d of the %s seen", when, r.kept(calls, keep), many(uint64(len(r.calls)), "kind"))
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
