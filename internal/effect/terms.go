package effect

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/split"
)

// Leaning is what the second of two policies lets be made of calls, beside the first.
type Leaning string

// The leanings.
const (
	More  Leaning = "more"
	Less  Leaning = "less"
	Other Leaning = "other"
)

// opposite is what the first lets be made beside the second.
func (l Leaning) opposite() Leaning {
	switch l {
	case More:
		return Less
	case Less:
		return More
	}
	return l
}

// Term is a difference in state, in the words of the policies.
type Term struct {
	// Calls are those that it is about.
	Calls []string
	// Entry is which part of the policy differs, such as `phase "serve"`, and What how.
	Entry, What string
	Allows      Leaning
	// scripts may show the difference, by one of ends at last, or by whatever call behind one of
	// through; where a set is empty, by any.
	scripts       []script
	ends, through calls
}

// Side is a filter of a stack with the policy that it was made of; Model is nil if it was
// made of none.
type Side struct {
	Tree  *split.Tree
	Model *policy.Model
}

// maxTerms bounds what is told of hostile policies.
const maxTerms = 512

// Terms are the differences in state between the policies of two stacks, as far as their report
// says that they matter. Filters that both have, or that are of no policy, have none. What
// remains is compared in order, and with nothing where the other has no more.
func Terms(before, after []Side, r *Report) []Term {
	matters := r.matters()
	if matters.empty() {
		return nil
	}
	before, after = differing(before, after)
	var all []Term
	known := newWordings()
	for i := 0; i < max(len(before), len(after)); i++ {
		a, b := modelOf(before, i), modelOf(after, i)
		if a != nil && b != nil {
			d := newDifference(newVocabulary(a, matters, known), newVocabulary(b, matters, known))
			all = append(all, d.terms()...)
		}
	}
	return all[:min(len(all), maxTerms)]
}

// modelOf is the policy of a filter, an empty one if there are not so many filters.
func modelOf(sides []Side, i int) *policy.Model {
	if i >= len(sides) {
		return &policy.Model{}
	}
	return sides[i].Model
}

// differing are the filters that are not on the other side too.
func differing(before, after []Side) (a, b []Side) {
	b = append(b, after...)
next:
	for _, x := range before {
		for j, y := range b {
			if samePrograms([]*split.Tree{x.Tree}, []*split.Tree{y.Tree}) {
				b = append(b[:j:j], b[j+1:]...)
				continue next
			}
		}
		a = append(a, x)
	}
	return a, b
}

// difference is of two policies.
type difference struct {
	before, after *vocabulary
	// phases are theirs, by which scripts find to where a call is made.
	phasesBefore, phasesAfter *phases
	all                       []Term
}

func newDifference(a, b *vocabulary) *difference {
	return &difference{before: a, after: b, phasesBefore: newPhases(a), phasesAfter: newPhases(b)}
}

func (d *difference) terms() []Term {
	d.limits()
	d.phases()
	d.orders()
	d.flows()
	d.programs()
	d.serialized()
	return d.all
}

// add adds a Term about calls, of which there have to be any.
func (d *difference) add(about calls, entry, what string, allows Leaning, scripts ...script) {
	if !about.empty() && len(d.all) < maxTerms {
		d.all = append(d.all, Term{Calls: about.names(), Entry: entry, What: what, Allows: allows, scripts: scripts, ends: about})
	}
}

// addAny adds a Term that any call may show once one of those that it is about was made.
func (d *difference) addAny(about calls, entry, what string, allows Leaning, scripts ...script) {
	n := len(d.all)
	d.add(about, entry, what, allows, scripts...)
	if len(d.all) > n {
		d.all[n].ends, d.all[n].through = calls{}, about
	}
}

// titled is the word for an entry with its name, if it has one.
func titled(word, name string) string {
	if name == "" {
		return word
	}
	return fmt.Sprintf("%s %q", word, name)
}

// nearest bounds how many pairs are looked at: of long lists those that stand near each other.
const nearest = 1 << 16

// paired pairs n things with m others: those first that have the first likeness, then the
// second, and so on. It tells for each of the first which of the others it is, or -1.
func paired(n, m int, likenesses ...func(i, j int) bool) []int {
	of, taken := filled(n), make([]bool, m)
	near := nearest / max(n, 1)
	for _, alike := range likenesses {
		for i := range of {
			for j := max(0, i-near); j < min(m, i+near+1) && of[i] < 0; j++ {
				if !taken[j] && alike(i, j) {
					of[i], taken[j] = j, true
				}
			}
		}
	}
	return of
}

// unpaired are those of m others that paired has left.
func unpaired(of []int, m int) (rest []int) {
	taken := make([]bool, m)
	for _, j := range of {
		if j >= 0 {
			taken[j] = true
		}
	}
	for j := range taken {
		if !taken[j] {
			rest = append(rest, j)
		}
	}
	return rest
}

// refusal is the verdict of an action, by otherwise if the policy does not say.
func refusal(a policy.Action, otherwise uint16) abi.Verdict {
	if a.Kind == policy.NoAction {
		return abi.Errno(otherwise)
	}
	return a.Verdict().Effective()
}

// answers adds a difference in what refused calls are answered.
func (d *difference) answers(about calls, entry string, x, y abi.Verdict, scripts ...script) {
	if x != y {
		d.add(about, entry, fmt.Sprintf("answers %s -> %s", event.Verdict(x), event.Verdict(y)), Other, scripts...)
	}
}

// widening is what it does that a state which refuses from some number on, or once it is
// marked, belongs to another owner: what a part of the tree does counts less.
func widening(x, y policy.Owner) Leaning {
	if x < y {
		return More
	}
	return Less
}

func (d *difference) programs() {
	a, b := d.before.Programs, d.after.Programs
	same := func(i, j int) bool { return values(a[i].Paths) == values(b[j].Paths) }
	named := func(i, j int) bool { return a[i].Name != "" && a[i].Name == b[j].Name }
	of := paired(len(a), len(b), same, named)
	for i, j := range of {
		if j < 0 {
			d.add(d.before.denied(a[i].Allow, a[i].Deny), programTitle(&a[i]), "removed", More)
			continue
		}
		d.program(&a[i], &b[j])
	}
	for _, j := range unpaired(of, len(b)) {
		d.add(d.after.denied(b[j].Allow, b[j].Deny), programTitle(&b[j]), "added", Less)
	}
}

func programTitle(p *policy.Program) string {
	if p.Name != "" || len(p.Paths) == 0 {
		return titled("program", p.Name)
	}
	return titled("program", p.Paths[0].Text)
}

func (d *difference) program(p, q *policy.Program) {
	x, y := d.before.denied(p.Allow, p.Deny), d.after.denied(q.Allow, q.Deny)
	title := programTitle(q)
	d.add(x.without(y), title, "denied -> allowed", More)
	d.add(y.without(x), title, "allowed -> denied", Less)
	d.answers(x.and(y), title, refusal(p.Action, 1), refusal(q.Action, 1))
	if values(p.Paths) != values(q.Paths) {
		d.add(x.or(y), title, "other paths", Other)
	}
}

// denied are the calls that matter and that lists leave out.
func (v *vocabulary) denied(allow, deny []policy.Name) calls {
	if deny != nil {
		return v.of(deny)
	}
	return v.matters.without(v.of(allow))
}

// serialized compares which calls wait for each other. None is refused for it, but those
// that cannot wait.
func (d *difference) serialized() {
	a, b := d.before.Serialize, d.after.Serialize
	sets := func(v *vocabulary, s *policy.Serialize) [2]calls { return [2]calls{v.of(s.First), v.of(s.Second)} }
	of := paired(len(a), len(b), func(i, j int) bool {
		x, y := sets(d.before, &a[i]), sets(d.after, &b[j])
		return x == y || x == [2]calls{y[1], y[0]}
	})
	for i, j := range of {
		if s := sets(d.before, &a[i]); j < 0 {
			d.add(s[0].or(s[1]), titled("serialize", a[i].Name), "removed", Other)
		}
	}
	for _, j := range unpaired(of, len(b)) {
		s := sets(d.after, &b[j])
		d.add(s[0].or(s[1]), titled("serialize", b[j].Name), "added", Other)
	}
}
