package effect

import (
	"fmt"
	"math/bits"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
)

// calls is a set of numbers of x86-64's table.
type calls [16]uint64

// most is the number behind the last that a set has room for.
const most = 64 * len(calls{})

func (c *calls) add(nr uint32) {
	if int(nr) < most {
		c[nr/64] |= 1 << (nr % 64)
	}
}

func (c calls) has(nr uint32) bool { return int(nr) < most && c[nr/64]>>(nr%64)&1 != 0 }
func (c calls) empty() bool        { return c == calls{} }

func (c calls) and(o calls) calls {
	for i := range c {
		c[i] &= o[i]
	}
	return c
}

func (c calls) or(o calls) calls {
	for i := range c {
		c[i] |= o[i]
	}
	return c
}

func (c calls) without(o calls) calls {
	for i := range c {
		c[i] &^= o[i]
	}
	return c
}

// numbers are the members in ascending order.
func (c calls) numbers() (all []uint32) {
	for i, word := range c {
		for ; word != 0; word &= word - 1 {
			all = append(all, uint32(64*i+bits.TrailingZeros64(word)))
		}
	}
	return all
}

// first is a few of the members.
func (c calls) first(n int) []uint32 {
	all := c.numbers()
	return all[:min(n, len(all))]
}

// names are the members' names.
func (c calls) names() (all []string) {
	for _, nr := range c.numbers() {
		if name, ok := syscalls.Name(nr); ok {
			all = append(all, name)
		}
	}
	return all
}

// matters are the calls about which a stack is asked, or which are decided differently: a
// policy may say of others what it likes, for nothing comes of it.
func (r *Report) matters() (c calls) {
	add := func(arch abi.Arch, from, to uint32) {
		for nr := from; arch == abi.ArchX86_64 && int(nr) < most && nr <= to; nr++ {
			if _, named := syscalls.Name(nr); named {
				c.add(nr)
			}
		}
	}
	for _, o := range append(append([]Open(nil), r.Open...), r.Incomplete...) {
		add(o.Arch, o.From, o.To)
	}
	for i := range r.Changes {
		add(r.Changes[i].Arch, r.Changes[i].From, r.Changes[i].To)
	}
	return c
}

// maxCompiled is for how many pairs of conditions that are written differently it is found
// out whether they are the same: a hostile policy has thousands.
const maxCompiled = 64

// vocabulary is a policy with what its names stand for, as far as that matters.
type vocabulary struct {
	*policy.Model
	own      map[string][]policy.Name
	known    map[string]calls
	matters  calls
	wordings *wordings
}

// wordings is what is known of those of two policies.
type wordings struct {
	spelt    map[*policy.Condition]string
	same     map[condition]bool
	compiled int
}

// condition is two of calls.
type condition struct {
	before, after string
	on            calls
}

func newWordings() *wordings {
	return &wordings{spelt: map[*policy.Condition]string{}, same: map[condition]bool{}}
}

func newVocabulary(m *policy.Model, matters calls, known *wordings) *vocabulary {
	v := &vocabulary{Model: m, own: map[string][]policy.Name{}, known: map[string]calls{}, matters: matters, wordings: known}
	for _, g := range m.Groups {
		v.own[g.Name] = g.Calls
	}
	return v
}

// of are the calls that names stand for and that matter.
func (v *vocabulary) of(names []policy.Name) (all calls) {
	for _, n := range names {
		all = all.or(v.one(n.Text))
	}
	return all.and(v.matters)
}

func (v *vocabulary) one(name string) (c calls) {
	if known, ok := v.known[name]; ok {
		return known
	}
	v.known[name] = c // a group that holds itself does not compile
	if nr, ok := syscalls.Number(name); ok {
		c.add(nr)
	} else if own, ok := v.own[name]; ok {
		c = v.of(own)
	} else if in, ok := group.Lookup(name); ok {
		for _, call := range in {
			if nr, ok := syscalls.Number(call); ok {
				c.add(nr)
			}
		}
	}
	v.known[name] = c
	return c
}

// sameCondition tells whether two conditions of the same calls are known to be the same:
// they are written alike, or become the same instructions.
func (v *vocabulary) sameCondition(x *policy.Condition, of []policy.Name, o *vocabulary, y *policy.Condition, on []policy.Name) bool {
	if x == nil || y == nil {
		return x == y
	}
	c := v.wordings
	pair := condition{c.spell(x), c.spell(y), v.of(of)}
	same, known := c.same[pair]
	if known || pair.before == pair.after {
		return known && same || pair.before == pair.after
	}
	if c.compiled++; c.compiled <= maxCompiled && !looks(x) && !looks(y) {
		c.same[pair] = sameMeaning(v.alone(x, of), o.alone(y, on))
	}
	return c.same[pair]
}

// looks tells whether a condition is about memory, which may take long to compile.
func looks(c *policy.Condition) bool {
	for i := range c.Sub {
		if looks(&c.Sub[i]) {
			return true
		}
	}
	return c.Op == policy.Test && c.Subject != policy.Argument
}

func sameMeaning(x, y *policy.Model) bool {
	a, err := policy.Compile(x)
	if err != nil {
		return false
	}
	b, err := policy.Compile(y)
	return err == nil && newTwins().program(a, b)
}

// alone is a policy of one rule with a condition.
func (v *vocabulary) alone(x *policy.Condition, of []policy.Name) *policy.Model {
	return &policy.Model{
		Default: policy.Action{Kind: policy.Allow}, Links: policy.LinksTrusted, Groups: v.Groups,
		Rules: []policy.Rule{{Action: policy.Action{Kind: policy.Errno, Data: 1}, Calls: of, If: x}},
	}
}

// spell is all of a condition but where it stands.
func (all *wordings) spell(c *policy.Condition) string {
	if known, ok := all.spelt[c]; ok {
		return known
	}
	var b strings.Builder
	spell(&b, c)
	all.spelt[c] = b.String()
	return all.spelt[c]
}

func spell(b *strings.Builder, c *policy.Condition) {
	fmt.Fprintf(b, "(%d %d %q %d %d %s %s", c.Op, c.Subject, c.Arg, c.Width, c.Compare, value(c.Mask), values(c.Values))
	for _, argv := range c.Argv {
		fmt.Fprintf(b, " [%s]", values(argv))
	}
	for i := range c.Sub {
		spell(b, &c.Sub[i])
	}
	b.WriteByte(')')
}

func value(v policy.Value) string {
	if v.Text != "" {
		return fmt.Sprintf("%q", v.Text)
	}
	return fmt.Sprint(v.Number)
}

func values(all []policy.Value) string {
	var texts []string
	for _, v := range all {
		texts = append(texts, value(v))
	}
	return strings.Join(texts, ",")
}
