package prefilter

import (
	"fmt"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/split"
)

// tree is what is needed of a split.Tree.
type tree interface {
	Ranges(abi.Arch) []split.Range
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
	b := &builder{trees: trees, options: o, lift: lift}
	p := &Prefilter{token: o.Token}
	if p.x86, err = b.ranges(abi.ArchX86_64); err != nil {
		return nil, err
	}
	if p.i386, err = b.ranges(abi.ArchI386); err != nil {
		return nil, err
	}
	if p.dynamic = anyNotify(p.x86) || anyNotify(p.i386); p.dynamic {
		guardListener(abi.ArchX86_64, p.x86)
		guardListener(abi.ArchI386, p.i386)
	}
	p.x86, p.i386 = merge(p.x86), merge(p.i386)
	if p.program, err = assemble(p); err != nil {
		return nil, err
	}
	return p, nil
}

// builder holds what the leaves of a prefilter depend on.
type builder struct {
	trees   []tree
	options Options
	lift    map[Guard]bool
}

// ranges lists the leaves of arch, before guardListener and merge.
func (b *builder) ranges(arch abi.Arch) ([]Range, *Error) {
	if arch == abi.ArchI386 && !b.lift[GuardI386] {
		return []Range{{0, ^uint32(0), guardLeaf(GuardI386)}}, nil
	}
	trees := make([][]split.Range, len(b.trees))
	for i, t := range b.trees {
		trees[i] = t.Ranges(arch)
		if err := covers(t.name(), arch, trees[i]); err != nil {
			return nil, err
		}
	}
	var out []Range
	starts := boundaries(trees)
	for i, from := range starts {
		to := ^uint32(0)
		if i+1 < len(starts) {
			to = starts[i+1] - 1
		}
		leaf, err := b.leaf(arch, from, at(trees, from))
		if err != nil {
			return nil, err
		}
		out = append(out, Range{from, to, leaf})
	}
	return out, nil
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

// at is the leaf of each tree for nr.
func at(trees [][]split.Range, nr uint32) []split.Leaf {
	leaves := make([]split.Leaf, len(trees))
	for i, rs := range trees {
		leaves[i] = rs[sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })].Leaf
	}
	return leaves
}

// leaf decides one call number: guards, then the stack, then observation.
func (b *builder) leaf(arch abi.Arch, nr uint32, leaves []split.Leaf) (Leaf, *Error) {
	if isX32(arch, nr) && !b.lift[GuardX32] {
		return guardLeaf(GuardX32), nil
	}
	l := b.join(leaves)
	switch {
	case isIOUring(arch, nr) && !b.lift[GuardIOUring]:
		return b.underGuard(l), nil
	case l.Kind == split.Trace:
		return Leaf{}, traced(arch, nr, l)
	case observed(b.options.Observe, l):
		l.Kind, l.Observed = split.Notify, true
	}
	if b.options.Token != 0 && arch == abi.ArchX86_64 && nr == number("execveat") && l.ending().verdict != abi.Allow {
		l.First = Launch
	}
	return l, nil
}

// join is seccomp_run_filters over static leaves; one that is not static makes
// the whole call so, because its state must see every attempt. A call that
// would be delivered to a listener which does not exist fails with ENOSYS, an
// unknown action kills: both after the join, as in the kernel.
func (b *builder) join(leaves []split.Leaf) Leaf {
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

func anyNotify(rs []Range) bool {
	for _, r := range rs {
		if r.Leaf.Kind == split.Notify {
			return true
		}
	}
	return false
}

// guardListener adds the guard to the seccomp call, where the stack is not
// stricter in any case.
func guardListener(arch abi.Arch, rs []Range) {
	for i := range rs {
		l := &rs[i].Leaf
		if l.Guard == "" && isSeccomp(arch, rs[i].From) && stricter(*l, GuardListener).Guard != "" {
			l.First = GuardListener
		}
	}
}

// merge joins neighbours with equal leaves.
func merge(rs []Range) []Range {
	out := rs[:1]
	for _, r := range rs[1:] {
		if last := &out[len(out)-1]; last.Leaf == r.Leaf {
			last.To = r.To
		} else {
			out = append(out, r)
		}
	}
	return out
}
