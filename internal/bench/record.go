//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"portcullis/internal/bench/tables"
)

// recording compares requests per second of nginx while it is recorded with those of one
// that is not.
func recording(l *lab) error {
	if err := need(webServer, webClient, pinner); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return &missingError{tools: []string{"root"}, packages: []string{"sudo"}}
	}
	b, err := l.newServing()
	if err != nil {
		return err
	}
	cli, err := l.cli()
	if err != nil {
		return err
	}
	ways := l.recordings(cli)
	kept, fresh, err := l.takeTurns(b, ways)
	if err != nil {
		return err
	}
	l.slowed("kept", ways, kept)
	l.slowed("fresh", ways, fresh)
	return nil
}

// recordings are what is compared; the first is the measure of the others.
func (l *lab) recordings(cli string) []way {
	record := func(flags ...string) func([]string, *os.File) (func() error, error) {
		out := filepath.Join(l.dir, "recorded.yaml")
		return prefixed(append([]string{cli, "record", "--allow-loss", "-o", out}, append(flags, "--")...)...)
	}
	return []way{
		{"not recorded", plain},
		{"recorded by eBPF", record("--with", "ebpf")},
		{"recorded by the agent", record("--with", "agent")},
		{"recorded with names", record("--mode", "paths")},
	}
}

// takeTurns measures each way once a round, none of them always in the same place.
func (l *lab) takeTurns(b *serving, ways []way) (kept, fresh [][]float64, err error) {
	kept, fresh = make([][]float64, len(ways)), make([][]float64, len(ways))
	for r := 0; r < (l.rounds+2)/3; r++ {
		for i := range ways {
			w := (i + r) % len(ways)
			k, f, err := b.measure(ways[w])
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", ways[w].name, err)
			}
			kept[w], fresh[w] = append(kept[w], k), append(fresh[w], f)
		}
	}
	return kept, fresh, nil
}

// enough is how much of the requests a server must keep that is recorded by eBPF.
const enough = 0.95

// slowed prints the rates, and holds those of the second way against the bar.
func (l *lab) slowed(manner string, ways []way, rates [][]float64) {
	for w, way := range ways {
		ratio := tables.Times(median(ratios(rates[w], rates[0])), ways[0].name)
		if w == 1 {
			ratio = ratio.AtLeast(enough)
		}
		l.Row(manner+": "+way.name, perSecond(median(rates[w]), "requests"), ratio)
	}
}
