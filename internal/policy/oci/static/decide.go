package static

import (
	"fmt"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
)

// Table is what a policy decides statically.
type Table struct {
	// Default is the answer where no case of a call says anything else, Unknown that to
	// numbers without a name.
	Default, Unknown policy.Action
	// Calls are all that have a name, in the order of their numbers.
	Calls []Call
	// Dynamic are the parts of the policy that need more than a call's number and
	// arguments.
	Dynamic []Part
}

// Call is one system call.
type Call struct {
	Nr    uint32
	Name  string
	Cases []Case
}

// Case is an action under conditions. Of two cases of a call no more than one applies.
type Case struct {
	// Pos is that of the rule, or of one of them.
	Pos    policy.Pos
	Action policy.Action
	// Dynamic tells that the policy decides by more than it can be asked about here;
	// then Action is Notify.
	Dynamic bool
	// When are cubes of which one has to hold; one that is empty holds always.
	When []Cube
}

// Always tells whether the case is for all arguments.
func (c *Case) Always() bool { return len(c.When) == 1 && len(c.When[0]) == 0 }

// Part is a part of a policy that is not static.
type Part struct {
	Pos  policy.Pos
	What string
}

// Find is the call with that number, nil if it has no name.
func (t *Table) Find(nr uint32) *Call {
	for i := range t.Calls {
		if t.Calls[i].Nr == nr {
			return &t.Calls[i]
		}
	}
	return nil
}

// Verdict is the answer to a call, and whether it is not for the table to give.
func (t *Table) Verdict(nr uint32, args [6]uint64) (a policy.Action, dynamic bool) {
	c := t.Find(nr)
	if c == nil {
		return t.Unknown, false
	}
	for _, k := range c.Cases {
		for _, w := range k.When {
			if w.Holds(args) {
				return k.Action, k.Dynamic
			}
		}
	}
	return t.Default, false
}

// Decide is the table of a policy. Errors are of type *policy.Error: names that nothing
// has. A policy that includes others is for its compiler to make whole first.
func Decide(m *policy.Model) (*Table, error) {
	if len(m.Include) > 0 {
		return nil, &policy.Error{Pos: m.Include[0].Pos, Reason: "the policy includes another", Remedy: "convert one that stands alone"}
	}
	t := &Table{Default: either(m.Default, EPERM), Unknown: either(m.Unknown, ENOSYS)}
	for _, a := range []*policy.Action{&t.Default, &t.Unknown} {
		if a.Pos == (policy.Pos{}) {
			a.Pos = m.Pos
		}
	}
	d := &decider{model: m, names: map[string][]uint32{}, table: t}
	d.prepare()
	for _, c := range syscalls.All() {
		if d.err != nil {
			return nil, d.err
		}
		d.table.Calls = append(d.table.Calls, d.call(c))
	}
	return d.table, d.err
}

// either is a, or the error if a says nothing.
func either(a policy.Action, errno uint16) policy.Action {
	if a.Kind == policy.NoAction {
		return policy.Action{Pos: a.Pos, Kind: policy.Errno, Data: errno}
	}
	return a
}

// maxPairs bounds the calls of all rules together.
const maxPairs = 1_000_000

// maxWork bounds how many cubes are made for one call, maxTotal for all.
const (
	maxWork  = 100_000
	maxTotal = 2_000_000
)

type decider struct {
	model *policy.Model
	table *Table
	names map[string][]uint32
	// rules are those of each call, watched what state asks about it.
	rules   map[uint32][]*policy.Rule
	watched map[uint32][]*policy.Condition
	// phased is what phases alone decide: an action, or that it depends.
	phased map[uint32]phased
	noted  map[Part]bool
	pairs  int
	total  int
	err    error
}

func (d *decider) fail(at policy.Pos, format string, args ...any) {
	if d.err == nil {
		d.err = &policy.Error{Pos: at, Reason: fmt.Sprintf(format, args...)}
	}
}

func (d *decider) note(at policy.Pos, what string) {
	if p := (Part{at, what}); !d.noted[p] {
		d.noted[p] = true
		d.table.Dynamic = append(d.table.Dynamic, p)
	}
}

// prepare sorts the parts of the policy by the calls they are about.
func (d *decider) prepare() {
	d.rules, d.watched, d.phased = map[uint32][]*policy.Rule{}, map[uint32][]*policy.Condition{}, map[uint32]phased{}
	d.noted = map[Part]bool{}
	for i := range d.model.Rules {
		r := &d.model.Rules[i]
		for _, nr := range d.calls(r.Calls) {
			d.rules[nr] = append(d.rules[nr], r)
			d.pairs++
		}
		if d.pairs > maxPairs {
			d.fail(r.Pos, "the policy has rules for more than %d calls", maxPairs)
			return
		}
	}
	for _, l := range d.model.Limits {
		d.watch(l.Pos, "a limit", l.If, l.Calls)
	}
	for _, o := range d.model.Order {
		d.watch(o.Pos, "an order", nil, o.Calls, o.Mark)
	}
	for _, f := range d.model.Flows {
		for _, e := range f.Edges {
			d.watch(f.Pos, "a flow", nil, e.From, e.To)
		}
	}
	for _, s := range d.model.Serialize {
		d.watch(s.Pos, "what is not to be at the same time", nil, s.First, s.Second)
	}
	d.phases()
}

func (d *decider) watch(at policy.Pos, what string, when *policy.Condition, lists ...[]policy.Name) {
	d.note(at, what)
	for _, names := range lists {
		for _, nr := range d.calls(names) {
			d.watched[nr] = append(d.watched[nr], when)
		}
	}
}

// call decides one call: its rules one after the other, each for what those before it
// have left.
func (d *decider) call(c syscalls.Call) Call {
	f := &finder{decider: d, nr: c.Nr, call: Call{Nr: c.Nr, Name: c.Name}, work: &work{left: maxWork}}
	if d.total > maxTotal {
		f.work.left = 0
	}
	left := always()
	for i, r := range d.rules[c.Nr] {
		rest := f.rule(r, left)
		if i == len(d.rules[c.Nr])-1 && !f.restMatters() {
			break // what is left can be hard to say, and is the default's
		}
		if left = f.leave(r, left, rest); len(left) == 0 {
			break
		}
	}
	f.rest(left)
	d.total += maxWork - f.work.left
	return f.call
}

// finder collects the cases of one call.
type finder struct {
	*decider
	nr   uint32
	call Call
	work *work
}

// rule adds what r decides of left, and is where r may match.
func (f *finder) rule(r *policy.Rule, left union) union {
	if r.If == nil {
		f.add(r.Pos, r.Action, left)
		return always()
	}
	may, must := f.condition(r.If, true, true), f.condition(r.If, true, false)
	mine, open := left.and(must, f.work), union(nil)
	if f.dynamic(r.If) {
		open = left.and(may, f.work).minus(must, f.work)
	}
	if f.work.over {
		f.tooMuch(r)
		return always()
	}
	if len(open) > 0 {
		f.note(r.Pos, "a rule that asks for more than numbers")
		f.open(r.Pos, open)
	}
	f.add(r.Pos, r.Action, mine)
	return may
}

// leave is what a rule that may match where may holds leaves to those behind it.
func (f *finder) leave(r *policy.Rule, left, may union) union {
	rest := left.minus(may, f.work)
	if f.work.over {
		f.tooMuch(r)
		return nil
	}
	return rest
}

// tooMuch leaves open what cannot be said in a bounded number of cubes. What has been
// said of it is taken back: no two cases hold at the same time.
func (f *finder) tooMuch(r *policy.Rule) {
	f.note(r.Pos, "a rule for "+f.call.Name+" whose conditions are too many")
	f.call.Cases = nil
	f.open(r.Pos, always())
}

// restMatters tells whether the default needs state for this call.
func (f *finder) restMatters() bool {
	_, watched := f.state(f.table.Default)
	p := f.phased[f.nr]
	return f.table.Default.Permits() && (len(watched) > 0 || p.depends || p.denied)
}

// open leaves a part of a call to who can decide it.
func (f *finder) open(at policy.Pos, when union) {
	f.insert(Case{Pos: at, Action: policy.Action{Kind: policy.Notify}, Dynamic: true, When: when})
}

// add is what is done where when holds, unless phases deny what rules permit, or what has
// state has to be asked.
func (f *finder) add(at policy.Pos, a policy.Action, when union) {
	if a.Pos == (policy.Pos{}) {
		a.Pos = at
	}
	a, watched := f.state(a)
	asked := when.and(watched, f.work)
	free := when.minus(watched, f.work)
	if f.work.over {
		asked, free = when, nil
	}
	f.open(at, asked)
	f.insert(Case{Pos: at, Action: either(a, EPERM), When: free})
}

// state is what the action becomes by phases, and where it needs state.
func (f *finder) state(a policy.Action) (policy.Action, union) {
	if !a.Permits() {
		return a, nil
	}
	switch p := f.phased[f.nr]; {
	case p.depends:
		return a, always()
	case p.denied:
		return p.action, nil
	}
	var u union
	for _, c := range f.watched[f.nr] {
		if c == nil {
			return a, always()
		}
		u = append(u, f.condition(c, true, true)...)
	}
	return a, u
}

// rest is what no rule decides: that is the default's, unless state has to be asked.
func (f *finder) rest(left union) {
	if len(left) == 0 {
		return
	}
	a, watched := f.state(f.table.Default)
	if a.Kind != f.table.Default.Kind || len(watched) > 0 {
		f.add(f.table.Default.Pos, f.table.Default, left)
	}
}

// insert puts cases with the same action together.
func (f *finder) insert(c Case) {
	if len(c.When) == 0 {
		return
	}
	for i := range f.call.Cases {
		k := &f.call.Cases[i]
		if Same(k.Action, c.Action) && k.Dynamic == c.Dynamic {
			k.When = union(append(k.When, c.When...)).compact()
			return
		}
	}
	f.call.Cases = append(f.call.Cases, c)
}
