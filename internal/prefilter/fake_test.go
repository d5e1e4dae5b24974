package prefilter

import (
	"fmt"
	"math/rand"
	"sort"
	"strconv"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// fakeTree is what the splitter could find, without a program behind it.
type fakeTree struct {
	program string
	clones  bool
	rs      map[abi.Arch][]split.Range
}

func (f *fakeTree) name() string                       { return f.program }
func (f *fakeTree) Clones() bool                       { return f.clones }
func (f *fakeTree) Decisions(a abi.Arch) []split.Range { return f.rs[a] }

// leaf is the leaf of a call, found without the code under test.
func (f *fakeTree) leaf(d *abi.SeccompData) split.Leaf {
	nr := uint32(d.Nr)
	for _, r := range f.rs[d.Arch] {
		switch {
		case nr < r.From || r.To < nr:
		case r.Decision != nil:
			return r.Decision.Decide(d)
		default:
			return r.Leaf
		}
	}
	return split.Leaf{Kind: split.Trace}
}

// addTests has arguments decide some of what f needs state for.
func (f *fakeTree) addTests(r *rand.Rand) {
	for _, rs := range f.rs {
		for i := range rs {
			if rs[i].Leaf.Kind != split.Static && r.Intn(2) == 0 {
				rs[i].Decision = randomDecision(r, rs[i].Leaf, 1+r.Intn(3))
			}
		}
	}
}

func randomDecision(r *rand.Rand, own split.Leaf, depth int) *split.Decision {
	if depth == 0 {
		switch r.Intn(6) {
		case 0, 1:
			return &split.Decision{Leaf: own}
		case 2:
			return &split.Decision{Leaf: split.Leaf{Kind: split.Kind(r.Intn(int(own.Kind) + 1)), Why: own.Why}}
		}
		return &split.Decision{Leaf: randomLeaf(r, chance{})}
	}
	t := argument([...]uint8{0, 1, 5}[r.Intn(3)], [...]uint8{4, 8}[r.Intn(2)], [...]uint64{0, 1, 2, 7, 8}[r.Intn(5)])
	t.Op = [...]uint8{prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJsgt, prog.OpJsge}[r.Intn(6)]
	return &split.Decision{Test: t, Then: randomDecision(r, own, depth-1), Else: randomDecision(r, own, depth-1)}
}

// verdicts join in interesting ways; unknown actions are among them.
var verdicts = []abi.Verdict{
	abi.Allow, abi.Allow, abi.Allow | 7, abi.Log, abi.Errno(1), abi.Errno(0), abi.Errno(5000),
	abi.ErrnoAction | 0xffff, abi.KillProcess, abi.KillThread, abi.Trap | 3, abi.Trace | 9,
	abi.UserNotif, 0x12345678, 0x7ffe0000, 0xffff0000, 0x80010000,
}

// numbers are those at which guards and trees change their minds.
var numbers = []uint32{
	0, 1, 2, 59, 257, 316, 317, 318, 321, 322, 323, 354, 358, 424, 425, 426, 427, 428, 1023, 1024,
	15, 60, 231, 119, 173, 252, abi.X32Bit + 60, abi.X32Bit + 513,
	3, 7, 9, 10, 11, 25, 28, 30, 56, 101, 134, 157, 216, 236, 329, 400, 401, 402, 435, 440, 462,
	0x3fffffff, 0x40000000, 0x4000013d, 0x400001a9, 0x40000221, 0x7fffffff, 0x80000000,
	0xbfffffff, 0xc0000000, 0xc00001a9, 0xfffffffe, 0xffffffff,
}

func anyNumber(r *rand.Rand) uint32 {
	if r.Intn(3) == 0 {
		return uint32(r.Intn(500))
	}
	return numbers[r.Intn(len(numbers))]
}

// chance is how often a leaf is not static: once in so many; 0 means never.
type chance struct{ notify, trace int }

func randomTree(r *rand.Rand, name string, dynamic chance) *fakeTree {
	f := &fakeTree{program: name, rs: map[abi.Arch][]split.Range{}, clones: dynamic.trace > 0 && r.Intn(20) == 0}
	spares := r.Intn(2) == 0 // calls that must not fail
	for _, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		from := uint32(0)
		for _, nr := range append(cuts(r), 0) { // the last ends before 0, at the highest number
			of := dynamic
			if spares && hasUnfailing(a, from, nr-1) {
				of = chance{}
			}
			f.rs[a] = append(f.rs[a], split.Range{From: from, To: nr - 1, Leaf: randomLeaf(r, of)})
			from = nr
		}
	}
	return f
}

func hasUnfailing(a abi.Arch, from, to uint32) bool {
	for _, nr := range unfailing(a) {
		if from <= nr && nr <= to {
			return true
		}
	}
	return false
}

// cuts is a set of numbers above 0, in order.
func cuts(r *rand.Rand) []uint32 {
	set := map[uint32]bool{}
	for n := r.Intn(30); n > 0; n-- {
		nr := anyNumber(r)
		set[nr], set[nr+1] = true, true
	}
	delete(set, 0)
	var out []uint32
	for nr := range set {
		out = append(out, nr)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

func randomLeaf(r *rand.Rand, dynamic chance) split.Leaf {
	if dynamic.trace > 0 && r.Intn(dynamic.trace) == 0 {
		return split.Leaf{Kind: split.Trace, Why: split.Reason{Insn: r.Intn(9), Text: "pins an argument"}}
	}
	if dynamic.notify > 0 && r.Intn(dynamic.notify) == 0 {
		return split.Leaf{Kind: split.Notify, Why: split.Reason{Insn: r.Intn(9), Text: "reads a map"}}
	}
	return split.Leaf{Verdict: verdicts[r.Intn(len(verdicts))]}
}

// parseStack reads a stack, oldest filter first. Lines are "filter NAME", then
// leaves: "CALL[-CALL] LEAF", where CALL is a name or number, or "else" for the
// numbers that no line names, "i386" before it selects the other architecture;
// and LEAF is a verdict, or "notify REASON" or "trace REASON", or, for a test of the
// lower half of an argument, "if ARG VALUE LEAF; LEAF". A line "clones" is storage
// that is copied at fork.
func parseStack(text string) ([]tree, error) {
	var stack []tree
	var rules []fakeRule
	flush := func() {
		if len(stack) > 0 {
			f := stack[len(stack)-1].(*fakeTree)
			f.rs[abi.ArchX86_64], f.rs[abi.ArchI386] = lay(rules, abi.ArchX86_64), lay(rules, abi.ArchI386)
		}
		rules = nil
	}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if name := strings.TrimPrefix(line, "filter "); name != line {
			flush()
			stack = append(stack, &fakeTree{program: name, rs: map[abi.Arch][]split.Range{}})
			continue
		}
		if line == "clones" {
			stack[len(stack)-1].(*fakeTree).clones = true
			continue
		}
		r, err := parseRule(line)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	flush()
	return stack, nil
}

// fakeRule is a line of a stack.
type fakeRule struct {
	arch     abi.Arch
	from, to uint32
	fallback bool
	leaf     split.Leaf
	decision *split.Decision
}

func parseRule(line string) (fakeRule, error) {
	r := fakeRule{arch: abi.ArchX86_64}
	if rest := strings.TrimPrefix(line, "i386 "); rest != line {
		r.arch, line = abi.ArchI386, rest
	}
	calls, leaf, _ := strings.Cut(line, " ")
	from, to, isRange := strings.Cut(calls, "-")
	if !isRange {
		to = from
	}
	var err error
	if r.fallback = calls == "else"; !r.fallback {
		if r.from, err = parseNumber(from); err == nil {
			r.to, err = parseNumber(to)
		}
	}
	if err != nil {
		return r, err
	}
	d, err := parseDecision(leaf)
	if err != nil {
		return r, err
	}
	if r.leaf = d.Leaf; d.Then != nil {
		r.leaf, r.decision = dearestOf(d), d
	}
	return r, nil
}

func parseDecision(s string) (*split.Decision, error) {
	test := strings.TrimPrefix(s, "if ")
	if test == s {
		l, err := parseLeaf(s)
		return &split.Decision{Leaf: l}, err
	}
	test, rest, _ := strings.Cut(test, "; ")
	words := strings.SplitN(test, " ", 3)
	arg, err := strconv.ParseUint(words[0], 0, 3)
	if err != nil || len(words) < 3 {
		return nil, fmt.Errorf("a test %q: expected ARG VALUE LEAF; LEAF", s)
	}
	v, err := strconv.ParseUint(words[1], 0, 32)
	if err != nil {
		return nil, err
	}
	d := &split.Decision{Test: argument(uint8(arg), 4, v)}
	if d.Then, err = parseDecision(words[2]); err == nil {
		d.Else, err = parseDecision(rest)
	}
	return d, err
}

// dearestOf is the leaf that a splitter gives a range beside d.
func dearestOf(d *split.Decision) split.Leaf {
	if d.Then == nil {
		return d.Leaf
	}
	a, b := dearestOf(d.Then), dearestOf(d.Else)
	if a.Kind < b.Kind {
		a = b
	}
	if a.Kind == split.Static {
		a = split.Leaf{Kind: split.Notify, Why: split.Reason{Text: "the verdict depends on the call's arguments"}}
	}
	return a
}

func parseNumber(s string) (uint32, error) {
	if nr, ok := syscalls.Number(s); ok {
		return nr, nil
	}
	nr, err := strconv.ParseUint(s, 0, 32)
	return uint32(nr), err
}

func parseLeaf(s string) (split.Leaf, error) {
	kind, why, _ := strings.Cut(s, " ")
	reason := split.Reason{Insn: 12, Line: prog.Line{File: "f.c", Line: 34}, Text: why}
	switch kind {
	case "notify":
		return split.Leaf{Kind: split.Notify, Why: reason}, nil
	case "trace":
		return split.Leaf{Kind: split.Trace, Why: reason}, nil
	}
	v, err := abi.ParseVerdict(s)
	return split.Leaf{Verdict: v}, err
}

// lay turns rules, none of which overlap, into ranges that cover every number.
func lay(rules []fakeRule, arch abi.Arch) []split.Range {
	other := split.Leaf{Verdict: abi.Allow}
	var out []split.Range
	for _, r := range rules {
		if r.arch == arch && r.fallback {
			other = r.leaf
		}
	}
	sort.SliceStable(rules, func(i, j int) bool { return rules[i].from < rules[j].from })
	next := uint64(0)
	for _, r := range rules {
		if r.arch != arch || r.fallback {
			continue
		}
		if next < uint64(r.from) {
			out = append(out, split.Range{From: uint32(next), To: r.from - 1, Leaf: other})
		}
		out = append(out, split.Range{From: r.from, To: r.to, Leaf: r.leaf, Decision: r.decision})
		next = uint64(r.to) + 1
	}
	if next <= 0xffffffff {
		out = append(out, split.Range{From: uint32(next), To: 0xffffffff, Leaf: other})
	}
	return out
}

// print lists the leaves of p and then its program.
func printed(p *Prefilter) string {
	var b strings.Builder
	for _, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		for _, r := range p.Ranges(a) {
			fmt.Fprintf(&b, "%-6s %10d-%-10d %s\n", a, r.From, r.To, leafText(r.Leaf))
			if r.Decision != nil {
				outline(&b, r.Decision, "       ")
			}
		}
	}
	return b.String()
}

func leafText(l Leaf) string {
	s := l.Kind.String()
	if l.Kind == split.Static {
		s = l.Verdict.String()
	}
	if l.Observed {
		s += " observed " + l.Verdict.String()
	}
	if l.Guard != "" {
		s += " by guard " + string(l.Guard)
	}
	if l.Filter >= 0 {
		s += fmt.Sprintf(" by filter %d %s", l.Filter, l.Program)
	}
	return s
}

// outline writes a decision as nested tests.
func outline(b *strings.Builder, d *Decision, indent string) {
	if d.Then == nil {
		b.WriteString(indent + leafText(d.Leaf) + "\n")
		return
	}
	b.WriteString(indent + "if " + d.Test.String() + "\n")
	outline(b, d.Then, indent+"  ")
	b.WriteString(indent + "else\n")
	outline(b, d.Else, indent+"  ")
}
