package load

import (
	"errors"
	"fmt"

	"portcullis"
	"portcullis/internal/record"
)

// backlog is how many events wait to be learnt from.
const backlog = 1 << 20

// allowed is a policy of which everything can be observed, and that denies nothing.
func allowed() ([]*portcullis.Filter, error) {
	f, err := portcullis.LoadPolicy("record", []byte("version: 1\ndefault: allow\n"))
	return []*portcullis.Filter{f}, err
}

// Observe plays the load of a seed with every call observed and none denied, as portcullis
// record does.
func (p Program) Observe(seed int64, events func(portcullis.Event)) error {
	filters, err := allowed()
	if err != nil {
		return err
	}
	return p.Play(seed, Under(portcullis.Cmd{
		Filters: filters, Engine: portcullis.Agent, Observe: portcullis.ObserveAll, Events: events, EventQueue: backlog,
	}))
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
	if r.Lost() > 0 {
		return nil, fmt.Errorf("%s: %d events were lost: expected none", p.Name, r.Lost())
	}
	if r.Denied() > 0 {
		return r, errDenied
	}
	return r, nil
}

// errDenied is a recording in which guards have denied calls.
var errDenied = errors.New("calls were denied")
