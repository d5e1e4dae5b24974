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

// What is said of policies is shown by calls, about which both are asked again.
func TestTermsAreDifferences(t *testing.T) {
	policyOf := func(text string) []*portcullis.Filter {
		f, err := portcullis.LoadPolicy("./p.yaml", []byte("version: 1\ndefault: allow\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return []*portcullis.Filter{f}
	}
	texts := []string{
		"limits: [{calls: openat, max: 100}, {calls: dup, max: 3, window: 1s}]",
		"limits: [{calls: openat, max: 101}, {calls: dup, max: 3, window: 2s}]",
		"limits: [{calls: openat, max: 100, per: thread}]\norder: [{calls: mount, after: chroot}]",
		"order: [{calls: mount, after: [chroot, pivot_root]}]\nphases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: socket}]",
		"phases: [{name: a, deny: dup, next: [{on: bind, to: b}]}, {name: b, deny: [socket, openat]}]",
	}
	shown := 0
	for _, a := range texts {
		for _, b := range texts {
			x, y := policyOf(a), policyOf(b)
			d, err := portcullis.Compare(x, y, 5)
			if err != nil {
				t.Fatal(err)
			}
			if (d.Result == portcullis.DiffSame) != (a == b) || (len(d.Policy) == 0) != (a == b) {
				t.Errorf("%s\n%s\n%s, %+v", a, b, d.Result, d.Policy)
			}
			for _, m := range d.Policy {
				if m.Steps == nil {
					t.Errorf("%s\n%s\n%+v is not shown", a, b, m)
					continue
				}
				shown++
				if p, q := answered(t, x, m.Steps), answered(t, y, m.Steps); p != m.Before || q != m.After || p == q {
					t.Errorf("%q: %s and %s, want %s and %s", m.Steps, p, q, m.Before, m.After)
				}
			}
		}
	}
	if shown < 40 {
		t.Errorf("%d were shown", shown)
	}
}
