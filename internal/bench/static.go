//go:build linux && amd64

package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"portcullis/internal/bench/tables"
)

// pairs is the least number of rounds after which two programs count as equal
// or not.
const pairs = 20

// blur is the most that a program may differ from itself: on a machine that
// does other things at the same time, everything is within noise.
const blur = 0.05

// timed is how many calls of each kind one process makes.
const timed = 200_000

// kind is what cost.c calls a kind of calls.
type kind string

// The kinds. A missing call is one that no table has: without a filter it costs
// what entering the kernel does.
const (
	noSuch      kind = "missing"
	allowed     kind = "allowed"
	denied      kind = "denied"
	ruleAllowed kind = "allowed by a rule"
	ruleDenied  kind = "denied by a rule"
)

// base is the kind to which a filter adds the cost of k, where there is none.
func (k kind) base() kind {
	if k == denied || k == ruleDenied {
		return noSuch // the call itself is not made
	}
	return k
}

// measured are the kinds to be compared under each policy.
var measured = []struct {
	policy string
	kinds  []kind
}{
	{"list", []kind{allowed, denied}},
	{"rules", []kind{allowed, denied, ruleAllowed, ruleDenied}},
}

// contestant is a program to be timed under; the file is empty for none.
type contestant struct{ name, file string }

// The contestants.
const (
	noFilter  = "no filter"
	floor     = "shortest filter"
	chain     = "libseccomp, default order"
	tree      = "libseccomp, tree"
	treeAgain = "libseccomp, tree, again"
	ourselves = "Portcullis"
)

// static compares calls that the kernel decides by itself under our program and
// under libseccomp's for the same policy.
func static(l *lab) error {
	if err := need(compiler, scmpH); err != nil {
		return err
	}
	cost, err := l.compile("cost", "-static")
	if err != nil {
		return err
	}
	exporter, err := l.exporter()
	if err != nil {
		return err
	}
	for _, m := range measured {
		cs, err := l.contestants(exporter, m.policy)
		if err != nil {
			return err
		}
		costs, err := l.race(cost, m.policy, cs)
		if err != nil {
			return err
		}
		for _, k := range m.kinds {
			l.table(m.policy, k, cs, costs)
		}
	}
	return nil
}

// contestants leaves ours out where it cannot decide by itself. One takes part
// twice where equals are to be told from others: the difference is noise.
func (l *lab) contestants(exporter, policy string) ([]contestant, error) {
	shortest, err := l.shortest()
	if err != nil {
		return nil, err
	}
	inOrder, err := l.libseccomp(exporter, policy, "chain")
	if err != nil {
		return nil, err
	}
	asTree, err := l.libseccomp(exporter, policy, "tree")
	if err != nil {
		return nil, err
	}
	cs := []contestant{{noFilter, ""}, {floor, shortest}, {chain, inOrder}, {tree, asTree}}
	if policy == "list" {
		cs = append(cs, contestant{treeAgain, asTree})
	}
	file, asked, err := l.ours(policy)
	switch {
	case err != nil:
		return nil, err
	case len(asked) == 0:
		return append(cs, contestant{ourselves, file}), nil
	}
	l.Note(policy+": "+ourselves, "not measured: the agent is asked about "+strings.Join(asked, ", "))
	return cs, nil
}

// costs are nanoseconds per call by contestant and kind, one for each round.
type costs map[string]map[kind][]float64

// race starts with another contestant each round, so that none profits from its
// place. Every process has a filter to be freed, and to free thousands at a time
// stalls some kernels: the number of rounds is a matter of care too.
func (l *lab) race(cost, policy string, cs []contestant) (costs, error) {
	all := make(costs)
	for _, c := range cs {
		all[c.name] = make(map[kind][]float64)
	}
	for r := 0; r < l.rounds; r++ {
		for i := range cs {
			c := cs[(i+r)%len(cs)]
			if err := timeCalls(cost, policy, c, all[c.name]); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", policy, c.name, err)
			}
		}
	}
	return all, nil
}

// timeCalls runs one process and adds its figures.
func timeCalls(cost, policy string, c contestant, to map[kind][]float64) error {
	args := []string{strconv.Itoa(timed)}
	if c.file != "" {
		args = append(args, c.file)
	}
	out, err := output(exec.Command(cost, args...))
	if err != nil {
		return err
	}
	for _, text := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(text, ":")
		if len(f) != 3 {
			return fmt.Errorf("expected KIND:NANOSECONDS:DENIED, found %q", text)
		}
		ns, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return err
		}
		if c.file != "" && f[2] != expected(policy, c, kind(f[0])) {
			return fmt.Errorf("%s of 4 calls %s were denied, expected %s", f[2], f[0], expected(policy, c, kind(f[0])))
		}
		to[kind(f[0])] = append(to[kind(f[0])], ns)
	}
	return nil
}

// expected is how many of a round of four calls a contestant denies: a program
// that decides otherwise than the others must not be compared with them.
func expected(policy string, c contestant, k kind) string {
	switch {
	case k == denied, k == ruleDenied && (policy == "rules" || c.name == floor), k == noSuch && c.name != floor:
		return "4"
	}
	return "0"
}

// table prints one kind of calls under all contestants.
func (l *lab) table(policy string, k kind, cs []contestant, all costs) {
	title := func(of string) string { return policy + ": " + string(k) + ": " + of }
	none := all[noFilter][k.base()]
	if k.base() == noSuch {
		l.Row(title("no such call, no filter"), perCall(calm(none)))
	}
	for _, c := range cs {
		switch {
		case c.name == treeAgain || c.name == noFilter && k.base() == noSuch:
		case c.name == noFilter:
			l.Row(title(c.name), perCall(calm(none)))
		default:
			l.Row(title(c.name), perCall(calm(all[c.name][k])), tables.Value(calm(all[c.name][k])-calm(none), 1, "added"))
		}
	}
	if len(all[ourselves][k]) > 0 {
		l.judge(title, k, none, all)
	}
}

// judge holds ours against libseccomp's, and for comparison the floor: no filter
// can do better than that.
func (l *lab) judge(title func(string) string, k kind, none []float64, all costs) {
	if k == allowed {
		if again := all[treeAgain][k]; len(again) > 0 {
			l.parity(title("against the bitmap"), "libseccomp", all[ourselves][k], all[tree][k], again)
		}
		return
	}
	whole := func(c, of string) float64 { return calm(all[c][k]) / calm(all[of][k]) }
	added := func(c, of string) float64 {
		return (calm(all[c][k]) - calm(none)) / (calm(all[of][k]) - calm(none))
	}
	l.Row(title("whole call"), tables.Times(whole(ourselves, tree), "tree").AtMost(1), tables.Times(whole(ourselves, chain), "default order"))
	l.Row(title("whole call, "+floor), tables.Times(whole(floor, tree), "tree"), tables.Times(whole(floor, chain), "default order"))
	l.Row(title("what is added"), tables.Times(added(ourselves, tree), "tree").AtMost(1), tables.Times(added(ourselves, chain), "default order").AtMost(0.7))
	l.Row(title("what is added, "+floor), tables.Times(added(floor, tree), "tree"), tables.Times(added(floor, chain), "default order"))
}

// parity holds ours to be the same as another's, whose allowed calls are in the
// kernel's bitmap, if the median of the pairs' ratios lies in the middle half of
// what the other's against itself yields, or within one percent.
func (l *lab) parity(name, of string, ours, theirs, again []float64) {
	noise := ratios(again, theirs)
	low, high := quantile(noise, 0.25), quantile(noise, 0.75)
	switch {
	case len(ours) < pairs:
		l.Note(name, fmt.Sprintf("not judged: that takes %d rounds", pairs))
		return
	case low < 1-blur || high > 1+blur:
		l.Note(name, fmt.Sprintf("not judged: %s against itself is %.3f to %.3f", of, low, high))
		return
	}
	l.Row(name, tables.Value(median(ratios(ours, theirs)), 3, "x "+of).Within(min(low, 0.99), max(high, 1.01)))
}
