//go:build linux && amd64

package main

import (
	"path/filepath"
	"strconv"

	"portcullis/internal/bench/tables"
)

// opens is how often one process opens its file.
const opens = 10_000

// pinBar is the most that a pinned decision may cost, in decisions of the C tracer.
const pinBar = 1.25

// cTracer is the floor.
const cTracer = "C tracer"

// pin compares decisions over a path that the call then consumes with the floor, a
// tracer in C that does nothing else. The other rivals are for orientation: they
// decide without pinning, or only look.
func pin(l *lab) error {
	if err := need(compiler, pinner); err != nil {
		return err
	}
	h, err := l.newHolding()
	if err != nil {
		return err
	}
	rivals := h.pinRivals()
	for _, where := range placements() {
		all, err := l.raceHeld(where, rivals, h.target, "open", strconv.Itoa(opens), h.file)
		if err != nil {
			return err
		}
		for _, c := range rivals {
			l.pinRow(where.name+": "+c.name, c.name, all)
		}
	}
	return nil
}

func (h *holding) pinRivals() []rival {
	rivals := []rival{
		{name: noFilter},
		{"C notifier, unpinned", h.floored("notify-openat"), true},
		{cTracer, h.floored("pin"), true},
		{ourselves, h.under(h.object + ":pin"), true},
		{ourselves + ", paths", h.under("paths", "--set", "read="+filepath.Dir(h.file)), true},
	}
	if strace := find(callTracer); strace != "" {
		rivals = append(rivals, rival{name: "strace -f -e trace=openat", prefix: []string{
			strace, "-f", "-e", "trace=openat", "-o", "/dev/null",
		}})
	}
	return rivals
}

// pinRow holds what a decision adds against the bar: the call itself would only
// bring both sides nearer to each other.
func (l *lab) pinRow(title, name string, all map[string][]float64) {
	if name == noFilter {
		l.Row(title, perCall(calm(all[noFilter])))
		return
	}
	ns, none, floor := calm(all[name]), calm(all[noFilter]), calm(all[cTracer])
	part := tables.Times((ns-none)/(floor-none), "what it adds")
	if name == ourselves {
		part = part.AtMost(pinBar)
	}
	l.Row(title, perCall(ns), tables.Value(ns-none, 1, "added"), tables.Times(ns/floor, cTracer), part)
}
