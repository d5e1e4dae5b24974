// Package split decides, for each architecture and system-call number, what a
// verified program answers without being run: a static verdict, or that it has
// to be asked, and how.
//
// A leaf is static only if every path of every call it stands for ends in the
// same constant and touches nothing but the call's own data and frozen maps.
// The exploration over-approximates the paths, so a leaf that is not static may
// be too cautious, but a static one is never wrong.
package split

import (
	"sort"
	"sync"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// Kind is how a leaf is decided, from the cheapest to the dearest.
type Kind uint8

// The kinds of leaves.
const (
	// Static leaves have a constant verdict.
	Static Kind = iota
	// Notify leaves need the program to be run.
	Notify
	// Trace leaves need more than a notification can give: a pinned argument,
	// ordering, or an action only a tracer can take.
	Trace
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case Static:
		return "static"
	case Notify:
		return "notify"
	}
	return "trace"
}

// Leaf is the decision for a range of calls.
type Leaf struct {
	Kind Kind
	// Verdict is what the program returns; meaningful if Static.
	Verdict abi.Verdict
	// Why says what keeps the leaf from being static; zero if it is.
	Why Reason
	// Pins tells that the program may pin an argument there.
	Pins bool
}

// Reason says why a leaf is not static.
type Reason struct {
	// Insn is the instruction that is to blame.
	Insn int
	// Line is where it comes from; zero if unknown.
	Line prog.Line
	// Text says what it does.
	Text string
}

// Range is the calls From … To, both included, and their leaf.
type Range struct {
	From, To uint32
	Leaf     Leaf
	// Decision says more than Leaf, which then is the dearest that holds whatever
	// the call's data are. It is nil from Ranges, and where there is no more to say.
	Decision *Decision
}

// Kind is the dearest kind that a call of r is decided by.
func (r Range) Kind() Kind {
	if r.Decision == nil {
		return r.Leaf.Kind
	}
	return r.Decision.Kind()
}

// Tree is a program's decisions. It may be used by several goroutines.
type Tree struct {
	v    *verify.Verified
	arch map[abi.Arch]*ranges
}

// ranges are computed when they are first asked for: most filters are never
// asked about i386.
type ranges struct {
	once, decided  sync.Once
	all, decisions []Range
}

// Split splits v for the architectures of an x86-64 kernel.
func Split(v *verify.Verified) *Tree {
	return &Tree{v: v, arch: map[abi.Arch]*ranges{abi.ArchX86_64: {}, abi.ArchI386: {}}}
}

// Verified is the program that was split.
func (t *Tree) Verified() *verify.Verified { return t.v }

// Clones tells whether forks must be seen whatever the leaves are: the program, or one
// that its tail calls go on in, refers to storage that is copied to a forked child.
func (t *Tree) Clones() bool { return t.v.Clones() }

// Ranges covers every number of arch, ascending; neighbours differ. It is nil
// for other architectures than x86-64 and i386, and must not be changed.
func (t *Tree) Ranges(arch abi.Arch) []Range {
	r, ok := t.arch[arch]
	if !ok {
		return nil
	}
	r.once.Do(func() { r.all = splitArch(t.v, arch) })
	return r.all
}

// Leaf is the decision for one call. For an architecture that is not split it
// is a Trace leaf that no engine accepts.
func (t *Tree) Leaf(arch abi.Arch, nr uint32) Leaf {
	rs := t.Ranges(arch)
	i := sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })
	if i == len(rs) {
		return Leaf{Kind: Trace, Why: Reason{Text: "the architecture is not split"}}
	}
	return rs[i].Leaf
}
