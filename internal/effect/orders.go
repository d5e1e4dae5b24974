package effect

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/policy"
)

// order is an Order with its calls.
type order struct {
	*policy.Order
	calls, marks calls
	answer       abi.Verdict
}

func ordersOf(v *vocabulary) (all []order) {
	for i := range v.Order {
		o := &v.Order[i]
		r := order{o, v.of(o.Calls), v.of(o.Mark), refusal(o.Action, eperm)}
		if o.Kind == policy.Once {
			r.marks = r.calls
		}
		if !r.calls.empty() {
			all = append(all, r)
		}
	}
	return all
}

// title is the entry by its kind.
func (o order) title() string { return titled(o.Kind.String(), o.Name) }

// ordered are scripts that have a call of some come alone, and behind a mark.
func (d *difference) ordered(o order, of calls) (all []script) {
	for _, nr := range of.first(fewCalls) {
		call := turn{nr: nr, times: 1}
		for _, way := range d.ways(nr) {
			all = append(all, way.then(call))
		}
		for _, m := range o.marks.first(fewCalls) {
			for _, way := range d.ways(m) {
				all = append(all, marking(way, turn{nr: m, times: 1}, call)...)
			}
		}
	}
	return all
}

// marking are scripts in which a mark and a call are made by one task, or by two.
func marking(way script, mark, call turn) []script {
	child := call
	child.tid = 2
	return []script{
		way.then(mark, call), way.then(mark, turn{event: Forks}, child),
		way.then(turn{event: Forks}, mark, child), way.then(turn{event: Spawns}, mark, child),
	}
}

// orders compares once, before and after.
func (d *difference) orders() {
	a, b := ordersOf(d.before), ordersOf(d.after)
	kind := func(i, j int) bool { return a[i].Kind == b[j].Kind }
	calls := func(i, j int) bool { return kind(i, j) && a[i].calls == b[j].calls }
	marks := func(i, j int) bool { return calls(i, j) && a[i].marks == b[j].marks }
	same := func(i, j int) bool { return marks(i, j) && a[i].Per == b[j].Per }
	all := func(i, j int) bool { return same(i, j) && a[i].answer == b[j].answer }
	of := paired(len(a), len(b), all,
		func(i, j int) bool { return kind(i, j) && a[i].Name != "" && a[i].Name == b[j].Name },
		same, marks, calls,
		func(i, j int) bool { return kind(i, j) && a[i].marks == b[j].marks },
		func(i, j int) bool { return kind(i, j) && !a[i].calls.and(b[j].calls).empty() })
	for i, j := range of {
		if j < 0 {
			d.add(a[i].calls, a[i].title(), "removed"+a[i].marked(), More, d.ordered(a[i], a[i].calls)...)
			continue
		}
		d.order(a[i], b[j])
	}
	for _, j := range unpaired(of, len(b)) {
		d.add(b[j].calls, b[j].title(), "added"+b[j].marked(), Less, d.ordered(b[j], b[j].calls)...)
	}
}

// marked is what calls are before, or after.
func (o order) marked() string {
	if o.Kind == policy.Once {
		return ""
	}
	return fmt.Sprintf(": %v %s", o.Kind, listed(o.marks))
}

// maxListed is how many calls stand within a line.
const maxListed = 8

// listed is calls for a line.
func listed(c calls) string {
	names := c.names()
	if n := len(names) - maxListed; n > 0 {
		names = append(names[:maxListed], fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// order compares two of a kind.
func (d *difference) order(x, y order) {
	both, title := x.calls.and(y.calls), y.title()
	wider := widening(x.Per, y.Per)
	marked := Less
	if y.Kind == policy.After {
		wider, marked = wider.opposite(), More
	}
	more, less := x.calls.without(y.calls), y.calls.without(x.calls)
	d.add(more, title, "no longer refused"+x.marked(), More, d.ordered(x, more)...)
	d.add(less, title, "refused now"+y.marked(), Less, d.ordered(y, less)...)
	if y.Kind != policy.Once {
		added, gone := y.marks.without(x.marks), x.marks.without(y.marks)
		d.mark(y, both, added, fmt.Sprintf("%v %s too", y.Kind, listed(added)), marked)
		d.mark(x, both, gone, fmt.Sprintf("no longer %v %s", y.Kind, listed(gone)), marked.opposite())
	}
	if x.Per != y.Per {
		d.add(both, title, fmt.Sprintf("per %v -> %v", x.Per, y.Per), wider, d.ordered(y, both)...)
	}
	d.answers(both, title, x.answer, y.answer, d.ordered(x, both)...)
}

// mark adds a difference about marks that one has and the other has not.
func (d *difference) mark(o order, about, marks calls, what string, allows Leaning) {
	if !marks.empty() {
		o.marks = marks
		d.add(about, o.title(), what, allows, d.ordered(o, about)...)
	}
}

// flow is a Flow by the calls that its edges name.
type flow struct {
	*policy.Flow
	named  calls
	from   map[uint32]calls // before each
	start  calls            // that may be the first
	answer abi.Verdict
}

func flowsOf(v *vocabulary) (all []flow) {
	for i := range v.Flows {
		if f := v.flow(&v.Flows[i]); !f.named.empty() {
			all = append(all, f)
		}
	}
	return all
}

func (v *vocabulary) flow(f *policy.Flow) flow {
	r := flow{Flow: f, from: map[uint32]calls{}, answer: refusal(f.Action, eperm)}
	for _, e := range f.Edges {
		to, from := v.of(e.To), v.of(e.From)
		r.named = r.named.or(to).or(from)
		for _, n := range e.From {
			if n.Text == policy.Start {
				r.start = r.start.or(to)
			}
		}
		for _, nr := range to.numbers() {
			r.from[nr] = r.from[nr].or(from)
		}
	}
	return r
}

// flows compares flows.
func (d *difference) flows() {
	a, b := flowsOf(d.before), flowsOf(d.after)
	named := func(i, j int) bool { return a[i].named == b[j].named }
	of := paired(len(a), len(b),
		func(i, j int) bool { return named(i, j) && a[i].Per == b[j].Per && sameEdges(&a[i], &b[j]) },
		func(i, j int) bool { return a[i].Name != "" && a[i].Name == b[j].Name },
		func(i, j int) bool { return named(i, j) && a[i].Per == b[j].Per },
		named,
		func(i, j int) bool { return !a[i].named.and(b[j].named).empty() })
	for i, j := range of {
		if j < 0 {
			d.add(a[i].named, titled("flow", a[i].Name), "removed", More, d.against(a[i].named)...)
			continue
		}
		d.flow(&a[i], &b[j])
	}
	for _, j := range unpaired(of, len(b)) {
		d.add(b[j].named, titled("flow", b[j].Name), "added", Less, d.against(b[j].named)...)
	}
}

func sameEdges(x, y *flow) bool {
	for _, nr := range x.named.numbers() {
		if x.from[nr] != y.from[nr] {
			return false
		}
	}
	return x.start == y.start
}

// against are scripts of two calls each, which a flow may have in no such order.
func (d *difference) against(of calls) (all []script) {
	for _, nr := range of.first(2 * fewCalls) {
		all = append(all, script{turn{nr: nr, times: 2}})
		for _, last := range of.first(2 * fewCalls) {
			all = append(all, script{turn{nr: nr, times: 1}, turn{nr: last, times: 1}})
		}
	}
	return all
}

func (d *difference) flow(x, y *flow) {
	title, both := titled("flow", y.Name), x.named.and(y.named)
	d.add(y.named.without(x.named), title, "judges them now", Less, d.against(y.named.without(x.named))...)
	d.add(x.named.without(y.named), title, "judges them no more", More, d.against(x.named.without(y.named))...)
	d.edges(title, both, x, y, y, "may follow %s now", More)
	d.edges(title, both, y, x, x, "may no longer follow %s", Less)
	if x.Per != y.Per {
		d.add(both, title, fmt.Sprintf("per %v -> %v", x.Per, y.Per), Other, d.against(both)...)
	}
	d.answers(both, title, x.answer, y.answer, d.against(both)...)
}

// edges adds those that y has and x has not, calls with the same ones together.
func (d *difference) edges(title string, both calls, x, y, has *flow, what string, allows Leaning) {
	to := map[string]calls{}
	from := map[string]calls{}
	for _, nr := range both.numbers() {
		gained := y.from[nr].without(x.from[nr]).and(both)
		words := listed(gained)
		if y.start.has(nr) && !x.start.has(nr) {
			words = strings.TrimSuffix(policy.Start+", "+words, ", ")
		}
		if words != "" {
			c := to[words]
			c.add(nr)
			to[words], from[words] = c, from[words].or(gained)
		}
	}
	for _, words := range sorted(to) {
		d.add(to[words], title, fmt.Sprintf(what, words), allows, d.along(has, from[words], to[words])...)
	}
}

func sorted(m map[string]calls) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// along are scripts that follow edges of a flow to one of from, if any, and make one of to then.
func (d *difference) along(f *flow, from, to calls) (all []script) {
	paths := f.paths()
	for _, last := range to.first(fewCalls) {
		end := turn{nr: last, times: 1}
		all = append(all, script{end})
		for _, nr := range from.first(fewCalls) {
			all = append(all, paths[nr].then(end))
			for _, way := range d.ways(nr) {
				all = append(all, way.then(paths[nr]...).then(end))
			}
		}
	}
	return all
}

// paths are the shortest ways from the start to each call, with it.
func (f *flow) paths() map[uint32]script {
	found := map[uint32]script{}
	var queue []uint32
	visit := func(nr uint32, way script) {
		if _, ok := found[nr]; !ok {
			found[nr] = way.then(turn{nr: nr, times: 1})
			queue = append(queue, nr)
		}
	}
	for _, nr := range f.start.numbers() {
		visit(nr, nil)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, nr := range f.named.numbers() {
			if f.from[nr].has(queue[0]) {
				visit(nr, found[queue[0]])
			}
		}
	}
	return found
}
