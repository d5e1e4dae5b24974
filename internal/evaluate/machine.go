package main

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
	"portcullis/policies"
)

// machine is what the phases of a policy are.
type machine struct {
	model  *policy.Model
	first  string
	phases []string
	// ways lead from a phase by a call to another.
	ways map[string]map[string]string
}

func newMachine(name string) (*machine, error) {
	text, ok := policies.Policy(name)
	if !ok {
		return nil, fmt.Errorf("expected a policy of that name")
	}
	return machineOf(name, text)
}

// machineOf takes the text of a policy.
func machineOf(name string, text []byte) (*machine, error) {
	model, err := policy.Load(name+".yaml", text, nil)
	if err != nil {
		return nil, err
	}
	if err := evaluable(name, model); err != nil {
		return nil, err
	}
	m := &machine{model: model, first: model.Phases[0].Name, ways: map[string]map[string]string{}}
	for _, p := range model.Phases {
		m.phases = append(m.phases, p.Name)
		m.ways[p.Name] = map[string]string{}
		for _, way := range p.Next {
			if way.If != nil && !makesThread(way) {
				return nil, fmt.Errorf("%v: expected a way without a condition, or by a clone that makes a thread", way.Pos)
			}
			for call := range m.expand(way.On) {
				if way.If != nil {
					call = thread
				}
				if m.ways[p.Name][call] == "" { // the first one is taken
					m.ways[p.Name][call] = way.To
				}
			}
		}
	}
	return m, nil
}

// evaluable refuses policies of which the calls of rules and phases are not all there is.
func evaluable(name string, m *policy.Model) error {
	switch {
	case len(m.Phases) == 0:
		return fmt.Errorf("policy %s: expected phases", name)
	case m.Default.Permits() || m.Unknown.Permits():
		return fmt.Errorf("policy %s: expected that what it does not name is refused", name)
	case len(m.Programs)+len(m.Order)+len(m.Flows)+len(m.Limits) > 0:
		return fmt.Errorf("policy %s: expected no state but phases", name)
	}
	return nil
}

// thread stands for a clone that makes a thread. While calls are observed libraries have
// clone3 for that, and clone for children alone.
const thread = "clone (a thread)"

const cloneThread = 0x10000

func makesThread(way policy.Transition) bool {
	c := way.If
	return len(way.On) == 1 && way.On[0].Text == "clone" && c.Op == policy.Test && c.Arg == "flags" &&
		c.Compare == policy.AllBits && len(c.Values) == 1 && c.Values[0].Text == "CLONE_THREAD"
}

func (m *machine) next(phase string, c event.Call) (string, bool) {
	if c.Name == "clone3" || c.Name == "clone" && c.Args[0]&cloneThread != 0 {
		if to, ok := m.ways[phase][thread]; ok {
			return to, true
		}
	}
	to, ok := m.ways[phase][c.Name]
	return to, ok
}

// leaves tells whether a call may lead out of a phase, which makes it one of the phase.
func (m *machine) leaves(phase, call string) bool {
	return m.ways[phase][call] != "" || (call == "clone" || call == "clone3") && m.ways[phase][thread] != ""
}

// transitions says which calls lead out of the phases.
func (m *machine) transitions() string {
	var all []string
	for _, from := range m.phases {
		var on []string
		for call, to := range m.ways[from] {
			on = append(on, fmt.Sprintf("%s: %s → %s", from, call, to))
		}
		sort.Strings(on)
		all = append(all, on...)
	}
	return strings.Join(all, "; ")
}

// expand makes calls of names, of which some are groups.
func (m *machine) expand(names []policy.Name) calls {
	all := calls{}
	for _, n := range names {
		if !strings.HasPrefix(n.Text, "@") {
			all[n.Text] = true
			continue
		}
		members, _ := group.Lookup(n.Text)
		for _, call := range members {
			all[call] = true
		}
		for _, g := range m.model.Groups {
			if g.Name == n.Text {
				all = all.with(m.expand(g.Calls))
			}
		}
	}
	return all
}

// permitted are the calls that rules let through, at least with some arguments.
func (m *machine) permitted() calls {
	all, decided := calls{}, calls{}
	for _, r := range m.model.Rules {
		for call := range m.expand(r.Calls) {
			if r.Action.Permits() && !decided[call] {
				all[call] = true
			}
			decided[call] = decided[call] || r.If == nil
		}
	}
	return all
}

// inPhase are those of them that a phase leaves.
func (m *machine) inPhase(name string) calls {
	left := m.permitted()
	for _, p := range m.model.Phases {
		if p.Name != name {
			continue
		}
		only, out := m.expand(p.Allow), m.expand(p.Deny)
		for call := range left {
			if !m.leaves(name, call) && (out[call] || len(p.Allow) > 0 && !only[call]) {
				delete(left, call)
			}
		}
	}
	return left
}
