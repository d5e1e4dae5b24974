package split_test

import (
	"errors"
	"math/rand"
	"os"
	"strconv"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// rounds is how many programs a run draws; PORTCULLIS_FUZZ_ROUNDS asks for more.
func rounds(t *testing.T, n int) int {
	if s := os.Getenv("PORTCULLIS_FUZZ_ROUNDS"); s != "" {
		more, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return more
	}
	return n
}

// TestSound runs random verified programs: none faults, a static leaf is what
// the program returns, and a notify leaf never returns what it cannot carry out.
func TestSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	leaves := map[string]int{}
	accepted := 0
	for i := rounds(t, 1500); i > 0; i-- {
		p := bpfgen.Program(r, bpfgen.Options{Statements: 1 + r.Intn(14), Wild: r.Intn(3)})
		v, err := verify.Program(p, verify.Options{Budget: 20000})
		if err != nil {
			continue
		}
		accepted++
		for k, n := range sound(t, r, v) {
			leaves[k] += n
		}
	}
	if accepted < 100 || leaves["static"] < 50 || leaves["notify"] < 50 || leaves["trace"] < 50 {
		t.Errorf("%d programs were accepted, leaves %v: too few to mean anything", accepted, leaves)
	}
	t.Logf("%d accepted, leaves %v", accepted, leaves)
}

func sound(t *testing.T, r *rand.Rand, v *verify.Verified) map[string]int {
	set, err := maps.NewSet(v.Program().Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatalf("%v\n%s", err, listing(v.Program()))
	}
	tree := split.Split(v)
	noTrace(t, v, tree)
	exits := verdicts(t, v, v.Code())
	coarse := verdicts(t, v, v.Code().Coarse())
	kinds := map[string]int{}
	for i := 0; i < 12; i++ {
		d := someData(r)
		got := m.Run(bpfgen.Env{R: r}, &d)
		if got.Fault != nil {
			t.Fatalf("%v on %+v\n%s", got.Fault, d, listing(v.Program()))
		}
		if !exits.hold(got.Ret) || coarse != nil && !coarse.hold(got.Ret) {
			t.Fatalf("%#x is returned on %+v, expected one of %v\n%s", got.Ret, d, exits, listing(v.Program()))
		}
		leaf := tree.Leaf(d.Arch, uint32(d.Nr))
		kinds[leaf.Kind.String()]++
		verdict := abi.Verdict(got.Ret)
		decision := tree.Arguments(d.Arch, uint32(d.Nr))
		if decision != nil {
			if leaf = decision.Decide(&d); leaf.Kind == split.Static {
				kinds["static by argument"]++
			}
		}
		switch action := verdict.Action(); {
		case leaf.Kind == split.Static && verdict != leaf.Verdict:
			t.Fatalf("static leaf %v, but %v is returned on %+v\n%s", leaf.Verdict, verdict, d, listing(v.Program()))
		case leaf.Kind == split.Notify && (action == abi.Trap || action == abi.Trace || action == abi.KillThread):
			t.Fatalf("notify leaf, but %v is returned on %+v\n%s", verdict, d, listing(v.Program()))
		}
	}
	return kinds
}

// noTrace holds a tree to what its program's proof says: nothing is traced where it
// says that nothing may be.
func noTrace(t *testing.T, v *verify.Verified, tree *split.Tree) {
	if v.MayTrace() {
		return
	}
	for _, arch := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		for _, r := range tree.Decisions(arch) {
			if r.Kind() == split.Trace || r.Leaf.Kind == split.Trace {
				t.Fatalf("call %#x may be traced (%s), which the proof has excluded\n%s", r.From, r.Leaf.Why.Text, listing(v.Program()))
			}
		}
	}
}

// exits are the values of R0 that an exploration ends with.
type exits []absint.Scalar

func (e *exits) Visit(*absint.State) error { return nil }
func (e *exits) Fork(int, absint.Origin)   {}
func (e *exits) Exit(s *absint.State)      { *e = append(*e, s.Top().Regs[prog.R0].Scalar.Truncate()) }

func (e exits) hold(ret uint32) bool {
	for i := range e {
		if e[i].Contains(uint64(ret)) {
			return true
		}
	}
	return false
}

// verdicts explores code; nil if what it forgets hides the end of a loop.
func verdicts(t *testing.T, v *verify.Verified, code *absint.Code) exits {
	var e exits
	m := absint.NewMachine(code, absint.AnyInput())
	_, err := m.Explore(m.Start(), &e, absint.Limits{Visits: 1e5, Bytes: 1 << 26})
	var loop *absint.LoopError
	var limit *absint.LimitError
	switch {
	case code != v.Code() && (errors.As(err, &loop) || errors.As(err, &limit)):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return e
}

func someData(r *rand.Rand) abi.SeccompData {
	d := abi.SeccompData{Nr: int32(r.Intn(500)), Arch: abi.ArchX86_64, InstructionPointer: r.Uint64()}
	if r.Intn(4) == 0 {
		d.Nr = int32(r.Uint32())
	}
	if r.Intn(4) == 0 {
		d.Arch = abi.ArchI386
	}
	for i := range d.Args {
		d.Args[i] = r.Uint64() >> r.Intn(64)
		if r.Intn(3) == 0 {
			d.Args[i] = -d.Args[i]
		}
	}
	return d
}

func listing(p *prog.Program) string {
	text := ""
	for pc := range p.Insns {
		text += strconv.Itoa(pc) + ": " + p.Disasm(pc) + "\n"
	}
	return text
}

func program(t *testing.T, text string) *prog.Program {
	p, err := bpfasm.Assemble("p", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
