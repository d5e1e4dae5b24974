package effect

import (
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/engine/trial"
	"portcullis/internal/policy"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// sideOf is a filter of a policy, with what makes worlds of it.
func sideOf(t *testing.T, text string) (Side, func() (World, error)) {
	t.Helper()
	m, err := policy.Load("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	tree := split.Split(v)
	return Side{tree, m}, func() (World, error) {
		w, err := trial.New([]trial.Filter{{Name: "policy", Verified: v, Tree: tree}})
		return asking{w}, err
	}
}

// asking is a world of package trial.
type asking struct{ *trial.World }

func (a asking) Ask(tid int, c *Call) (abi.Verdict, error) {
	events, err := a.World.Ask(tid, &trial.Call{Data: c.Data, Text: c.Text})
	if err != nil {
		return 0, err
	}
	return events[len(events)-1].Verdict, nil
}

func (a asking) Do(s *Step) error {
	switch s.Event {
	case Forks:
		return a.Fork(s.Tid, s.Child)
	case Spawns:
		return a.Thread(s.Tid, s.Child)
	case Execs:
		return a.Exec(s.Tid)
	}
	a.Wait(s.Time)
	return nil
}

// compared are the terms of two policies, and trials of them.
func compared(t *testing.T, before, after string) ([]Term, *Trials) {
	t.Helper()
	x, a := sideOf(t, before)
	y, b := sideOf(t, after)
	r, err := Compare([]*split.Tree{x.Tree}, []*split.Tree{y.Tree}, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	words := WordsOf(x.Tree, y.Tree)
	return Terms([]Side{x}, []Side{y}, r), &Trials{Before: a, After: b, Open: r.Open, Words: words, Named: Named(x.Tree, y.Tree)}
}

// shown is a term as a line, with a star behind it where calls show it.
func shown(t *testing.T, m *Term, trials *Trials) string {
	t.Helper()
	line := fmt.Sprintf("%s: %s: %s: %s", strings.Join(m.Calls, " "), m.Entry, m.What, m.Allows)
	w, err := trials.Confirm(m)
	if err != nil {
		t.Fatal(err)
	}
	if w == nil {
		return line
	}
	replayed(t, trials, w)
	if !m.through.empty() && !w.goesBy(m.through) {
		t.Errorf("%s: %+v is not about it", line, w.Steps)
	}
	return line + " *"
}

// replayed asks both again about the steps of a witness.
func replayed(t *testing.T, trials *Trials, w *Witness) {
	t.Helper()
	for _, side := range []struct {
		make func() (World, error)
		want abi.Verdict
	}{{trials.Before, w.Before}, {trials.After, w.After}} {
		world, err := side.make()
		if err != nil {
			t.Fatal(err)
		}
		var got abi.Verdict
		for i := range w.Steps {
			if s := &w.Steps[i]; s.Event != Asked {
				err = world.Do(s)
			} else {
				got, err = world.Ask(s.Tid, &s.Call)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got.Effective() != side.want || w.Before == w.After {
			t.Errorf("%v, the witness says %v: %+v", got, side.want, w.Steps)
		}
	}
}

func TestTerms(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		want          []string
	}{
		"a limit": {
			"limits: [{calls: dup, max: 100}]", "limits: [{calls: dup, max: 200}]",
			[]string{"dup: limit: max 100 -> 200: more *"},
		},
		"a limit that is less": {
			"limits: [{name: n, calls: dup, max: 5}]", "limits: [{name: n, calls: [dup, dup2], max: 4}]",
			[]string{`dup dup2: limit "n": max 5 -> 4: less *`, `dup2: limit "n": counts them now: less *`},
		},
		"a window": {
			"limits: [{calls: dup, max: 3, window: 1s}]", "limits: [{calls: dup, max: 3, window: 2s}]",
			[]string{"dup: limit: window 1s -> 2s: less *"},
		},
		"a burst": {
			"limits: [{calls: dup, max: 3, window: 1s, burst: 4}]", "limits: [{calls: dup, max: 3, window: 1s, burst: 9}]",
			[]string{"dup: limit: burst 4 -> 9: more *"},
		},
		"an owner": {
			"limits: [{calls: dup, max: 3}]", "limits: [{calls: dup, max: 3, per: process}]",
			[]string{"dup: limit: per tree -> process: more *"},
		},
		"an answer": {
			"limits: [{calls: dup, max: 3}]", "limits: [{calls: dup, max: 3, action: EMFILE}]",
			[]string{"dup: limit: answers ERRNO(1) EPERM -> ERRNO(24) EMFILE: other *"},
		},
		"a condition that is written otherwise": {
			"limits: [{calls: openat, if: {flags: O_RDWR}, max: 3}]", "limits: [{calls: openat, if: {flags: 2}, max: 4}]",
			[]string{"openat: limit: max 3 -> 4: more *"},
		},
		"another condition": {
			"limits: [{calls: openat, if: {flags: O_RDWR}, max: 3}]", "limits: [{calls: openat, if: {flags: O_WRONLY}, max: 3}]",
			[]string{"openat: limit: another condition: other *"},
		},
		"a limit more": {
			"limits: [{calls: dup, max: 3}]", "limits: [{calls: dup, max: 3}, {calls: dup2, max: 3}]",
			[]string{"dup2: limit: added: max 3, per tree: less *"},
		},
		"what rules deny anyway": {
			"rules: [{deny: dup}]\nlimits: [{calls: [dup, dup2], max: 3}]", "rules: [{deny: dup}]\nlimits: [{calls: dup2, max: 3}, {calls: dup, max: 4}]",
			nil,
		},
		"renamed phases": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: x, deny: dup, next: [{on: listen, to: a}]}, {name: c, deny: dup3}, {name: a, deny: dup2}]",
			nil,
		},
		"a phase": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: a, deny: dup, next: [{on: listen, to: c}]}, {name: c, deny: [dup2, dup3]}]",
			[]string{`dup3: phase "b", now "c": allowed -> denied: less *`},
		},
		"the answer of a phase": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2, action: EACCES}]",
			[]string{`dup2: phase "b": answers ERRNO(1) EPERM -> ERRNO(13) EACCES: other *`},
		},
		"a transition more": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: a, deny: dup, next: [{on: [listen, bind], to: b}]}, {name: b, deny: dup2, next: [{on: accept, to: a}]}]",
			[]string{`bind: phase "a": transition to "b" added: other *`, `accept: phase "b": transition to "a" added: other *`},
		},
		"a transition by another call": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: a, deny: dup, next: [{on: bind, to: b}]}, {name: b, deny: dup2}]",
			[]string{`listen: phase "a": transition to "b" removed: other *`, `bind: phase "a": transition to "b" added: other *`},
		},
		"a transition to elsewhere": {
			"phases: [{name: a, next: [{on: listen, to: b}, {on: bind, to: c}], deny: dup}, {name: b, deny: dup2}, {name: c, deny: dup3}]",
			"phases: [{name: a, next: [{on: listen, to: b}, {on: bind, to: b}], deny: dup}, {name: b, deny: dup2}, {name: c, deny: dup3}]",
			[]string{`bind: phase "a": transition to "b" in place of "c": other *`},
		},
		"a transition to where it is": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2, next: [{on: listen, to: b}]}]",
			nil,
		},
		"no phases": {
			"phases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]", "",
			[]string{`dup: phase "a": removed: more *`, `dup2: phase "b": removed: more *`},
		},
		"edges": {
			"flow: [{edges: [{from: start, to: dup}, {from: dup, to: dup2}]}]",
			"flow: [{edges: [{from: start, to: [dup, dup2]}, {from: dup2, to: dup2}]}]",
			[]string{"dup2: flow: may follow start, dup2 now: more *", "dup2: flow: may no longer follow dup: less *"},
		},
		"a mark": {
			"order: [{calls: dup, before: listen}]", "order: [{calls: dup, before: [listen, bind]}]",
			[]string{"dup: before: before bind too: less *"},
		},
		"an order": {
			"order: [{calls: dup, after: listen}, {once: dup2}]", "order: [{once: dup2, per: process}]",
			[]string{"dup: after: removed: after listen: more *", "dup2: once: per tree -> process: more *"},
		},
		"behind phases and marks": {
			"order: [{calls: dup, after: bind}]\nlimits: [{calls: dup, max: 3}]\nphases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			"order: [{calls: dup, after: bind}]\nlimits: [{calls: dup, max: 4}]\nphases: [{name: a, deny: dup, next: [{on: listen, to: b}]}, {name: b, deny: dup2}]",
			[]string{"dup: limit: max 3 -> 4: more *"},
		},
		"groups": {
			"groups: {\"@mine\": [dup, dup2]}\nlimits: [{calls: \"@mine\", max: 3}]", "limits: [{calls: [dup2, dup], max: 4}]",
			[]string{"dup dup2: limit: max 3 -> 4: more *"},
		},
	} {
		terms, trials := compared(t, "version: 1\ndefault: allow\n"+c.before+"\n", "version: 1\ndefault: allow\n"+c.after+"\n")
		var got []string
		for i := range terms {
			got = append(got, shown(t, &terms[i], trials))
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// drawing of a policy: every part of it matters.
type drawnPolicy struct{ *rand.Rand }

func callsOn(names ...string) (all []policy.Name) {
	for _, n := range names {
		all = append(all, policy.Name{Text: n})
	}
	return all
}

func (d drawnPolicy) model() *policy.Model {
	m := &policy.Model{Default: policy.Action{Kind: policy.Allow}, Unknown: policy.Action{Kind: policy.Errno, Data: 38}}
	for i := 0; i < 3; i++ {
		l := policy.Limit{Calls: callsOn([]string{"dup", "dup2", "dup3"}[i]), Max: uint64(1 + d.Intn(50)), Per: policy.Owner(d.Intn(3))}
		if d.Intn(2) == 0 {
			l.Window = time.Duration(1+d.Intn(9)) * time.Second
		}
		m.Limits = append(m.Limits, l)
	}
	names := d.Perm(5)
	for i, n := range names {
		p := policy.Phase{Name: fmt.Sprint("stage", n), Deny: callsOn([]string{"getpid", "getuid", "getgid", "geteuid", "getegid"}[i])}
		p.Next = append(p.Next, policy.Transition{On: callsOn("listen"), To: fmt.Sprint("stage", names[(i+1)%len(names)])})
		m.Phases = append(m.Phases, p)
	}
	m.Order = []policy.Order{{Kind: policy.Before, Calls: callsOn("mount"), Mark: callsOn("chroot")}, {Kind: policy.Once, Calls: callsOn("setns")}}
	f := policy.Flow{Edges: []policy.Edge{{From: callsOn(policy.Start), To: callsOn("read")}}}
	for _, to := range []string{"write", "lseek", "fstat"} {
		f.Edges = append(f.Edges, policy.Edge{From: callsOn("read", to), To: callsOn("read", to)})
	}
	m.Flows = []policy.Flow{f}
	return m
}

// change changes one number or one edge, and is the term that names it.
func (d drawnPolicy) change(m *policy.Model) (entry, what string, allows Leaning) {
	switch i := d.Intn(3); d.Intn(6) {
	case 0:
		l := &m.Limits[i]
		l.Max++
		return "limit", fmt.Sprintf("max %d -> %d", l.Max-1, l.Max), More
	case 1:
		from := d.Intn(5)
		p, to := &m.Phases[from], m.Phases[(from+3)%5].Name
		before := p.Next[0].To
		p.Next[0].To = to
		return fmt.Sprintf("phase %q", p.Name), fmt.Sprintf("transition to %q in place of %q", to, before), Other
	case 2:
		p := &m.Phases[d.Intn(5)]
		p.Deny = append(p.Deny, callsOn("getppid")...)
		return fmt.Sprintf("phase %q", p.Name), "allowed -> denied", Less
	case 3:
		from := d.Intn(5)
		p, to := &m.Phases[from], m.Phases[(from+2)%5].Name
		p.Next = append(p.Next, policy.Transition{On: callsOn("bind"), To: to})
		return fmt.Sprintf("phase %q", p.Name), fmt.Sprintf("transition to %q added", to), Other
	case 4:
		m.Flows[0].Edges = append(m.Flows[0].Edges, policy.Edge{From: callsOn("write"), To: callsOn("fstat")})
		return "flow", "may follow write now", More
	}
	m.Order[0].Mark = callsOn("chroot", "pivot_root")
	return "before", "before pivot_root too", Less
}

// In a drawn policy one number, or one edge, is changed: that is named, and shown by calls.
func TestOneChangeIsNamed(t *testing.T) {
	seen := map[string]bool{}
	for seed := int64(0); seed < 60; seed++ {
		d := drawnPolicy{rand.New(rand.NewSource(seed))}
		m := d.model()
		before := string(policy.Write(m))
		entry, what, allows := d.change(m)
		terms, trials := compared(t, before, string(policy.Write(m)))
		found := false
		for i := range terms {
			line := shown(t, &terms[i], trials)
			named := terms[i].Entry == entry && terms[i].What == what && terms[i].Allows == allows
			found = found || named && strings.HasSuffix(line, "*")
			if !named && !(strings.HasPrefix(terms[i].Entry, "phase") && strings.HasPrefix(entry, "phase")) {
				t.Errorf("seed %d: %s, where %s %s", seed, line, entry, what)
			}
		}
		if !found {
			t.Errorf("seed %d: %s: %s: %s is not among %+v", seed, entry, what, allows, terms)
		}
		seen[strings.Fields(what)[0]+entry[:4]] = true
	}
	if len(seen) < 5 {
		t.Errorf("only %v were drawn", seen)
	}
}

// The same policy with other names has no terms.
func TestNamesAreNoTerms(t *testing.T) {
	m := drawnPolicy{rand.New(rand.NewSource(1))}.model()
	before := string(policy.Write(m))
	after := strings.NewReplacer("stage0", "first", "stage1", "stage2", "stage2", "stage1", "stage4", "stage9").Replace(before)
	if terms, _ := compared(t, before, after); len(terms) != 0 || before == after {
		t.Errorf("%+v", terms)
	}
}

func TestPairsAreBounded(t *testing.T) {
	asked := 0
	of := paired(4000, 4000, func(i, j int) bool { asked++; return false })
	if asked > 4*nearest || len(unpaired(of, 4000)) != 4000 {
		t.Errorf("%d pairs were looked at", asked)
	}
	if got := paired(2, 2, func(i, j int) bool { return i != j }); !reflect.DeepEqual(got, []int{1, 0}) {
		t.Errorf("%v", got)
	}
}
