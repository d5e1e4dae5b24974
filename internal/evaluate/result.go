package main

import (
	"fmt"
	"sort"

	"portcullis"
	"portcullis/internal/load"
	"portcullis/internal/policy"
	"portcullis/internal/record"
)

// Split is what is refused of a list before a server serves, and from then on: Early and
// Late are shares, 0 to 1.
type Split struct {
	// All is how many calls the list has, Init and Serving how many are left of it.
	All, Init, Serving int
	Early, Late        float64
}

func splitOf(all, init, serving int) Split {
	s := Split{All: all, Init: init, Serving: serving}
	if all > 0 {
		s.Early, s.Late = float64(all-init)/float64(all), float64(all-serving)/float64(all)
	}
	return s
}

// Phase is one of a policy.
type Phase struct {
	Name string
	// Processes is how many came to be in it. Made is how many kinds of calls they made
	// there, Allowed how many the policy leaves them.
	Processes, Made, Allowed int
}

// Kind is what processes of a server that end in the same phase made, before they came to
// it and there.
type Kind struct {
	Phase     string
	Processes int
	Split
}

// Result is that of one server. Observed calls include rt_sigreturn, exit and exit_group,
// which are not observed, in every phase.
type Result struct {
	Server, Transition string
	Runs               int
	Calls              uint64
	// Recorded is of lists of what was seen: the phases of the server, against its one list.
	Recorded Split
	// OneList is that list alone, TwoFilters an early filter and a late one on top of it, as
	// classic filters can be stacked, and ByPhases one policy of a list for each phase. They
	// are made of what was seen, and their figures are what they answer to the calls of
	// Recorded: Init and Serving are how many of them they let through.
	OneList, TwoFilters, ByPhases Split
	// Policy is of the lists of the policy that Portcullis has, Docker of Docker's default
	// list. OutsideDocker are the calls seen that Docker's list lacks.
	Policy, Docker Split
	OutsideDocker  []string
	Phases         []Phase
	Kinds          []Kind
	// Edges is how many steps from one call to the next a recorded flow allows, of Possible.
	Edges, Possible int
	// Paper is what the paper has of this server, from static analysis; zero without.
	Paper Split
}

// evaluate plays the loads of a server.
func evaluate(p load.Program, runs int) (Result, error) {
	m, err := newMachine(p.Name)
	if err != nil {
		return Result{}, err
	}
	recorder := record.New()
	var traces []*trace
	for seed := 1; seed <= runs; seed++ {
		recorder.Begin()
		t := newTrace(m)
		err := p.Observe(int64(seed), func(e portcullis.Event) { t.add(e); recorder.Add(&e) })
		if err == nil && recorder.Lost() > 0 {
			err = fmt.Errorf("%d events were lost: expected none", recorder.Lost())
		}
		if err != nil {
			return Result{}, err
		}
		traces = append(traces, t)
	}
	r := Result{Server: p.Name, Runs: runs, Transition: m.transitions(), Paper: paper()[p.Name]}
	if err := r.count(m, traces); err != nil {
		return Result{}, err
	}
	return r, r.flow(recorder)
}

// count makes figures of what was seen.
func (r *Result) count(m *machine, traces []*trace) error {
	made := map[string]calls{}
	reached := map[string]int{}
	kinds := map[string][]*process{}
	for _, t := range traces {
		r.Calls += t.total
		for _, p := range t.all {
			kinds[p.phase] = append(kinds[p.phase], p)
			for phase, names := range p.made {
				reached[phase]++
				made[phase] = made[phase].with(names)
			}
		}
	}
	allowed := calls{}
	for _, name := range m.phases {
		if name != m.first {
			allowed = allowed.with(m.inPhase(name))
		}
		r.Phases = append(r.Phases, Phase{name, reached[name], len(made[name].with(unseen())), len(m.inPhase(name))})
		r.kind(m, name, kinds[name])
	}
	s := newSeen(m, made)
	r.compare(s, allowed)
	return r.ask(s)
}

// kind counts what is peculiar to the processes that end in a phase. One that never left the
// first has no split.
func (r *Result) kind(m *machine, phase string, all []*process) {
	if phase == m.first || len(all) == 0 {
		return
	}
	before, there := unseen(), unseen()
	for _, p := range all {
		for name, made := range p.made {
			if name == phase {
				there = there.with(made)
			} else {
				before = before.with(made)
			}
		}
	}
	r.Kinds = append(r.Kinds, Kind{phase, len(all), splitOf(len(before.with(there)), len(before), len(there))})
}

// compare counts what phases leave of lists.
func (r *Result) compare(s *seen, allowed calls) {
	m, all := s.machine, s.all()
	r.Recorded = splitOf(len(all), len(s.made[m.first]), len(s.serving()))
	early := m.inPhase(m.first)
	r.Policy = splitOf(len(early.with(allowed)), len(early), len(allowed))
	docker := m.expand([]policy.Name{{Text: "@docker-default"}})
	r.Docker = splitOf(len(docker), len(common(docker, early)), len(common(docker, allowed)))
	for call := range all {
		if !docker[call] {
			r.OutsideDocker = append(r.OutsideDocker, call)
		}
	}
	sort.Strings(r.OutsideDocker)
}

// ask has policies that are made of what was seen answer. What an early filter denies, no
// later one gives back: the first of two has to leave what serving needs.
func (r *Result) ask(s *seen) (err error) {
	if r.OneList, r.TwoFilters, err = s.askLists(); err != nil {
		return err
	}
	r.ByPhases, err = s.askPhases()
	return err
}

func common(a, b calls) calls {
	both := calls{}
	for name := range a {
		if b[name] {
			both[name] = true
		}
	}
	return both
}

// flow counts the edges of a recorded flow.
func (r *Result) flow(recorder *record.Recorder) error {
	m, err := recorder.Policy(record.Options{Mode: record.Flow})
	if err != nil || len(m.Flows) == 0 {
		return err
	}
	r.Edges, r.Possible = load.Edges(m)
	return nil
}

// paper is what Seccomp-eBPF (arXiv 2302.10366) has: of static lists, by analysis of the
// programs' code, init, serving and all, and by how much the smaller attack surface is early.
func paper() map[string]Split {
	return map[string]Split{
		"apache2":   splitOf(107, 71, 83),
		"nginx":     splitOf(109, 52, 93),
		"lighttpd":  splitOf(99, 46, 78),
		"memcached": splitOf(101, 45, 83),
		"redis":     splitOf(93, 42, 84),
		"named":     splitOf(135, 75, 113),
	}
}
