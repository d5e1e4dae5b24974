package load

import (
	"errors"
	"fmt"

	"portcullis"
	"portcullis/internal/policy"
	"portcullis/internal/record"
)

// backlog is how many events wait to be learnt from.
const backlog = 1 << 20

// allowed is a policy of which everything can be observed, and that denies nothing.
func allowed() ([]*portcullis.Filter, error) {
	f, err := portcullis.LoadPolicy("record", []byte("version: 1\ndefault: allow\n"))
	return []*portcullis.Filter{f}, err
}

// observed starts commands with every call observed and none denied, as portcullis record
// does.
func observed(events func(portcullis.Event)) (Start, error) {
	filters, err := allowed()
	return Under(portcullis.Cmd{
		Filters: filters, Engine: portcullis.Agent, Observe: portcullis.ObserveAll, Events: events, EventQueue: backlog,
	}), err
}

// Observe plays the load of a seed with every call observed and none denied.
func (p Program) Observe(seed int64, events func(portcullis.Event)) error {
	start, err := observed(events)
	if err != nil {
		return err
	}
	return p.Play(seed, start)
}

// Learn has a recorder learn from another run, of a varied load.
func (p Program) Learn(r *record.Recorder, seed int64) error {
	r.Begin()
	start, err := observed(func(e portcullis.Event) { r.Add(&e) })
	if err == nil {
		err = p.Vary(seed, start)
	}
	return errors.Join(err, p.whole(r))
}

// Record learns from runs of the loads of some seeds.
func (p Program) Record(seeds ...int64) (*record.Recorder, error) {
	r := record.New()
	for _, seed := range seeds {
		r.Begin()
		if err := p.Observe(seed, func(e portcullis.Event) { r.Add(&e) }); err != nil {
			return nil, err
		}
	}
	return r, p.whole(r)
}

// whole is an error if a recorder has missed something.
func (p Program) whole(r *record.Recorder) error {
	if r.Lost() > 0 {
		return fmt.Errorf("%s: %d events were lost: expected none", p.Name, r.Lost())
	}
	if r.Denied() > 0 {
		return errDenied
	}
	return nil
}

// errDenied is a recording in which guards have denied calls.
var errDenied = errors.New("calls were denied")

// Edges is how many steps from one call to the next the flow of a policy allows, and how many
// there could be between the calls that it names, and to them from the start.
func Edges(m *policy.Model) (allowed, possible int) {
	if len(m.Flows) == 0 {
		return 0, 0
	}
	edges, kinds := map[[2]string]bool{}, map[string]bool{}
	for _, e := range m.Flows[0].Edges {
		for _, from := range e.From {
			for _, to := range e.To {
				edges[[2]string{from.Text, to.Text}] = true
				kinds[to.Text] = true
			}
		}
	}
	return len(edges), (len(kinds) + 1) * len(kinds)
}
