package effect

import (
	"bytes"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// proof is why two stacks decide alike what they decide by state: the filters that keep
// any are the same programs, in the same order, and the others say the same of a call.
// The former then see the same calls, and come to the same state.
type proof struct {
	equal bool
	// ordered tells that the others stand at the same places. Of verdicts that are
	// equally strict the place in the stack decides which error it is.
	ordered       bool
	before, after runs // of those that decide statically
	work          *int
}

// runs are the ranges of a prefilter.
type runs map[abi.Arch][]prefilter.Range

func runsOf(p *prefilter.Prefilter) runs {
	return runs{abi.ArchX86_64: p.Ranges(abi.ArchX86_64), abi.ArchI386: p.Ranges(abi.ArchI386)}
}

// at is the range that a number is in.
func (r runs) at(arch abi.Arch, nr uint32) prefilter.Range {
	rs := r[arch]
	return rs[sort.Search(len(rs), func(i int) bool { return rs[i].To >= nr })]
}

func newProof(before, after []*split.Tree, o prefilter.Options, work *int) *proof {
	a, x := parted(before)
	b, y := parted(after)
	p := &proof{work: work, equal: samePrograms(a, b), ordered: len(x) == len(y) && (len(x) == 0 || len(x) == 1 && placeOf(x[0], before) == placeOf(y[0], after))}
	for _, half := range []struct {
		trees []*split.Tree
		to    *runs
	}{{x, &p.before}, {y, &p.after}} {
		if pre, err := prefilter.Build(half.trees, o); err != nil {
			p.equal = false
		} else {
			*half.to = runsOf(pre)
		}
	}
	return p
}

func placeOf(t *split.Tree, stack []*split.Tree) int {
	for i, o := range stack {
		if o == t {
			return i
		}
	}
	return -1
}

// allows tells whether d is ALLOW whatever the arguments are.
func allows(d *prefilter.Decision) bool {
	return d.Then == nil && outcomeOf(d.Leaf) == Outcome{Verdict: abi.Allow}
}

// holds tells whether the proof is one for the calls from … to.
func (p *proof) holds(arch abi.Arch, from, to uint32) bool {
	if !p.equal {
		return false
	}
	for nr := from; ; {
		x, y := p.before.at(arch, nr), p.after.at(arch, nr)
		a, b, last := decisionOf(x), decisionOf(y), min(to, min(x.To, y.To))
		if !p.ordered && !(allows(a) && allows(b)) {
			return false
		}
		if regions, complete := newWalker(arch, nr, last, p.work).regions(a, b); len(regions) > 0 || !complete {
			return false
		}
		if last == to {
			return true
		}
		nr = last + 1
	}
}

// parted are the trees of filters that have to be asked about some call, and the others.
func parted(trees []*split.Tree) (asked, static []*split.Tree) {
	for _, t := range trees {
		if t.Clones() || anyAsked(t.Decisions(abi.ArchX86_64)) || anyAsked(t.Decisions(abi.ArchI386)) {
			asked = append(asked, t)
		} else {
			static = append(static, t)
		}
	}
	return asked, static
}

func anyAsked(rs []split.Range) bool {
	for _, r := range rs {
		if r.Kind() != split.Static {
			return true
		}
	}
	return false
}

// samePrograms tells whether two lists of filters, with their maps and what their tail
// calls lead to, are the same but for names and source lines.
func samePrograms(a, b []*split.Tree) bool {
	if len(a) != len(b) {
		return false
	}
	t := newTwins()
	for i := range a {
		if !t.program(a[i].Verified().Program(), b[i].Verified().Program()) {
			return false
		}
	}
	return true
}

// twins pairs the maps of two stacks: programs that share one must share its twin.
type twins struct {
	maps, back map[*prog.Map]*prog.Map
	programs   map[[2]*prog.Program]bool
}

func newTwins() *twins {
	return &twins{maps: map[*prog.Map]*prog.Map{}, back: map[*prog.Map]*prog.Map{}, programs: map[[2]*prog.Program]bool{}}
}

func (t *twins) program(a, b *prog.Program) bool {
	pair := [2]*prog.Program{a, b}
	if t.programs[pair] {
		return true // or is being looked at: what differs is found elsewhere
	}
	t.programs[pair] = true
	if len(a.Insns) != len(b.Insns) || len(a.Funcs) != len(b.Funcs) {
		return false
	}
	for i := range a.Funcs {
		if a.Funcs[i].Start != b.Funcs[i].Start {
			return false
		}
	}
	for i := 0; i < len(a.Insns); i++ {
		x, y := a.Insns[i], b.Insns[i]
		if x.Op == prog.OpLoadImm64 && x.Src == y.Src && (x.Src == prog.PseudoMapFD || x.Src == prog.PseudoMapValue) {
			if !t.reference(a, b, x.Imm, y.Imm) {
				return false
			}
			x.Imm = y.Imm // indices into maps
		}
		if x != y {
			return false
		}
	}
	return true
}

func (t *twins) reference(a, b *prog.Program, i, j int32) bool {
	if i < 0 || j < 0 || int(i) >= len(a.Maps) || int(j) >= len(b.Maps) {
		return false
	}
	return t.sameMap(a.Maps[i], b.Maps[j])
}

func (t *twins) sameMap(a, b *prog.Map) bool {
	twin, known := t.maps[a]
	other, taken := t.back[b]
	if known || taken {
		return twin == b && other == a
	}
	t.maps[a], t.back[b] = b, a
	if a.Type != b.Type || a.KeySize != b.KeySize || a.ValueSize != b.ValueSize || a.MaxEntries != b.MaxEntries ||
		a.Flags != b.Flags || a.Frozen != b.Frozen || a.SpinLock != b.SpinLock ||
		(a.Contents == nil) != (b.Contents == nil) || !bytes.Equal(a.Contents, b.Contents) || len(a.Tails) != len(b.Tails) {
		return false
	}
	for i := range a.Tails {
		if a.Tails[i].Index != b.Tails[i].Index || !t.program(a.Tails[i].Program, b.Tails[i].Program) {
			return false
		}
	}
	return true
}
