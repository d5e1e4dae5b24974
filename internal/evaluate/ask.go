package main

import (
	"errors"
	"fmt"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/policy"
	"portcullis/internal/verify"
)

// seen is what was made of calls in each phase of a machine: policies are made of it, and
// asked about it.
type seen struct {
	machine *machine
	// made has the calls of the phases that processes came to be in, with those that are
	// never observed.
	made map[string]calls
}

func newSeen(m *machine, made map[string]calls) *seen {
	s := &seen{m, map[string]calls{m.first: made[m.first].with(unseen())}}
	for phase, names := range made {
		s.made[phase] = names.with(unseen())
	}
	return s
}

// serving are the calls of all phases but the first.
func (s *seen) serving() calls {
	all := unseen()
	for phase, names := range s.made {
		if phase != s.machine.first {
			all = all.with(names)
		}
	}
	return all
}

func (s *seen) all() calls { return s.made[s.machine.first].with(s.serving()) }

// way leads to a phase by a call with a first argument.
type way struct {
	call string
	arg  uint64
	to   string
}

// ways are those out of a phase that were taken, in the order of machine.next.
func (s *seen) ways(phase string) (all []way) {
	out, made := s.machine.ways[phase], s.made[phase]
	if to := out[thread]; to != "" {
		all = append(all, way{"clone3", 0, to}, way{"clone", cloneThread, to})
	}
	for _, call := range sorted(made) {
		if out[call] != "" {
			all = append(all, way{call, 0, out[call]})
		}
	}
	taken := all[:0]
	for _, w := range all {
		if made[w.call] && s.made[w.to] != nil {
			taken = append(taken, w)
		}
	}
	return taken
}

func sorted(c calls) []string {
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func namesOf(c calls) (all []policy.Name) {
	for _, name := range sorted(c) {
		all = append(all, policy.Name{Text: name})
	}
	return all
}

// listOf is a policy that allows some calls.
func listOf(c calls) *policy.Model {
	return &policy.Model{
		Name: "evaluate", Default: policy.Action{Kind: policy.Errno, Data: 1},
		Rules: []policy.Rule{{Action: policy.Action{Kind: policy.Allow}, Calls: namesOf(c)}},
	}
}

// phased is a policy that allows in each phase what was made there.
func (s *seen) phased() *policy.Model {
	m := listOf(s.all())
	for _, name := range s.machine.phases {
		if s.made[name] == nil {
			continue
		}
		p := policy.Phase{Name: name, Allow: namesOf(s.made[name])}
		for _, w := range s.ways(name) {
			p.Next = append(p.Next, policy.Transition{On: []policy.Name{{Text: w.call}}, If: w.condition(), To: w.to})
		}
		m.Phases = append(m.Phases, p)
	}
	return m
}

func (w way) condition() *policy.Condition {
	if w.arg == 0 {
		return nil
	}
	return &policy.Condition{Op: policy.Test, Arg: "flags", Compare: policy.AllBits, Values: []policy.Value{{Number: w.arg}}}
}

// installation is a stack of filters that an interpreter runs, without the guards of an
// engine: what they answer is the filters' own.
type installation struct {
	maps    maps.Set
	filters []*interp.Machine
}

// place is a process of an installation, which stands where it is to be asked.
type place struct {
	in  *installation
	key uint64
}

// caller is a process as filters see it: those of lists and phases ask for nothing else.
type caller struct {
	interp.Env
	key uint64
}

func (c caller) Process() uint64 { return c.key }
func (c caller) Thread() uint64  { return c.key }

// install is the first process under filters that are made of policies.
func install(stack ...*policy.Model) (place, error) {
	in := &installation{maps: maps.Set{}}
	for _, m := range stack {
		if err := in.add(m); err != nil {
			return place{}, err
		}
	}
	return place{in, 1}, nil
}

func (in *installation) add(m *policy.Model) error {
	p, err := policy.Compile(m)
	if err != nil {
		return err
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		return err
	}
	if err := in.maps.Add(v.Program().Maps); err != nil {
		return err
	}
	machine, err := interp.New(v, in.maps)
	in.filters = append(in.filters, machine)
	return err
}

// permits tells whether all filters let the process make a call.
func (p place) permits(w way) (bool, error) {
	nr, ok := syscalls.Number(w.call)
	if !ok {
		return false, fmt.Errorf("call %q: expected one of x86-64", w.call)
	}
	d := abi.SeccompData{Nr: int32(nr), Arch: abi.ArchX86_64}
	d.Args[0] = w.arg
	all := true
	for _, f := range p.in.filters {
		r := f.Run(caller{key: p.key}, &d)
		if r.Fault != nil {
			return false, r.Fault
		}
		all = all && abi.Verdict(r.Ret).Effective().Action() == abi.Allow
	}
	return all, nil
}

// fork is a process of a key with a copy of the state of another.
func (p place) fork(key uint64) (place, error) {
	if !p.in.maps.Inherit(p.key, key) {
		return place{}, errors.New("there is no room for the state of another process")
	}
	return place{p.in, key}, nil
}

// child is the key of who is asked in place of a process, whose state a call may change.
const child = 1 << 20

// permitted is how many of the calls are let through in one of the places at least.
func permitted(all calls, places ...place) (n int, err error) {
	for call := range all {
		some := false
		for _, p := range places {
			yes, err := p.tried(call)
			if err != nil {
				return 0, err
			}
			some = some || yes
		}
		if some {
			n++
		}
	}
	return n, nil
}

// tried has a child of the process make a call.
func (p place) tried(call string) (bool, error) {
	c, err := p.fork(child)
	if err != nil {
		return false, err
	}
	defer p.in.maps.Forget(maps.Process, child)
	return c.permits(way{call: call})
}

// askLists asks one list of all, and that with a second one of what serving needs on top.
func (s *seen) askLists() (one, two Split, err error) {
	early, err := install(listOf(s.all()))
	if err != nil {
		return one, two, err
	}
	late, err := install(listOf(s.all()), listOf(s.serving()))
	if err != nil {
		return one, two, err
	}
	if one, err = s.ask(early, early); err != nil {
		return one, two, err
	}
	two, err = s.ask(early, late)
	return one, two, err
}

// ask counts what is answered to all calls before a server serves, and from then on.
func (s *seen) ask(early place, late ...place) (Split, error) {
	all := s.all()
	init, err := permitted(all, early)
	if err != nil {
		return Split{}, err
	}
	serving, err := permitted(all, late...)
	return splitOf(len(all), init, serving), err
}

// askPhases asks the policy of phases, in the first and in all others.
func (s *seen) askPhases() (Split, error) {
	early, err := install(s.phased())
	if err != nil {
		return Split{}, err
	}
	late, err := s.walk(early)
	if err != nil {
		return Split{}, err
	}
	return s.ask(early, late...)
}

// walk makes a process for each of the later phases, which has gone there as processes did.
func (s *seen) walk(early place) (late []place, err error) {
	reached, queue := map[string]place{s.machine.first: early}, []string{s.machine.first}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, w := range s.ways(queue[0]) {
			if _, ok := reached[w.to]; ok {
				continue
			}
			p, err := reached[queue[0]].goes(w, uint64(len(reached)+1))
			if err != nil {
				return nil, err
			}
			reached[w.to], late, queue = p, append(late, p), append(queue, w.to)
		}
	}
	if len(late) == 0 || len(reached) < len(s.made) {
		return nil, fmt.Errorf("%d of %d phases were reached: expected that processes serve, and came to each by calls that were seen", len(reached), len(s.made))
	}
	return late, nil
}

// goes has a child of the process, of a key, make the call that leads on.
func (p place) goes(w way, key uint64) (place, error) {
	next, err := p.fork(key)
	if err != nil {
		return place{}, err
	}
	yes, err := next.permits(w)
	if err == nil && !yes {
		err = fmt.Errorf("%s was refused: expected that it leads to %s", w.call, w.to)
	}
	return next, err
}
