package split_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// TestTailCallThatIsKnown: it costs nothing at run time.
func TestTailCallThatIsKnown(t *testing.T) {
	ps, err := object.Read("conformance", testdata.Conformance)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Name != "tail-known" && p.Name != "tail-calls" {
			continue
		}
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree := split.Split(v)
		for nr, want := range map[uint32]string{600: "static ERRNO(1)", 601: "static ALLOW", 602: "static ALLOW", 1: "static ALLOW"} {
			if p.Name == "tail-calls" && nr >= 600 {
				want = "notify KILL_THREAD" // the zero verdict: there is none
			}
			leaf := tree.Leaf(abi.ArchX86_64, nr)
			if got := fmt.Sprint(leaf.Kind, " ", leaf.Verdict); got != want {
				t.Errorf("%s, call %d: %s (%s), want %s", p.Name, nr, got, leaf.Why.Text, want)
			}
		}
	}
}

// TestClones: storage that is copied at fork is found, whichever program has it, and
// whatever its leaves are.
func TestClones(t *testing.T) {
	const tail = "r2 = map[progs]\nr3 = 1\ncall bpf_tail_call\nr0 = 0x7fff0000\nexit\n"
	use := func(flags uint32) string {
		return fmt.Sprintf("map store TASK_STORAGE key 4 value 8 flags %#x\n", flags) +
			"r1 = map[store]\nr2 = 0\ncall bpf_task_storage_delete\nr0 = 0x7fff0000\nexit\n"
	}
	for _, c := range []struct {
		first, second string
		want          bool
	}{
		{tail, use(prog.FlagClone | prog.FlagNoPrealloc), true},
		{tail, use(prog.FlagNoPrealloc), false},
		{use(prog.FlagClone), tail, true},
		{tail, tail, false},
	} {
		v, err := verify.Program(family(t, []string{c.first, c.second})[0], verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree := split.Split(v)
		if leaf := tree.Leaf(abi.ArchX86_64, 1); tree.Clones() != c.want || leaf.Kind == split.Trace {
			t.Errorf("%q, then %q: clones %v, expected %v; %s leaf", c.first, c.second, tree.Clones(), c.want, leaf.Kind)
		}
	}
}

// TestReasonBehindATailCall names the program that keeps a leaf from being static.
func TestReasonBehindATailCall(t *testing.T) {
	ps := family(t, []string{
		"r2 = map[progs]\nr3 = 1\ncall bpf_tail_call\nr0 = 0\nexit\n",
		"call bpf_ktime_get_ns\nr0 = 0x7fff0000\nexit\n",
	})
	v, err := verify.Program(ps[0], verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	leaf := split.Split(v).Leaf(abi.ArchX86_64, 1)
	const want = "goes on in p1 (instruction 0): calls bpf_ktime_get_ns"
	if leaf.Kind != split.Notify || leaf.Why.Text != want || leaf.Why.Insn != 3 {
		t.Errorf("%s, instruction %d: %s, want %s", leaf.Kind, leaf.Why.Insn, leaf.Why.Text, want)
	}
}

// family is programs that can all tail call one another: number i is at index i.
func family(t *testing.T, texts []string) []*prog.Program {
	t.Helper()
	array := &prog.Map{}
	var ps []*prog.Program
	for i, text := range texts {
		name := fmt.Sprint("p", i)
		p, err := bpfasm.Assemble(name, fmt.Sprintf("map progs PROG_ARRAY key 4 value 4 entries %d\n", len(texts)+1)+text)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			array = p.Maps[0]
		}
		p.Maps[0] = array
		array.Tails = append(array.Tails, prog.Tail{Index: uint32(i), Program: p})
		ps = append(ps, p)
	}
	return ps
}

// TestTailsAreSound runs programs that go on in one another at random: what the
// splitter decides for the first of them is what a run returns.
func TestTailsAreSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	leaves := map[split.Kind]int{}
	for i := rounds(t, 150); i > 0; i-- {
		n := 1 + r.Intn(5)
		texts := make([]string, n)
		for k := range texts {
			texts[k] = tailProgram(r, k, n)
		}
		v, err := verify.Program(family(t, texts)[0], verify.Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(texts, "---\n"))
		}
		tailsSound(t, r, v, strings.Join(texts, "---\n"), leaves)
	}
	if leaves[split.Static] < 500 || leaves[split.Notify] < 200 || leaves[split.Trace] < 100 {
		t.Errorf("leaves %v: too few to mean anything", leaves)
	}
	t.Logf("leaves %v", leaves)
}

func tailsSound(t *testing.T, r *rand.Rand, v *verify.Verified, text string, leaves map[split.Kind]int) {
	set := maps.Set{}
	for _, w := range v.Programs() {
		if err := set.Add(w.Program().Maps); err != nil {
			t.Fatal(err)
		}
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	tree := split.Split(v)
	noTrace(t, v, tree)
	for i := 0; i < 24; i++ {
		d := abi.SeccompData{Nr: int32(r.Intn(4)), Arch: abi.ArchX86_64}
		d.Args[0] = uint64(r.Intn(8)) | uint64(r.Intn(2))<<32
		got := m.Run(bpfgen.Env{R: r}, &d)
		if got.Fault != nil {
			t.Fatalf("%v\n%s", got.Fault, text)
		}
		leaf := tree.Leaf(d.Arch, uint32(d.Nr))
		if u := tree.Arguments(d.Arch, uint32(d.Nr)); u != nil {
			leaf = u.Decide(&d)
		}
		leaves[leaf.Kind]++
		verdict := abi.Verdict(got.Ret)
		switch action := verdict.Action(); {
		case leaf.Kind == split.Static && verdict != leaf.Verdict:
			t.Fatalf("static leaf %v, but %v is returned on %+v\n%s", leaf.Verdict, verdict, d, text)
		case leaf.Kind == split.Notify && (action == abi.Trap || action == abi.Trace || action == abi.KillThread):
			t.Fatalf("notify leaf, but %v is returned on %+v\n%s", verdict, d, text)
		}
	}
}

// tailProgram is program k of n: tests of the number and of an argument, before
// which it may go on in another, mostly in a later one.
func tailProgram(r *rand.Rand, k, n int) string {
	var b strings.Builder
	verdict := func() string {
		return fmt.Sprintf("w0 = %#x\nexit\n", [...]uint32{0x50001, 0x50002, 0x7fff0000, 0x7fff0000, 0x30000}[r.Intn(5)])
	}
	b.WriteString("r6 = r1\n")
	if r.Intn(6) == 0 {
		b.WriteString("call bpf_ktime_get_ns\n")
	}
	for i := r.Intn(4); i > 0; i-- {
		fmt.Fprintf(&b, "r7 = *(u32 *)(r6 +%d)\nif r7 != %d goto past%d\n", []int{0, 0, 16, 20}[r.Intn(4)], r.Intn(4), i)
		if r.Intn(3) == 0 {
			b.WriteString(verdict())
		} else {
			b.WriteString(tailCall(r, k, n))
		}
		fmt.Fprintf(&b, "past%d:\n", i)
	}
	if r.Intn(2) == 0 {
		b.WriteString(tailCall(r, k, n))
	}
	return b.String() + verdict()
}

func tailCall(r *rand.Rand, k, n int) string {
	index := fmt.Sprintf("r3 = %d\n", k+1+r.Intn(2)) // the one after the last has no program
	switch r.Intn(12) {
	case 0:
		index = fmt.Sprintf("r3 = %d\n", r.Intn(n+2)) // may go in a circle
	case 1:
		index = "r3 = *(u64 *)(r6 +16)\n"
	case 2:
		index = "r3 = *(u32 *)(r6 +0)\n"
	}
	return "r1 = r6\nr2 = map[progs]\n" + index + "call bpf_tail_call\n"
}

// TestLongestChain: the call that is one too many fails, and no leaf may say
// otherwise.
func TestLongestChain(t *testing.T) {
	for n, want := range map[int]struct {
		kind split.Kind
		ret  abi.Verdict
	}{
		prog.MaxTailCalls + 1: {split.Static, abi.Errno(1)},
		prog.MaxTailCalls + 2: {split.Notify, abi.Allow},
	} {
		texts := make([]string, n)
		for i := range texts[1:] {
			texts[i] = fmt.Sprintf("r2 = map[progs]\nr3 = %d\ncall bpf_tail_call\nr0 = 0x7fff0000\nexit\n", i+1)
		}
		texts[n-1] = "r0 = 0x50001\nexit\n"
		v, err := verify.Program(family(t, texts)[0], verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		set, err := maps.NewSet(v.Program().Maps)
		if err != nil {
			t.Fatal(err)
		}
		m, err := interp.New(v, set)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Run(bpfgen.Env{R: rand.New(rand.NewSource(1))}, &abi.SeccompData{Arch: abi.ArchX86_64})
		leaf := split.Split(v).Leaf(abi.ArchX86_64, 0)
		if got.Fault != nil || abi.Verdict(got.Ret) != want.ret || leaf.Kind != want.kind || leaf.Kind == split.Static && leaf.Verdict != want.ret {
			t.Errorf("a chain of %d: %v (%v), leaf %v %v: want %v, %v", n, abi.Verdict(got.Ret), got.Fault, leaf.Kind, leaf.Verdict, want.ret, want.kind)
		}
	}
}
