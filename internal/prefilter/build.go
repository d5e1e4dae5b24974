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
		{"join the filters of the stack, with guards and observation", func() (err *Error) {
			if x86, err = b.rules(abi.ArchX86_64); err == nil {
				i386, err = b.rules(abi.ArchI386)
			}
			return err
		}},
		{"leave to the filters what does not fit", func() *Error { return b.fit(x86, i386) }},
		{"guard the listener", func() *Error {
			if p.dynamic = anyNotify(x86) || anyNotify(i386); p.dynamic {
				b.guardListener(abi.ArchX86_64, x86)
				b.guardListener(abi.ArchI386, i386)
			}
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
	// made has one of each decision.
	made map[Decision]*Decision
}

// rule is what a run of numbers is decided by.
type rule struct {
	from, to uint32
	d        *Decision
	// whole makes the leaf that does without tests of arguments.
	// It takes the reason why those are not made, for the leaves they concern.
	whole func(why string) (*Decision, *Error)
}

// rules lists what decides the calls of arch, before guardListener and merge.
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
	starts := boundaries(trees)
	for i, from := range starts {
		to := ^uint32(0)
		if i+1 < len(starts) {
			to = starts[i+1] - 1
		}
		r, err := b.rule(arch, from, to, at(trees, from))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// rule decides the calls from … to, of which each tree says one thing.
func (b *builder) rule(arch abi.Arch, from, to uint32, parts []split.Range) (rule, *Error) {
	n := &numbered{builder: b, arch: arch, nr: from, left: maxNodes}
	r := rule{from: from, to: to}
	r.whole = func(why string) (*Decision, *Error) {
		d, err := n.leaf(parts, why)
		return n.exempt(d), err
	}
	if isX32(arch, from) && !b.lift[GuardX32] {
		r.d = b.leafOf(guardLeaf(GuardX32))
		return r, nil
	}
	decisions := make([]*split.Decision, len(parts))
	for i, p := range parts {
		if decisions[i] = p.Decision; p.Decision == nil {
			decisions[i] = &split.Decision{Leaf: p.Leaf}
		}
	}
	d, err := n.join(decisions, nil)
	switch {
	case err != nil:
		return r, err
	case n.left <= 0:
		r.d, err = r.whole(tooManyTests)
	default:
		r.d = n.exempt(d)
	}
	return r, err
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
func boundaries(trees [][]split.Range) []uint32 {
	all := guarded()
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
	l := Leaf{Kind: split.Static, Verdict: abi.Allow, Filter: -1}
	for i, s := range leaves {
		switch {
		case s.Kind > l.Kind:
			l = Leaf{Kind: s.Kind, Filter: i, Program: b.trees[i].name(), Why: s.Why}
		case s.Kind == split.Static && l.Kind == split.Static && abi.Strictest(s.Verdict, l.Verdict) == s.Verdict:
			l = Leaf{Kind: split.Static, Verdict: s.Verdict, Filter: i, Program: b.trees[i].name(), Why: s.Why}
		}
	}
	if l.Kind == split.Static {
		l.Verdict = delivered(l.Verdict)
	}
	return l
}

// delivered is what the kernel does with the joined verdict v of filters that
// have no listener. ALLOW and LOG lose their data, which has no meaning but
// keeps a call out of the kernel's bitmap.
func delivered(v abi.Verdict) abi.Verdict {
	switch v.Action() {
	case abi.UserNotif:
		return abi.Errno(enosys)
	case abi.Allow, abi.Log:
		return v.Action()
	}
	return v.Effective()
}

// underGuard is the leaf of an io_uring call that l would decide. It is never
// observed: whoever is asked might let the call go on.
func (b *builder) underGuard(l Leaf) Leaf {
	if b.options.Observe == ObservePermissive {
		return guardLeaf(GuardIOUring)
	}
	return stricter(l, GuardIOUring)
}

// stricter is l under guard g: the kernel's join if l is static. Before a
// filter that has to be asked the guard decides alone: nobody is asked about a
// call that cannot happen.
func stricter(l Leaf, g Guard) Leaf {
	if l.Kind == split.Static && abi.Strictest(l.Verdict, g.verdict()) == l.Verdict {
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

func traced(arch abi.Arch, nr uint32, l Leaf) *Error {
	return &Error{
		Program: l.Program, Call: callName(arch, nr), Arch: arch, Insn: l.Why.Insn, Line: l.Why.Line,
		Reason: fmt.Sprintf("this call needs a traced decision, which the agent engine does not support yet (%s)", l.Why.Text),
		Remedy: "use the kernel engine, or a filter that neither pins memory nor waits nor returns TRAP, TRACE or KILL_THREAD here",
	}
}

func anyNotify(rs []rule) bool {
	for _, r := range rs {
		if r.d.any(func(l Leaf) bool { return l.Kind == split.Notify }) {
			return true
		}
	}
	return false
}

// guardListener adds the guard to the seccomp call, where the stack is not
// stricter in any case.
func (b *builder) guardListener(arch abi.Arch, rs []rule) {
	for i := range rs {
		d := rs[i].d
		if !isSeccomp(arch, rs[i].from) || d.Then == nil && d.Leaf.Guard != "" {
			continue
		}
		guarded := b.each(d, func(l Leaf) Leaf { return stricter(l, GuardListener) })
		rs[i].d = b.choose(argument(0, 4, setModeFilter), b.choose(flagged(1, flagNewListener), guarded, d), d)
	}
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
