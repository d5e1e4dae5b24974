package effect

import (
	"portcullis/internal/abi"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Bounds of the work for one number: how often the solver is asked, and of what is told.
const (
	maxSolved  = 4_000
	maxRegions = 64
	// maxWork is the solver's steps for all numbers together, maxChanges what is told of them.
	maxWork    = 4_000_000
	maxChanges = 2_048
)

// walker walks through two decisions about the same calls at once.
type walker struct {
	arch abi.Arch
	// base is what is known of all calls: their numbers.
	base []literal
	left int
	// work is how many steps the solver may make for all walkers together.
	work *int
	// same remembers which pairs of decisions are alike.
	same map[[2]*prefilter.Decision]bool
	// vague tells that a path was met of which the solver could not tell whether it exists.
	vague bool
}

func newWalker(arch abi.Arch, from, to uint32, work *int) *walker {
	nr := split.Part{Off: abi.OffNr, Size: 4, Mask: 0xffffffff}
	within := split.Test{Part: nr, Op: prog.OpJle, Low: uint64(from), Value: uint64(to)}
	return &walker{arch: arch, base: []literal{{within, true}}, left: maxSolved, work: work, same: map[[2]*prefilter.Decision]bool{}}
}

// solve is solve, of numbers of the walk.
func (w *walker) solve(lits []literal) (abi.SeccompData, answer) {
	if w.left--; w.left < 0 || *w.work <= 0 {
		w.left = -1
		return abi.SeccompData{}, unknown
	}
	return solve(w.arch, append(append([]literal(nil), w.base...), lits...), w.work)
}

// alike tells whether two decisions are the same tests with the same outcomes.
func (w *walker) alike(a, b *prefilter.Decision) bool {
	switch {
	case (a.Then == nil) != (b.Then == nil):
		return false
	case a.Then == nil:
		return outcomeOf(a.Leaf) == outcomeOf(b.Leaf)
	case a.Test != b.Test:
		return false
	}
	at := [2]*prefilter.Decision{a, b}
	if known, ok := w.same[at]; ok {
		return known
	}
	w.same[at] = w.alike(a.Then, b.Then) && w.alike(a.Else, b.Else)
	return w.same[at]
}

// known is the outcome of a test that lits hold already.
func known(lits []literal, t split.Test) (holds, ok bool) {
	for _, l := range lits {
		if l.test == t {
			return l.holds, true
		}
	}
	return false, false
}

// walk calls f for the leaves that calls for which lits hold can come to, with what leads
// there. It ends when f is false, and passes over what is alike where alike is not nil.
func (w *walker) walk(a, b *prefilter.Decision, lits []literal, f func(a, b prefilter.Leaf, lits []literal) bool) bool {
	d, next := a, func(d *prefilter.Decision) (x, y *prefilter.Decision) { return d, b }
	if a.Then == nil {
		d, next = b, func(d *prefilter.Decision) (x, y *prefilter.Decision) { return a, d }
	}
	if d.Then == nil {
		return f(a.Leaf, b.Leaf, lits)
	}
	if holds, ok := known(lits, d.Test); ok {
		x, y := next(side(d, holds))
		return w.walk(x, y, lits, f)
	}
	for _, holds := range [...]bool{true, false} {
		way := append(lits[:len(lits):len(lits)], literal{d.Test, holds})
		_, can := w.solve(way)
		if can == never {
			continue
		}
		if can == unknown {
			if w.vague = true; w.left < 0 {
				return false
			}
		}
		x, y := next(side(d, holds))
		if !w.walk(x, y, way, f) {
			return false
		}
	}
	return true
}

func side(d *prefilter.Decision, holds bool) *prefilter.Decision {
	if holds {
		return d.Then
	}
	return d.Else
}

// region is calls of which both decide in one way each.
type region struct {
	lits     []literal
	from, to Outcome
	witness  abi.SeccompData
	// proven tells that both were asked about the witness.
	proven bool
}

// regions lists where a and b differ: every call that they differ about is in one, if
// complete.
func (w *walker) regions(a, b *prefilter.Decision) (all []region, complete bool) {
	if w.alike(a, b) {
		return nil, true
	}
	complete = w.walk(a, b, nil, func(x, y prefilter.Leaf, lits []literal) bool {
		r := region{lits: lits, from: outcomeOf(x), to: outcomeOf(y)}
		if r.from == r.to || w.covered(all, r) {
			return true
		}
		r.lits = w.widened(a, b, r)
		found, can := w.solve(r.lits)
		r.witness, r.proven = found, can == possible && r.holds(a, b, &found)
		all = append(all, r)
		return len(all) < maxRegions
	})
	return all, complete
}

// holds asks both about a call.
func (r *region) holds(a, b *prefilter.Decision, d *abi.SeccompData) bool {
	for _, l := range r.lits {
		if l.test.Holds(d) != l.holds {
			return false
		}
	}
	return outcomeOf(leafFor(a, d)) == r.from && outcomeOf(leafFor(b, d)) == r.to
}

func leafFor(d *prefilter.Decision, data *abi.SeccompData) prefilter.Leaf {
	for d.Then != nil {
		d = side(d, d.Test.Holds(data))
	}
	return d.Leaf
}

// covered tells whether one of the regions that were found has all calls of r.
func (w *walker) covered(all []region, r region) bool {
	for _, o := range all {
		if o.from == r.from && o.to == r.to && w.implies(r.lits, o.lits) {
			return true
		}
	}
	return false
}

// implies tells whether everything in a region of lits is in one of others, for sure.
func (w *walker) implies(lits, others []literal) bool {
	for _, l := range others {
		if holds, ok := known(lits, l.test); ok && holds == l.holds {
			continue
		}
		if !w.excluded(lits, l) {
			return false
		}
	}
	return true
}

// excluded tells whether l holds wherever lits do, for sure.
func (w *walker) excluded(lits []literal, l literal) bool {
	_, can := w.solve(append(lits[:len(lits):len(lits)], literal{l.test, !l.holds}))
	return can == never
}

// widened drops from what leads to r whatever makes no difference.
func (w *walker) widened(a, b *prefilter.Decision, r region) []literal {
	lits := r.lits
	for i := len(lits) - 1; i >= 0; i-- {
		rest := append(append([]literal(nil), lits[:i]...), lits[i+1:]...)
		if w.left < maxSolved/2 {
			break
		}
		if w.excluded(rest, lits[i]) || w.uniform(a, b, append(rest, literal{lits[i].test, !lits[i].holds}), r) {
			lits = rest
		}
	}
	return lits
}

// uniform tells whether both decide on all calls for which lits hold as on those of r.
func (w *walker) uniform(a, b *prefilter.Decision, lits []literal, r region) bool {
	vague := w.vague
	defer func() { w.vague = vague }()
	w.vague = false
	return w.walk(a, b, lits, func(x, y prefilter.Leaf, _ []literal) bool {
		return outcomeOf(x) == r.from && outcomeOf(y) == r.to
	}) && !w.vague
}
