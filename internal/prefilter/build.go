package prefilter

import (
	"errors"
	"fmt"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/split"
)

// tree is what is needed of a split.Tree.
type tree interface {
	Decisions(abi.Arch) []split.Range
	Clones() bool
	name() string
}

type namedTree struct{ *split.Tree }

func (t namedTree) name() string { return t.Verified().Program().Name }

// Build makes the prefilter of a stack, oldest filter first. The error is
// *Error.
func Build(stack []*split.Tree, o Options) (*Prefilter, error) {
	trees := make([]tree, len(stack))
	for i, t := range stack {
		trees[i] = namedTree{t}
	}
	return build(trees, o)
}

// GuardsOnly makes what stands before filters that run in the kernel: the
// guards, without a listener and hence without the guard of one. Its Observe
// has no meaning. The error is *Error.
func GuardsOnly(o Options) (*Prefilter, error) {
	o.Observe = ObserveNone
	return build(nil, o)
}

func build(trees []tree, o Options) (*Prefilter, error) {
	lift, err := o.lifted()
	if err != nil {
		return nil, err
	}
	p, err := compile(trees, o, lift, cbpf.MaxInsns)
	// Tests of arguments can be left to the filters; numbers cannot.
	for room := cbpf.MaxInsns / 2; tooLong(err) && room > 0; room = room * 3 / 4 {
		if p, err := compile(trees, o, lift, room); err == nil {
			return p, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// tooLong tells whether a program has more instructions than the kernel takes.
func tooLong(err *Error) bool {
	var cause *cbpf.Error
	return err != nil && errors.As(err, &cause)
}

// compile makes a prefilter whose decisions have room for so many tests.
func compile(trees []tree, o Options, lift map[Guard]bool, room int) (*Prefilter, *Error) {
	b := &builder{trees: trees, options: o, lift: lift, room: room, made: map[Decision]*Decision{}}
	p := &Prefilter{}
	var x86, i386 []rule
	for _, pass := range []struct {
		name string
		run  func() *Error
	}{
		{"join the filters of the stack, and leave to them what does not fit", func() (err *Error) {
			x86, i386, err = b.decisions()
			return err
		}},
		{"keep other tables of numbers from a tracer", func() *Error {
			p.traced = b.needsTracer(x86, i386)
			b.traced = p.traced
			return b.oneTable(x86, i386)
		}},
		{"decide again what a tracer changes", func() (err *Error) {
			if b.traced {
				x86, i386, err = b.decisions()
			}
			return err
		}},
		{"guard what arguments make dangerous", func() *Error {
			if p.dynamic = b.traced || asksAny(x86) || asksAny(i386); p.dynamic {
				b.guardAll(abi.ArchX86_64, x86)
				b.guardAll(abi.ArchI386, i386)
			}
			p.guards = b.inForce(p.dynamic)
			return nil
		}},
		{"exempt what the engine makes the target call", func() *Error {
			b.exempt(x86)
			return nil
		}},
		{"merge runs of numbers", func() *Error {
			p.x86, p.i386 = merge(x86), merge(i386)
			return nil
		}},
		{"assemble", func() (err *Error) {
			p.program, err = assemble(p)
			return err
		}},
	} {
		if err := pass.run(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// builder holds what the decisions of a prefilter depend on.
type builder struct {
	trees   []tree
	options Options
	lift    map[Guard]bool
	// room is how many tests the decisions may have together.
	room int
	// traced tells that the supervisor traces the target.
	traced bool
	// made has one of each decision.
	made map[Decision]*Decision
}

// rule is what a run of numbers is decided by.
type rule struct {
	from, to uint32
	d        *Decision
	// whole makes the leaf that does without tests of arguments.
	// It takes the reason why those are not made, for the leaves they concern.
	whole func(why string) *Decision
}

// decisions is the rules of both architectures, as far as they fit.
func (b *builder) decisions() (x86, i386 []rule, err *Error) {
	if x86, err = b.rules(abi.ArchX86_64); err == nil {
		i386, err = b.rules(abi.ArchI386)
	}
	if err == nil {
		b.fit(x86, i386)
	}
	return x86, i386, err
}

// rules lists what decides the calls of arch, before the guards of arguments.
func (b *builder) rules(arch abi.Arch) ([]rule, *Error) {
	if arch == abi.ArchI386 && !b.lift[GuardI386] {
		return []rule{{from: 0, to: ^uint32(0), d: b.leafOf(guardLeaf(GuardI386))}}, nil
	}
	trees := make([][]split.Range, len(b.trees))
	for i, t := range b.trees {
		trees[i] = t.Decisions(arch)
		if err := covers(t.name(), arch, trees[i]); err != nil {
			return nil, err
		}
	}
	var out []rule
	starts := b.boundaries(trees)
	for i, from := range starts {
		to := ^uint32(0)
		if i+1 < len(starts) {
			to = starts[i+1] - 1
		}
		out = append(out, b.rule(arch, from, to, at(trees, from)))
	}
	return out, nil
}

// rule decides the calls from … to, of which each tree says one thing.
func (b *builder) rule(arch abi.Arch, from, to uint32, parts []split.Range) rule {
	n := &numbered{builder: b, arch: arch, nr: from, left: maxNodes}
	r := rule{from: from, to: to}
	r.whole = func(why string) *Decision { return n.leaf(parts, why) }
	if alone, ok := b.alone(arch, from); ok {
		r.d = b.leafOf(alone)
		return r
	}
	decisions := make([]*split.Decision, len(parts))
	for i, p := range parts {
		if decisions[i] = p.Decision; p.Decision == nil {
			decisions[i] = &split.Decision{Leaf: p.Leaf}
		}
	}
	if r.d = n.untied(n.join(decisions, nil)); n.left <= 0 {
		r.d = r.whole(tooManyTests)
	}
	return r
}

// alone is the leaf of a call that is no filter's business.
func (b *builder) alone(arch abi.Arch, nr uint32) (Leaf, bool) {
	if isX32(arch, nr) && !b.lift[GuardX32] {
		return guardLeaf(GuardX32), true
	}
	if b.traced && arch == abi.ArchX86_64 {
		return reserved(nr)
	}
	return Leaf{}, false
}

// covers holds a tree to its promise, on which soundness rests: every number
// is in exactly one range.
func covers(name string, arch abi.Arch, rs []split.Range) *Error {
	next, whole := uint32(0), false
	for _, r := range rs {
		if whole || r.From != next || r.To < r.From {
			return broken(name, arch, next)
		}
		next, whole = r.To+1, r.To == ^uint32(0)
	}
	if !whole {
		return broken(name, arch, next)
	}
	return nil
}

func broken(name string, arch abi.Arch, nr uint32) *Error {
	return &Error{
		Program: name, Call: callName(arch, nr), Arch: arch, Insn: -1,
		Reason: "its decision tree has a gap or an overlap here", Remedy: "report this defect with the filter",
	}
}

// boundaries lists every number at which a leaf can differ from that of the
// number before.
func (b *builder) boundaries(trees [][]split.Range) []uint32 {
	all := b.guarded()
	for _, rs := range trees {
		for _, r := range rs {
			all = append(all, r.From)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	out := all[:1]
	for _, nr := range all[1:] {
		if nr != out[len(out)-1] {
			out = append(out, nr)
		}
	}
	return out
}

// at is what each tree says about nr.
func at(trees [][]split.Range, nr uint32) []split.Range {
	parts := make([]split.Range, len(trees))
	for i, rs := range trees {
		parts[i] = rs[sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })]
	}
	return parts
}

// joinLeaves is seccomp_run_filters over static leaves; one that is not static makes
// the whole call so, because its state must see every attempt. A call that
// would be delivered to a listener which does not exist fails with ENOSYS, an
// unknown action kills: both after the join, as in the kernel.
func (b *builder) joinLeaves(leaves []split.Leaf) Leaf {
	asked := Leaf{}
	static := Leaf{Verdict: abi.Allow, Filter: -1}
	for i, s := range leaves {
		switch {
		case s.Kind > asked.Kind:
			asked = Leaf{Kind: s.Kind, Filter: i, Program: b.trees[i].name(), Why: s.Why}
		case s.Kind == split.Static && abi.Strictest(s.Verdict, static.Verdict) == s.Verdict:
			static = Leaf{Verdict: s.Verdict, Filter: i, Program: b.trees[i].name(), Why: s.Why}
		}
	}
	switch {
	case asked.Kind == split.Static:
		static.Verdict = b.delivered(static.Verdict)
		return static
	case asked.Kind == split.Notify && onlyTracerDelivers(static.Verdict):
		asked.Kind = split.Trace
		asked.Why.Text += fmt.Sprintf("; %s returns %s, which takes a tracer", static.Program, static.Verdict)
	}
	return asked
}

// onlyTracerDelivers tells whether v can be the verdict on a call that a filter has to
// be asked about, and a notification cannot have that effect.
func onlyTracerDelivers(v abi.Verdict) bool {
	return v.Action() == abi.Trap || v.Action() == abi.KillThread
}

// delivered is what the kernel does with the joined verdict v of filters that
// have no listener. ALLOW and LOG lose their data, which has no meaning but
// keeps a call out of the kernel's bitmap. TRACE is for a debugger: where our tracer
// is in its place there is none, and the call fails as the kernel has it then.
func (b *builder) delivered(v abi.Verdict) abi.Verdict {
	switch v.Action() {
	case abi.UserNotif:
		return abi.Errno(enosys)
	case abi.Trace:
		if b.traced {
			return abi.Errno(enosys)
		}
	case abi.Allow, abi.Log:
		return v.Action()
	}
	return v.Effective()
}

// stricter is l under guard g: the kernel's join if l is static, whether or not it
// would be observed, as whoever is asked might let the call go on. Before a
// filter that has to be asked the guard decides alone: nobody is asked about a
// call that cannot happen. So it does where denials are only to be reported.
func (b *builder) stricter(l Leaf, g Guard) Leaf {
	if l.Observed {
		l.Kind, l.Observed = split.Static, false
	}
	lifted := b.options.Observe == ObservePermissive
	if !lifted && l.Kind == split.Static && abi.Strictest(l.Verdict, g.verdict()) == l.Verdict {
		return l
	}
	return guardLeaf(g)
}

func guardLeaf(g Guard) Leaf {
	return Leaf{Kind: split.Static, Verdict: g.verdict(), Guard: g, Filter: -1}
}

// observed tells whether o makes a notification of the static leaf l.
func observed(o Observe, l Leaf) bool {
	if l.Kind != split.Static {
		return false
	}
	switch l.Verdict.Action() {
	case abi.Allow, abi.Log:
		return o == ObserveAll
	case abi.Trap, abi.Trace, abi.KillThread:
		return o == ObservePermissive
	}
	return o != ObserveNone
}

// asksAny tells whether a rule has a leaf that is not static.
func asksAny(rs []rule) bool {
	return anyLeaf(rs, func(l Leaf) bool { return l.Kind != split.Static })
}

func anyLeaf(rs []rule, f func(Leaf) bool) bool {
	for _, r := range rs {
		if r.d.any(f) {
			return true
		}
	}
	return false
}

// merge joins neighbours that are decided alike.
func merge(rs []rule) []Range {
	var out []Range
	last := (*Decision)(nil)
	for _, r := range rs {
		if r.d == last {
			out[len(out)-1].To = r.to
			continue
		}
		last = r.d
		next := Range{From: r.from, To: r.to, Leaf: r.d.dearest()}
		if r.d.Then != nil {
			next.Decision = r.d
		}
		out = append(out, next)
	}
	return out
}
