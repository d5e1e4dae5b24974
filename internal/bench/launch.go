//go:build linux && amd64

package main

import (
	"os/exec"
	"time"

	"portcullis/internal/bench/tables"
)

// launches is how many times each command is started in a round.
const launches = 3

// launchBar is the most that count-exec may add, in milliseconds.
const launchBar = 6

// launch compares `portcullis run -f F /bin/true` with /bin/true.
func launch(l *lab) error {
	bin, err := l.cli()
	if err != nil {
		return err
	}
	bare := []string{"/bin/true"}
	ways := []struct {
		name string
		argv []string
		bar  bool
	}{
		{"run -f count-exec /bin/true", []string{bin, "run", "-f", "count-exec", "/bin/true"}, true},
		{"run -f no-exec /bin/true", []string{bin, "run", "-f", "no-exec", "/bin/true"}, false},
	}
	for _, way := range ways {
		var added, alone []float64
		for i := 0; i < launches*l.rounds; i++ {
			a, err := milliseconds(bare)
			if err != nil {
				return err
			}
			b, err := milliseconds(way.argv)
			if err != nil {
				return err
			}
			added, alone = append(added, b-a), append(alone, a)
		}
		cost := tables.Value(median(added), 2, "ms added")
		if way.bar {
			cost = cost.AtMost(launchBar)
		}
		l.Row(way.name, cost, tables.Value(median(alone), 2, "ms alone"))
	}
	return nil
}

func milliseconds(argv []string) (float64, error) {
	start := time.Now()
	err := exec.Command(argv[0], argv[1:]...).Run()
	return float64(time.Since(start)) / float64(time.Millisecond), err
}
