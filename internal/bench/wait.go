//go:build linux && amd64

package main

import (
	"fmt"
	"strconv"
	"strings"

	"portcullis/internal/bench/tables"
)

// orders is how often one process makes an ordered call.
const orders = 20_000

// wait measures a filter that orders two calls: what it costs all other calls, which
// should be nothing that any filter does not cost, and what it costs the two where
// nobody has to wait, beside a tracer in C that counts them in and out.
func wait(l *lab) error {
	if err := need(compiler, pinner); err != nil {
		return err
	}
	h, err := l.newHolding()
	if err != nil {
		return err
	}
	if err := l.others(h); err != nil {
		return err
	}
	for _, where := range placements() {
		if err := l.ordered(h, where); err != nil {
			return err
		}
	}
	return nil
}

// ordering is the built-in filter for the pair that target.c calls one of.
func (h *holding) ordering() []string {
	return h.under("serialize", "--set", "first=getpgid", "--set", "second=getsid")
}

// The rivals of others; one takes part twice, where the difference is noise.
const (
	allowAll      = "filter that allows everything"
	allowAllAgain = "filter that allows everything, again"
)

// others compares calls of no pair. Any filter costs the way to the kernel's bitmap
// of constant verdicts, so that the shortest one is what ours is held against.
func (l *lab) others(h *holding) error {
	rivals := []rival{
		{name: noFilter},
		{name: allowAll, prefix: h.floored("nothing")},
		{name: allowAllAgain, prefix: h.floored("nothing")},
		{name: ourselves, prefix: h.ordering()},
	}
	all := make(map[string][]float64)
	for r := 0; r < l.rounds; r++ {
		for i := range rivals {
			c := rivals[(i+r)%len(rivals)]
			ns, err := h.getppid(c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], ns)
		}
	}
	const title = "other calls: "
	for _, name := range []string{noFilter, allowAll, ourselves} {
		l.Row(title+name, perCall(calm(all[name])), tables.Times(calm(all[name])/calm(all[noFilter]), noFilter))
	}
	l.parity(title+"against the shortest filter", "shortest filter", all[ourselves], all[allowAll], all[allowAllAgain])
	return nil
}

// getppid times the calls that cost.c calls allowed.
func (h *holding) getppid(c rival) (float64, error) {
	where := placements()[0]
	out, err := output(command(where.prefix, c.prefix, []string{h.cost, strconv.Itoa(timed)}))
	if err != nil {
		return 0, err
	}
	for _, text := range strings.Split(string(out), "\n") {
		if f := strings.Split(text, ":"); len(f) == 3 && kind(f[0]) == allowed {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("expected a line %s:NANOSECONDS:DENIED, found %q", allowed, out)
}

// ordered compares calls that wait for nobody.
func (l *lab) ordered(h *holding, where placement) error {
	rivals := []rival{
		{name: noFilter},
		{name: cTracer, prefix: h.floored("order")},
		{name: ourselves, prefix: h.ordering()},
	}
	all, err := l.raceHeld(where, rivals, h.target, "order", strconv.Itoa(orders))
	if err != nil {
		return err
	}
	for _, c := range rivals {
		l.Row(where.name+": ordered call: "+c.name, perCall(calm(all[c.name])), tables.Times(calm(all[c.name])/calm(all[cTracer]), cTracer))
	}
	return nil
}
