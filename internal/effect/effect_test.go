package effect

import (
	"math/rand"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// ample is more work than any test takes.
func ample() *int {
	n := 1 << 40
	return &n
}

// anyPart draws a part of the arguments.
func anyPart(r *rand.Rand) split.Part {
	p := split.Part{Off: uint8(16 + 4*r.Intn(4)), Size: 4}
	if r.Intn(3) == 0 {
		p.Off, p.Size = uint8(16+8*r.Intn(2)), 8
	}
	p.Mask = ^uint64(0) >> (64 - 8*p.Size)
	if r.Intn(2) == 0 {
		p.Mask &= uint64(r.Intn(16)) << (4 * r.Intn(2*int(p.Size)))
	}
	return p
}

// anyTest draws a test with small numbers, that have to do with each other.
func anyTest(r *rand.Rand) split.Test {
	ops := []uint8{prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJle, prog.OpJsgt, prog.OpJsge}
	t := split.Test{Part: anyPart(r), Op: ops[r.Intn(len(ops))], Value: uint64(r.Intn(8)) << (r.Intn(3) * 30)}
	if t.Op == prog.OpJsgt || t.Op == prog.OpJsge {
		t.Mask = ^uint64(0) >> (64 - 8*t.Size)
		if r.Intn(2) == 0 {
			t.Value = -t.Value
		}
	}
	switch {
	case t.Op == prog.OpJle:
		t.Low = uint64(r.Intn(4))
	case r.Intn(5) == 0:
		t.With = split.Part{Off: t.Off ^ 8, Size: t.Size, Mask: t.Mask}
	}
	if t.Size == 4 {
		t.Value &= 0xffffffff
	}
	return t
}

// near draws data near the numbers that tests are about.
func near(r *rand.Rand, lits []literal) abi.SeccompData {
	d := abi.SeccompData{Arch: abi.ArchX86_64, Nr: 1}
	for i := range d.Args {
		d.Args[i] = uint64(r.Intn(12)-2)<<(r.Intn(3)*30) ^ uint64(r.Intn(3))<<r.Intn(64)
		if len(lits) > 0 && r.Intn(2) == 0 {
			d.Args[i] = lits[r.Intn(len(lits))].test.Value + uint64(r.Intn(3)) - 1
		}
		if r.Intn(3) == 0 {
			d.Args[i] = d.Args[i]<<32 | d.Args[i]&0xffffffff
		}
	}
	return d
}

func allHold(lits []literal, d *abi.SeccompData) bool {
	for _, l := range lits {
		if l.test.Holds(d) != l.holds {
			return false
		}
	}
	return true
}

// What the solver finds holds, and where it finds nothing, nothing is drawn either.
func TestSolve(t *testing.T) {
	r := rand.New(rand.NewSource(rand.Int63()))
	var answers [3]int
	for i := 0; i < 4000; i++ {
		lits := make([]literal, 1+r.Intn(5))
		for j := range lits {
			lits[j] = literal{anyTest(r), r.Intn(2) == 0}
		}
		d, can := solve(abi.ArchX86_64, lits, ample())
		answers[can]++
		if can == possible && (!allHold(lits, &d) || d.Arch != abi.ArchX86_64) {
			t.Fatalf("%v: %+v does not hold", lits, d)
		}
		for j := 0; can == never && j < 60; j++ {
			if d := near(r, lits); allHold(lits, &d) {
				t.Fatalf("%v: %+v holds, though nothing is to", lits, d)
			}
		}
	}
	if answers[never] < 100 || answers[possible] < 1000 || answers[unknown] > 400 {
		t.Errorf("never, possible, unknown: %v", answers)
	}
}

// drawn is a decision of so many tests at most.
func drawn(r *rand.Rand, depth int) *prefilter.Decision {
	if depth == 0 || r.Intn(5) == 0 {
		verdicts := []abi.Verdict{abi.Allow, abi.Allow, abi.Errno(1), abi.KillProcess}
		return &prefilter.Decision{Leaf: prefilter.Leaf{Verdict: verdicts[r.Intn(len(verdicts))]}}
	}
	return &prefilter.Decision{Test: anyTest(r), Then: drawn(r, depth-1), Else: drawn(r, depth-1)}
}

// changed is d with one leaf or test replaced, or with none.
func changed(r *rand.Rand, d *prefilter.Decision) *prefilter.Decision {
	switch c := *d; {
	case r.Intn(4) == 0:
		return drawn(r, 1)
	case d.Then == nil:
		return d
	case r.Intn(2) == 0:
		c.Then = changed(r, d.Then)
		return &c
	default:
		c.Else = changed(r, d.Else)
		return &c
	}
}

func tests(d *prefilter.Decision) (all []literal) {
	if d.Then == nil {
		return nil
	}
	return append(append(tests(d.Then), tests(d.Else)...), literal{d.Test, true})
}

// The regions are where decisions differ, and all of it.
func TestRegions(t *testing.T) {
	r := rand.New(rand.NewSource(rand.Int63()))
	same, differ := 0, 0
	for i := 0; i < 400; i++ {
		a := drawn(r, 1+r.Intn(4))
		b := changed(r, a)
		all, complete := newWalker(abi.ArchX86_64, 1, 1, ample()).regions(a, b)
		if len(all) > 0 {
			differ++
		} else {
			same++
		}
		checkRegions(t, r, a, b, all, complete)
	}
	if same < 20 || differ < 100 {
		t.Errorf("%d pairs were the same, %d differed: too few to mean anything", same, differ)
	}
}

func checkRegions(t *testing.T, r *rand.Rand, a, b *prefilter.Decision, all []region, complete bool) {
	t.Helper()
	for _, g := range all {
		if g.proven && !g.holds(a, b, &g.witness) {
			t.Fatalf("%v: the witness %+v is none", g.lits, g.witness)
		}
	}
	about := append(tests(a), tests(b)...)
	for j := 0; j < 300; j++ {
		d := near(r, about)
		from, to := outcomeOf(leafFor(a, &d)), outcomeOf(leafFor(b, &d))
		covered := false
		for _, g := range all {
			if !allHold(g.lits, &d) {
				continue
			}
			covered = true
			if g.from != from || g.to != to {
				t.Fatalf("%v: %v -> %v expected, %+v is %v -> %v", g.lits, g.from, g.to, d, from, to)
			}
		}
		if complete && covered != (from != to) {
			t.Fatalf("%+v: %v -> %v, in a region: %v of %v", d, from, to, covered, all)
		}
	}
}

// stacks draws a program and another that may be a change of it.
func stacks(r *rand.Rand) (trees [2]*split.Tree) {
	seed := r.Int63()
	for i := range trees {
		for trees[i] == nil {
			g := rand.New(rand.NewSource(seed))
			p := bpfgen.Program(g, bpfgen.Options{Statements: 1 + g.Intn(12)})
			if i == 1 && len(p.Insns) > 2 {
				p.Insns[r.Intn(len(p.Insns))].Imm ^= int32(r.Intn(3))
			}
			v, err := verify.Program(p, verify.Options{Budget: 20000})
			if err == nil {
				trees[i] = split.Split(v)
			} else if i == 0 {
				seed = r.Int63()
			} else {
				trees[i] = trees[0]
			}
		}
	}
	return trees
}

// compareDrawn holds Compare against the prefilters' own interpreters.
func compareDrawn(t *testing.T, r *rand.Rand) (same bool) {
	t.Helper()
	pair := stacks(r)
	a, errA := prefilter.Build([]*split.Tree{pair[0]}, prefilter.Options{})
	b, errB := prefilter.Build([]*split.Tree{pair[1]}, prefilter.Options{})
	if errA != nil || errB != nil {
		return false
	}
	report, err := Compare([]*split.Tree{pair[0]}, []*split.Tree{pair[1]}, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Changes {
		if d := c.Witness; !c.Unproven && (outcomeOf(a.Decide(&d)) != c.Before || outcomeOf(b.Decide(&d)) != c.After || uint32(d.Nr) < c.From || uint32(d.Nr) > c.To) {
			t.Fatalf("%+v: the witness is none", c)
		}
	}
	for i := 0; i < 400; i++ {
		d := near(r, nil)
		if d.Nr = int32(r.Intn(450)); r.Intn(8) == 0 {
			d.Nr = int32(r.Uint32())
		}
		if d.InstructionPointer = uint64(r.Uint32()); a.Recheck(&d) != b.Recheck(&d) && !told(report, &d) {
			t.Fatalf("%+v: %v and %v, which was not told", d, a.Recheck(&d), b.Recheck(&d))
		}
	}
	return report.Same()
}

func told(r *Report, d *abi.SeccompData) bool {
	within := func(arch abi.Arch, from, to uint32) bool {
		return arch == d.Arch && from <= uint32(d.Nr) && uint32(d.Nr) <= to
	}
	for _, o := range append(append([]Open(nil), r.Incomplete...), r.Open...) {
		if within(o.Arch, o.From, o.To) {
			return true
		}
	}
	for _, c := range r.Changes {
		holds := within(c.Arch, c.From, c.To)
		for _, w := range c.When {
			holds = holds && w.Test.Holds(d) == w.Holds
		}
		if holds {
			return true
		}
	}
	return false
}

func TestCompareIsSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	same := 0
	for i := 0; i < 60; i++ {
		if compareDrawn(t, r) {
			same++
		}
	}
	if same < 5 || same > 55 {
		t.Errorf("%d of 60 pairs are the same: too few of a sort to mean anything", same)
	}
}

func FuzzCompare(f *testing.F) {
	f.Add(int64(1))
	f.Add(int64(2))
	f.Fuzz(func(t *testing.T, seed int64) { compareDrawn(t, rand.New(rand.NewSource(seed))) })
}
