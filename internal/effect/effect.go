// Package effect compares stacks of filters by what they do to calls, not by how they say it.
//
// What the kernel decides alone is compared exactly: both stacks become prefilters, whose
// decisions are walked through together, and a solver says which calls come to which pair
// of leaves. Soundness: nothing is said to be the same but where no such pair differs, and
// nothing to differ but where both were asked about a call and gave different answers.
// What filters decide by their state is the same only where the programs are; otherwise
// they can be tried (Try), which finds differences and proves nothing.
package effect

import (
	"portcullis/internal/abi"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
)

// Outcome is how a call is decided: by whom, and with which verdict if by the kernel alone.
type Outcome struct {
	Kind    split.Kind
	Verdict abi.Verdict
}

func outcomeOf(l prefilter.Leaf) Outcome {
	if l.Kind != split.Static {
		return Outcome{Kind: l.Kind}
	}
	return Outcome{Verdict: l.Verdict.Effective()}
}

// Change is a set of calls that the two stacks decide differently.
type Change struct {
	// From and To are the numbers, both included, X86-64's or those of i386.
	Arch     abi.Arch
	From, To uint32
	// When is tests of the calls' data that all hold, as literals say; nil for all data.
	When []Condition
	// Before and After are what the first and the second stack do.
	Before, After Outcome
	// Witness is one of the calls. Both stacks were asked about it, unless Unproven: then it
	// took too much to find out whether there is such a call.
	Witness  abi.SeccompData
	Unproven bool
}

// Condition is a test of a call's data with its outcome.
type Condition struct {
	Test  split.Test
	Holds bool
}

// Open is calls that both stacks decide by state, in ways that are not known to be the same.
type Open struct {
	Arch     abi.Arch
	From, To uint32
	// Seeds are some of them, that differ in what the stacks test.
	Seeds []abi.SeccompData
}

// Report is how two stacks differ.
type Report struct {
	// Changes are what is decided differently, in ascending order of numbers.
	Changes []Change
	// Open are what has to be tried.
	Open []Open
	// Incomplete are numbers with so many differences that there may be others.
	Incomplete []Open
	// TracedBefore and TracedAfter tell which of the stacks takes a tracer.
	TracedBefore, TracedAfter bool
}

// Same tells whether the stacks were proven to decide all calls alike.
func (r *Report) Same() bool { return len(r.Changes)+len(r.Open)+len(r.Incomplete) == 0 }

// Compare compares two stacks, each with its oldest filter first. The error is that of a
// stack that cannot be enforced.
func Compare(before, after []*split.Tree, o prefilter.Options) (*Report, error) {
	x, err := prefilter.Build(before, o)
	if err != nil {
		return nil, err
	}
	y, err := prefilter.Build(after, o)
	if err != nil {
		return nil, err
	}
	c := &comparison{before: runsOf(x), after: runsOf(y), work: maxWork}
	c.proof = newProof(before, after, o, &c.work)
	c.report.TracedBefore, c.report.TracedAfter = x.Traced(), y.Traced()
	c.proof.equal = c.proof.equal && x.Traced() == y.Traced()
	for _, arch := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		c.all(arch)
	}
	return &c.report, nil
}

type comparison struct {
	before, after runs
	proof         *proof
	report        Report
	work          int // that the solver may still do
}

// all compares all numbers of an architecture, run by run.
func (c *comparison) all(arch abi.Arch) {
	for from := uint64(0); from <= 0xffffffff; {
		x, y := c.before.at(arch, uint32(from)), c.after.at(arch, uint32(from))
		to := min(x.To, y.To)
		c.run(arch, uint32(from), to, decisionOf(x), decisionOf(y))
		from = uint64(to) + 1
	}
}

// decisionOf is what is decided of calls that a target can make: no instruction of its own
// is where the tracer has it call something.
func decisionOf(r prefilter.Range) *prefilter.Decision {
	d := r.Decision
	switch {
	case d == nil:
		return &prefilter.Decision{Leaf: r.Leaf}
	case d.Then.Then == nil && d.Then.Leaf.Guard == prefilter.Injected:
		return d.Else
	}
	return d
}

// run compares the calls from … to, which each stack decides in one way.
func (c *comparison) run(arch abi.Arch, from, to uint32, a, b *prefilter.Decision) {
	regions, complete := newWalker(arch, from, to, &c.work).regions(a, b)
	for _, r := range regions {
		if len(c.report.Changes) == maxChanges {
			complete = false
			break
		}
		c.report.Changes = append(c.report.Changes, Change{
			Arch: arch, From: from, To: to, When: conditions(r.lits), Before: r.from, After: r.to,
			Witness: r.witness, Unproven: !r.proven,
		})
	}
	open := Open{Arch: arch, From: from, To: to}
	if !complete {
		c.report.Incomplete = append(c.report.Incomplete, open)
	}
	if !asks(a) && !asks(b) || asks(a) && asks(b) && c.proof.holds(arch, from, to) {
		return
	}
	if open.Seeds = newWalker(arch, from, to, &c.work).seeds(a, b); len(open.Seeds) > 0 {
		c.report.Open = append(c.report.Open, open)
	}
}

func conditions(lits []literal) (all []Condition) {
	for _, l := range lits {
		all = append(all, Condition{l.test, l.holds})
	}
	return all
}

// asks tells whether somebody is asked about a call of d.
func asks(d *prefilter.Decision) bool {
	if d.Then == nil {
		return d.Leaf.Kind != split.Static
	}
	return asks(d.Then) || asks(d.Else)
}

// maxSeeds is how many calls of a run of numbers are given to be tried.
const maxSeeds = 8

// seeds are calls about which somebody is asked. Where that took too much to find out,
// there is one all the same: none is to say that nobody is asked.
func (w *walker) seeds(a, b *prefilter.Decision) (all []abi.SeccompData) {
	first := abi.SeccompData{Arch: w.arch, Nr: int32(w.base[0].test.Low)}
	done := w.walk(a, b, nil, func(x, y prefilter.Leaf, lits []literal) bool {
		if x.Kind == split.Static && y.Kind == split.Static {
			return true
		}
		d, can := w.solve(lits)
		if can != possible {
			d = first
		}
		all = append(all, d)
		return len(all) < maxSeeds
	})
	if len(all) == 0 && !done {
		return []abi.SeccompData{first}
	}
	return all
}
