//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// heldObject holds the measured filters for which a call is held.
const heldObject = "internal/bench/testdata/filters/held.o"

// rival is a way to run a command, and what stands in front of it then.
type rival struct {
	name   string
	prefix []string
	// denies tells that the forbidden path is denied: rivals that decide
	// differently must not be compared.
	denies bool
}

// placement is on which processors a rival runs, with what it runs.
type placement struct {
	name   string
	prefix []string
}

// placements are both measured, because they differ by what a wake-up costs: on one
// processor it is a switch, on several mostly an interrupt.
func placements() []placement {
	return []placement{
		{"one processor", []string{find(pinner), "-c", "0"}},
		{"any processor", nil},
	}
}

// holding is what decisions that hold a call are measured with.
type holding struct {
	target, floor, cost, cli string
	object                   string // the measured filters
	file                     string // a small one, to be opened
}

func (l *lab) newHolding() (*holding, error) {
	h := &holding{object: filepath.Join(l.root, heldObject), file: filepath.Join(l.dir, "small")}
	for name, path := range map[string]*string{"target": &h.target, "floor": &h.floor, "cost": &h.cost} {
		var err error
		if *path, err = l.compile(name, "-static"); err != nil {
			return nil, err
		}
	}
	var err error
	if h.cli, err = l.cli(); err != nil {
		return nil, err
	}
	return h, os.WriteFile(h.file, []byte("small\n"), 0o644)
}

// under is a filter by its SPEC, on the agent.
func (h *holding) under(spec string, more ...string) []string {
	return append(append([]string{h.cli, "run", "--engine", "agent", "-f", spec}, more...), "--")
}

// floored is a mode of floor.c.
func (h *holding) floored(mode string) []string { return []string{h.floor, mode} }

// raceHeld runs every rival with the measured program, each round another one first,
// and returns nanoseconds by rival.
func (l *lab) raceHeld(where placement, rivals []rival, argv ...string) (map[string][]float64, error) {
	all := make(map[string][]float64)
	for r := 0; r < l.rounds; r++ {
		for i := range rivals {
			c := rivals[(i+r)%len(rivals)]
			ns, err := c.time(where, argv)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", where.name, c.name, err)
			}
			all[c.name] = append(all[c.name], ns)
		}
	}
	return all, nil
}

// time runs the measured program once.
func (c rival) time(where placement, argv []string) (float64, error) {
	out, err := output(command(where.prefix, c.prefix, argv))
	if err != nil {
		return 0, err
	}
	figure, denied, ok := strings.Cut(strings.TrimSpace(string(out)), ":")
	if !ok || denied != "0" && denied != "1" {
		return 0, fmt.Errorf("expected NANOSECONDS:DENIED, found %q", out)
	}
	if c.denies != (denied == "1") {
		return 0, fmt.Errorf("the forbidden path was denied: %t, expected %t", denied == "1", c.denies)
	}
	return strconv.ParseFloat(figure, 64)
}
