package why

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
)

// Suspects are a stack of filters, and the guards before it, among which is looked for what
// denied a call of which only the number and the action are known.
//
// Soundness: the paths of a filter that a call can take are over-approximated, as its proof
// has them. A rule that is not named cannot have denied the call; one that is may be out of
// reach for reasons that the proof does not follow.
type Suspects struct {
	filters []Filter
	guards  *prefilter.Prefilter
}

// Filter is one that may have denied.
type Filter struct {
	Tree *split.Tree
	// Rules are those of the policy that it was made of, if it was.
	Rules []policy.Rule
}

// NewSuspects takes the filters as they are installed, the first one first. A stack that the
// agent cannot enforce has the guards of the kernel engine.
func NewSuspects(filters []Filter, o prefilter.Options) (*Suspects, error) {
	var trees []*split.Tree
	for _, f := range filters {
		trees = append(trees, f.Tree)
	}
	p, err := prefilter.Build(trees, o)
	if err != nil {
		p, err = prefilter.GuardsOnly(o)
	}
	return &Suspects{filters, p}, err
}

// maxCauses is how many rules are told of a denial.
const maxCauses = 16

// accuse says of a denial, of which a record says no more than e, which rules can have made it.
func (s *Suspects) accuse(d *Denial, e *event.Event) {
	all := append(s.guardsOf(e), s.rulesOf(e)...)
	switch len(all) {
	case 0:
		d.Cause = Cause{
			Verdict: d.Verdict, Reason: "another filter: nothing in those given answers this call so",
			Where: "change that filter: what one filter denies, no other allows",
		}
	case 1:
		d.Cause = all[0]
		d.Reason += ": nothing else in the filters given can"
	default:
		d.Cause = Cause{Verdict: d.Verdict, Reason: fmt.Sprintf("one of %d rules: the record does not tell which", len(all))}
		d.Where = "change each that is to let it be made"
		d.Causes = all[:min(len(all), maxCauses)]
	}
}

// guardsOf are the guards that can have denied e.
func (s *Suspects) guardsOf(e *event.Event) (all []Cause) {
	known := map[prefilter.Guard]bool{prefilter.Launch: true, prefilter.Injected: true, "": true}
	r := s.guards.Find(e.Call.Arch, uint32(e.Call.Nr))
	if r.Decision == nil {
		r.Decision = &prefilter.Decision{Leaf: r.Leaf}
	}
	seen, todo := map[*prefilter.Decision]bool{nil: true}, []*prefilter.Decision{r.Decision}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch l := d.Leaf; {
		case seen[d]:
		case d.Then != nil:
			todo = append(todo, d.Else, d.Then)
		case !known[l.Guard] && l.Verdict.Effective().Action() == e.Verdict.Effective().Action():
			known[l.Guard] = true
			all = append(all, guarded(e, l))
		}
		seen[d] = true
	}
	return all
}

// guarded is e as a guard's denial.
func guarded(e *event.Event, l prefilter.Leaf) Cause {
	as := *e
	as.Program, as.Leaf, as.Verdict = string(l.Guard), event.LeafGuard, l.Verdict
	c := causeOf(&as, false)
	if l.Guard == prefilter.Reserved {
		c.Reason, c.Warnings = "the agent's tracer, in the place of another call", nil
		c.Where = askEvents
	}
	return c
}

// rulesOf are the rules of policies, and the lines of other filters, that can have denied e.
func (s *Suspects) rulesOf(e *event.Event) (all []Cause) {
	seen := map[string]bool{}
	for i := range s.filters {
		f := &s.filters[i]
		possible := f.verdicts(e)
		for _, v := range f.Tree.Verified().Programs() {
			for _, p := range placesOf(v, e) {
				c := f.cause(&p, e)
				if at := c.Verdict + c.Reason; !seen[at] && (possible == nil || !p.known || possible[p.verdict]) {
					seen[at] = true
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// verdicts are what the filter answers to calls like e, as far as it has been split: tests of
// arguments that exclude each other are known there. It is nil where state decides.
func (f *Filter) verdicts(e *event.Event) map[abi.Verdict]bool {
	r := f.Tree.Find(e.Call.Arch, uint32(e.Call.Nr))
	if r.Decision == nil {
		r.Decision = &split.Decision{Leaf: r.Leaf}
	}
	all, seen, todo := map[abi.Verdict]bool{}, map[*split.Decision]bool{}, []*split.Decision{r.Decision}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch {
		case seen[d]:
		case d.Then != nil:
			todo = append(todo, d.Else, d.Then)
		case d.Leaf.Kind != split.Static:
			return nil
		default:
			all[d.Leaf.Verdict] = true
		}
		seen[d] = true
	}
	return all
}

// cause is e as the denial of a place in a program of f.
func (f *Filter) cause(p *place, e *event.Event) Cause {
	as := *e
	as.Program, as.Insn = p.program.Name, p.pc
	if p.pc >= 0 {
		line := p.program.LineOf(p.pc)
		as.Line, as.Source = line.String(), line.Text
	}
	if p.known {
		as.Verdict = p.verdict
	}
	c := causeOf(cleaned(&as), false)
	if !p.known {
		c.Verdict, _, _ = strings.Cut(c.Verdict, "(")
	}
	f.narrow(&c, &as)
	return c
}

// narrow has a rule that is to be in front of another take what that one denies, and no more.
// Where several are on one line, it is not known which denied.
func (f *Filter) narrow(c *Cause, e *event.Event) {
	var at []policy.Rule
	for _, r := range f.Rules {
		if fmt.Sprintf("%s:%d", r.Pos.File, r.Pos.Line) == e.Line {
			at = append(at, r)
		}
	}
	name, ok := syscalls.Name(uint32(e.Call.Nr))
	if ok && c.Change != "" && originOf(e) == fromRule && len(at) == 1 && at[0].If != nil {
		c.Change, c.Warnings = allowing(name, at[0].If), dangers(name)
	}
}

// answered tells that a supervisor has answered the call of a record: its answer is not there.
func answered(action abi.Verdict) bool { return action == abi.UserNotif || action == abi.Trace }
