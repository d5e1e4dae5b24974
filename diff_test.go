package portcullis_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"portcullis"
)

func loaded(t *testing.T, spec string, settings ...string) []*portcullis.Filter {
	t.Helper()
	f, err := portcullis.Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		if err := f.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return []*portcullis.Filter{f}
}

// answered runs the steps of a witness as cases are run, and is the verdict on the last call.
func answered(t *testing.T, stack []*portcullis.Filter, steps []string) string {
	t.Helper()
	var lines []string
	for _, s := range steps { // each call on a line of its own: what any verdict will do for is asked once
		call, times, _ := strings.Cut(s, " x")
		n, _ := strconv.Atoi(times)
		for i := 0; i < max(n, 1); i++ {
			lines = append(lines, call)
		}
	}
	text := "-- witness --\n" + strings.Join(lines, "\n") + "\n"
	rs, err := portcullis.TestCases([]byte(text), func([]string) ([]*portcullis.Filter, error) { return stack, nil })
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rs[0].Calls[len(rs[0].Calls)-1].Verdict
}

// Every witness is asked about again, by another way: both answer as the diff says.
func TestWitnessesAreDifferences(t *testing.T) {
	specs := [][]string{
		{"no-exec"},
		{"count-exec"},
		{"count-exec", "max=7"},
		{"count", "calls=socket", "max=2"},
		{"phases"},
		{"few-programs"},
		{"paths", "read=/usr"},
		{"paths", "read=/usr,/etc"},
		{"exec-list", "allow=/bin/sh"},
		{"rate"},
	}
	results := map[string]int{}
	stacks := make([][]*portcullis.Filter, len(specs))
	for i, s := range specs {
		stacks[i] = loaded(t, s[0], s[1:]...)
	}
	for i, a := range specs {
		for j, b := range specs[:i+1] {
			x, y := stacks[i], stacks[j]
			d, err := portcullis.Compare(x, y, 20)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%v and %v", a, b)
			if results[d.Result]++; (d.Result == portcullis.DiffSame) != (fmt.Sprint(a) == fmt.Sprint(b)) {
				t.Errorf("%s: %s", name, d.Result)
			}
			checkWitnesses(t, name, d, x, y)
		}
	}
	if results[portcullis.DiffDiffers] < 40 || results[portcullis.DiffSame] != len(specs) {
		t.Errorf("results %v", results)
	}
}

func checkWitnesses(t *testing.T, name string, d *portcullis.Diff, x, y []*portcullis.Filter) {
	t.Helper()
	for i, c := range d.Changes {
		if c.Unproven || i > 40 {
			continue
		}
		for _, side := range []struct {
			stack []*portcullis.Filter
			want  string
		}{{x, c.Before}, {y, c.After}} {
			if side.want == "notify" || side.want == "trace" {
				continue // what it answers is not said
			}
			if strings.HasPrefix(c.Witness, "seccomp(") {
				continue // where all is observed there is a listener to guard
			}
			if got := answered(t, side.stack, []string{c.Witness}); got != side.want {
				t.Errorf("%s: %s: %s, want %s", name, c.Witness, got, side.want)
			}
		}
	}
	if d.State == nil || d.State.Steps == nil {
		return
	}
	if a, b := answered(t, x, d.State.Steps), answered(t, y, d.State.Steps); a != d.State.Before || b != d.State.After || a == b {
		t.Errorf("%s: %q: %s and %s, want %s and %s", name, d.State.Steps, a, b, d.State.Before, d.State.After)
	}
}
