package main

import (
	"fmt"
	"sort"
	"strings"

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
	model, err := policy.Load(name+".yaml", text, nil)
	if err != nil {
		return nil, err
	}
	if len(model.Phases) == 0 {
		return nil, fmt.Errorf("policy %s: expected phases", name)
	}
	m := &machine{model: model, first: model.Phases[0].Name, ways: map[string]map[string]string{}}
	for _, p := range model.Phases {
		m.phases = append(m.phases, p.Name)
		m.ways[p.Name] = map[string]string{}
		for _, way := range p.Next {
			if way.If != nil {
				return nil, fmt.Errorf("%v: expected a way without a condition", way.Pos)
			}
			for call := range m.expand(way.On) {
				m.ways[p.Name][call] = way.To
			}
		}
	}
	return m, nil
}

func (m *machine) next(phase, call string) (string, bool) {
	to, ok := m.ways[phase][call]
	return to, ok
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
			if out[call] || len(p.Allow) > 0 && !only[call] && m.ways[name][call] == "" {
				delete(left, call)
			}
		}
	}
	return left
}
