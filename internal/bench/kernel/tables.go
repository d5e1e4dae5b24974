//go:build linux && amd64

package main

import "portcullis/internal/bench/tables"

import "portcullis/internal/guest"

// count makes the table of instructions.
func (l *lab) count(r *report) error {
	got, err := l.measure(guest.Config{Clock: guest.Counted}, l.options, names(counted()))
	if err != nil {
		return err
	}
	r.Begin("instructions")
	got.rows(r, counted(), "instructions/call")
	r.ratio("constant call", got, extConst, classicConst, 1.05)
	r.ratio("counter", got, extCounter, classicBrief, 1.15)
	r.ratio("argument at the end of the list", got, extList, classicList, 0.8)
	r.ratio("calls that serialize has nothing to say about", got, agentOthers, classicConst, 1.05)
	r.ratio("calls that serialize has nothing to say about, kernel", got, kernelOthers, classicConst, 1.05)
	r.ratio("pinned openat", got, kernelOpen, bareOpen, 2)
	r.saved("notifier's overhead", got, notifier, 20)
	r.saved("agent's overhead", got, agentCounter, 0)
	return nil
}

// clock makes the table of wall time, by the best of some passes.
func (l *lab) clock(r *report) error {
	const passes = 3
	best := make(results)
	for i := 0; i < passes; i++ {
		got, err := l.measure(guest.Config{}, l.options, names(clocked()))
		if err != nil {
			return err
		}
		for name, g := range got {
			if b, ok := best[name]; !ok || g.Value < b.Value {
				best[name] = g
			}
		}
	}
	r.Begin("wall time")
	best.rows(r, clocked(), "ns/call")
	r.saved("notifier's overhead", best, notifier, 40)
	r.saved("agent's overhead", best, agentCounter, 0)
	return nil
}

// compare makes the table of what the patches add where no filter is eBPF.
func (l *lab) compare(r *report) error {
	r.Begin("against an unpatched kernel")
	if _, err := guest.Unpatched.Image(); err != nil {
		r.Note("no filter", err.Error())
		return nil
	}
	with, err := l.measure(guest.Config{Clock: guest.Counted}, l.options, unpatched())
	if err != nil {
		return err
	}
	without, err := l.measure(guest.Config{Clock: guest.Counted, Flavour: guest.Unpatched}, l.options, unpatched())
	if err != nil {
		return err
	}
	for i, name := range unpatched() {
		added := tables.Value(with[name].Value-without[name].Value, 1, "added")
		if i == 0 {
			added = added.AtMost(0)
		} else {
			added = added.AtMost(2)
		}
		r.Row(name, tables.Value(without[name].Value, 1, "instructions/call"), tables.Value(with[name].Value, 1, "patched"), added)
	}
	return nil
}

// rows are the absolute figures, and what each adds to the call without a filter.
func (got results) rows(r *report, of []beside, unit string) {
	for _, b := range of {
		g := got[b.way]
		switch {
		case g.Lacking != "":
			r.Note(b.way, g.Lacking)
		case b.bare == "":
			r.Row(b.way, tables.Value(g.Value, 1, unit))
		default:
			bare := got[b.bare].Value
			r.Row(b.way, tables.Value(g.Value, 1, unit), tables.Value(g.Value-bare, 1, "added"), tables.Times(g.Value/bare, noFilter))
		}
	}
}

// ratio holds one way against another.
func (r *report) ratio(name string, got results, way, of string, limit float64) {
	if why := got.lacking(way, of); why != "" {
		r.Note(name, why)
		return
	}
	r.Row(name, tables.Times(got[way].Value/got[of].Value, of).AtMost(limit))
}

// saved is by how much more another way adds to a call than the counter does; a limit
// of 0 is none.
func (r *report) saved(name string, got results, way string, limit float64) {
	if why := got.lacking(way, extCounter, noFilter); why != "" {
		r.Note(name, why)
		return
	}
	bare := got[noFilter].Value
	f := tables.Value((got[way].Value-bare)/(got[extCounter].Value-bare), 1, "x that of "+extCounter)
	if limit > 0 {
		f = f.AtLeast(limit)
	}
	run := tables.Value((got[way].Value-bare)/(got[extCounterRun].Value-bare), 1, "x that of it as run")
	r.Row(name, f, run)
}

// lacking is why one of ways has no figure.
func (got results) lacking(ways ...string) string {
	for _, w := range ways {
		if got[w].Lacking != "" {
			return got[w].Lacking
		}
	}
	return ""
}
