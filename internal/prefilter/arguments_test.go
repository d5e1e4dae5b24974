package prefilter_test

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/cbpf"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// stack is verified filters, oldest first, split and ready to run.
type stack struct {
	trees    []*split.Tree
	machines []*interp.Machine
}

func (s *stack) add(t testing.TB, p *prog.Program) bool {
	t.Helper()
	v, err := verify.Program(p, verify.Options{Budget: 20000})
	if err != nil {
		return false
	}
	set, err := maps.NewSet(v.Program().Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	s.trees, s.machines = append(s.trees, split.Split(v)), append(s.machines, m)
	return true
}

// run is the verdict of the stack, as the kernel joins and delivers it to a task
// without a listener, or a debugger.
func (s *stack) run(e interp.Env, d *abi.SeccompData, traced bool) abi.Verdict {
	v := abi.Allow
	for _, m := range s.machines {
		v = abi.Strictest(abi.Verdict(m.Run(e, d).Ret), v)
	}
	switch v = v.Effective(); v.Action() {
	case abi.UserNotif:
		return abi.Errno(38)
	case abi.Trace:
		if traced {
			return abi.Errno(38)
		}
	case abi.Allow, abi.Log:
		return v.Action()
	}
	return v
}

func assembled(t testing.TB, text string) *prog.Program {
	t.Helper()
	p, err := bpfasm.Assemble("f", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// near draws data of call nr around what d tests.
func near(r *rand.Rand, arch abi.Arch, nr uint32, d *prefilter.Decision) abi.SeccompData {
	data := abi.SeccompData{Nr: int32(nr), Arch: arch, InstructionPointer: bpfgen.Number(r)}
	for i := range data.Args {
		data.Args[i] = bpfgen.Number(r)
	}
	for d != nil && d.Then != nil {
		holds := r.Intn(6) == 0
		for tries := 0; tries < 4 && d.Test.Holds(&data) != holds; tries++ {
			poke(r, &data, d.Test)
		}
		if d.Test.Holds(&data) {
			d = d.Then
		} else {
			d = d.Else
		}
	}
	return data
}

// poke makes what t looks at equal, or nearly so, to what it is compared with.
func poke(r *rand.Rand, d *abi.SeccompData, t split.Test) {
	want := t.Value
	if t.With.Size != 0 {
		want = t.With.Of(d)
	}
	if t.Op == prog.OpJle && r.Intn(2) == 0 {
		want = t.Low
	}
	want += uint64(r.Intn(3)) - 1
	mask := t.Mask
	if t.Op == prog.OpJset {
		mask &= t.Value
		want = r.Uint64()
	}
	shift := 8 * uint(t.Off&4)
	field := &d.InstructionPointer
	if t.Off >= abi.OffArgs {
		field = &d.Args[(t.Off-abi.OffArgs)/8]
	}
	*field = *field&^(mask<<shift) | want<<t.Right&mask<<shift
}

// rounds is how many stacks a run draws; PORTCULLIS_FUZZ_ROUNDS asks for more.
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

// TestStacks: what the program of a random stack answers by itself is what the
// filters return, whatever the call's data, and what they need state for is asked.
func TestStacks(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	static, byArgument, asked, traced := 0, 0, 0, 0
	for i := rounds(t, 250); i > 0; i-- {
		s := randomFilters(t, r)
		p := prefilterOf(t, r, s)
		s.tracedWithReason(t, p)
		for _, rg := range p.Ranges(abi.ArchX86_64) {
			for k := 0; k < 6; k++ {
				nr := rg.From + uint32(r.Int63n(int64(rg.To)-int64(rg.From)+1))
				d := near(r, abi.ArchX86_64, nr, rg.Decision)
				switch kind := held(t, r, s, p, &d); {
				case kind == split.Trace:
					traced++
				case kind == split.Notify:
					asked++
				case rg.Decision != nil:
					byArgument++
				default:
					static++
				}
			}
		}
	}
	if static < 1000 || byArgument < 1000 || asked < 1000 || traced < 1000 {
		t.Errorf("%d static, %d by argument, %d asked, %d traced: too few to mean anything", static, byArgument, asked, traced)
	}
	t.Logf("%d static, %d by argument, %d asked, %d traced", static, byArgument, asked, traced)
}

// tracedWithReason: the proofs of the filters, and the calls that must not fail, say
// which stacks take a tracer.
func (s *stack) tracedWithReason(t *testing.T, p *prefilter.Prefilter) {
	t.Helper()
	if !p.Traced() || s.mayTrace() {
		return
	}
	for _, rg := range p.Ranges(abi.ArchX86_64) {
		if n := rg.From; rg.Leaf.Kind == split.Trace && n != 15 && n != 60 && n != 231 {
			t.Fatalf("call %d is traced, which the proofs of the filters exclude\n%s", n, p.Program())
		}
	}
}

// mayTrace tells whether the proof of some filter allows that it takes a tracer.
func (s *stack) mayTrace() bool {
	for _, t := range s.trees {
		if t.Verified().MayTrace() {
			return true
		}
	}
	return false
}

// prefilterOf lifts guards at random, unless the stack takes a tracer: then it keeps
// those that it has to.
func prefilterOf(t *testing.T, r *rand.Rand, s *stack) *prefilter.Prefilter {
	t.Helper()
	o := prefilter.Options{Lift: lifted(r), Slots: prefilter.Slots(r.Intn(2))}
	p, err := prefilter.Build(s.trees, o)
	if err == nil {
		return p
	}
	if !strings.Contains(err.Error(), "takes a tracer") || len(o.Lift) == 0 {
		t.Fatal(err)
	}
	if p, err = prefilter.Build(s.trees, prefilter.Options{Slots: o.Slots}); err != nil {
		t.Fatal(err)
	}
	return p
}

// FuzzStacks is TestStacks for whatever stack a seed draws.
func FuzzStacks(f *testing.F) {
	f.Add(int64(3))
	f.Fuzz(func(t *testing.T, seed int64) {
		r := rand.New(rand.NewSource(seed))
		s := randomFilters(t, r)
		p := prefilterOf(t, r, s)
		s.tracedWithReason(t, p)
		for _, rg := range p.Ranges(abi.ArchX86_64) {
			for k := 0; k < 20; k++ {
				d := near(r, abi.ArchX86_64, rg.From, rg.Decision)
				held(t, r, s, p, &d)
			}
		}
	})
}

func lifted(r *rand.Rand) []prefilter.Guard {
	all := []prefilter.Guard{prefilter.GuardI386, prefilter.GuardX32, prefilter.GuardIOUring}
	return all[:r.Intn(len(all)+1)]
}

func randomFilters(t *testing.T, r *rand.Rand) *stack {
	verdicts := []uint32{0x50001, 0x50002, 0x80000000, 0x30000, 0x7fff0000, 0x7ffc0000, 0x7fc00000}
	s := &stack{}
	tracing := r.Intn(3) == 0
	for n := 1 + r.Intn(3); n > 0; n-- {
		switch {
		case r.Intn(4) == 0:
			s.add(t, bpfgen.Program(r, bpfgen.Options{Statements: 1 + r.Intn(10)}))
		case tracing:
			s.add(t, assembled(t, bpfgen.Tracing(r, bpfgen.Rules(r, verdicts))))
		default:
			s.add(t, assembled(t, bpfgen.Rules(r, verdicts)))
		}
	}
	return s
}

// held runs program, leaves and filters on d and holds them against each other.
func held(t *testing.T, r *rand.Rand, s *stack, p *prefilter.Prefilter, d *abi.SeccompData) split.Kind {
	t.Helper()
	leaf, answer, want := p.Decide(d), p.Recheck(d), s.run(bpfgen.Env{R: r}, d, p.Traced())
	switch action := want.Action(); {
	case leaf.Kind == split.Notify && leaf.Guard == "" && (action == abi.Trap || action == abi.KillThread):
		t.Fatalf("%+v: a notification, for which the filters return %v\n%s", d, want, p.Program())
	case answer != answerOf(leaf):
		t.Fatalf("%+v: the program answers %v, its leaf is %+v\n%s", d, answer, leaf, p.Program())
	case leaf.Kind == split.Static && leaf.Guard == "" && answer != want:
		t.Fatalf("%+v: the program answers %v, the filters %v\n%s", d, answer, want, p.Program())
	case leaf.Guard != "" && abi.Strictest(answer, want) != answer && s.pure():
		t.Fatalf("%+v: guard %s answers %v, which is laxer than %v", d, leaf.Guard, answer, want)
	case p.Program().ConstAllow(d.Arch, uint32(d.Nr)) && answer != abi.Allow:
		t.Fatalf("%+v: the kernel would not run the program, which answers %v", d, answer)
	}
	if leaf.Kind == split.Trace {
		tracedAgain(t, r, p, *d)
	}
	return leaf.Kind
}

// tracedAgain has the kernel ask again as it does after a tracer has redirected
// pointers: the call is traced once more, or denied by a guard.
func tracedAgain(t *testing.T, r *rand.Rand, p *prefilter.Prefilter, d abi.SeccompData) {
	t.Helper()
	before := d
	for i := range d.Args {
		if prefilter.MayRedirect(d.Arch, uint32(d.Nr), i) && r.Intn(2) == 0 {
			d.Args[i] = bpfgen.Number(r)
		}
	}
	if again := p.Recheck(&d); again != abi.Trace|abi.TraceData && p.Decide(&d).Guard != prefilter.GuardSlots {
		t.Fatalf("%+v is traced, and as %+v it is %v\n%s", before, d, again, p.Program())
	}
}

// answerOf is what the program of a prefilter has to answer for a leaf.
func answerOf(l prefilter.Leaf) abi.Verdict {
	return map[split.Kind]abi.Verdict{split.Static: l.Verdict, split.Notify: abi.UserNotif, split.Trace: abi.Trace | 0x5043}[l.Kind]
}

// pure tells whether no filter has state, so that every run returns the same.
func (s *stack) pure() bool {
	for _, t := range s.trees {
		if len(t.Verified().Program().Maps) > 0 {
			return false
		}
	}
	return true
}

// everyTest is a filter whose rules for one call test its data in every way there
// is, and return an error number each.
func everyTest() (text string, rules int) {
	var b strings.Builder
	b.WriteString("r6 = r1\nr7 = *(u32 *)(r6 +0)\nr0 = 0x7fff0000\nif r7 == 1 goto tests\nif r7 != 2 goto pc+1\nr0 = 0x50063\nexit\ntests:\n")
	add := func(test string) {
		fmt.Fprintf(&b, "if %s goto v%d\n", test, rules)
		rules++
	}
	load := func(reg, size string, arg int) { fmt.Fprintf(&b, "%s = *(%s *)(r6 +%d)\n", reg, size, 16+8*arg) }
	for i, op := range []string{"==", ">", "<", "s>", "s<"} {
		load("r2", "u64", i)
		b.WriteString(fmt.Sprintf("r3 = %#x ll\n", uint64(0x8000000100000002)+uint64(i)<<40))
		add(fmt.Sprintf("r2 %s r3", op))
		add(fmt.Sprintf("w2 %s %d", op, 77+i))
	}
	load("r2", "u64", 1)
	b.WriteString("r2 &= 0xff0\n")
	add("r2 == 0x20")
	load("r2", "u64", 2)
	add("r2 & 0x40000")
	load("r2", "u64", 3)
	b.WriteString("r2 >>= 40\n")
	add("r2 == 0x800002")
	load("r2", "u64", 4)
	load("r3", "u64", 5)
	add("r2 == r3")
	add("w2 == w3")
	b.WriteString("r2 >>= 34\nw3 &= 0xfff\n")
	add("r2 > r3")
	load("r2", "u64", 0)
	b.WriteString("r2 += -3\n")
	add("r2 < 4")
	load("r2", "u32", 1)
	b.WriteString("w2 += -10\n")
	add("w2 <= 5")
	b.WriteString("exit\n")
	for i := 0; i < rules; i++ {
		fmt.Fprintf(&b, "v%d:\nw0 = %#x\nexit\n", i, 0x50064+i)
	}
	return b.String(), rules
}

// TestEveryTest reaches every instruction: each rule of the filter decides some
// call, hence those before it were passed, and no instruction of the program can
// be replaced unnoticed.
func TestEveryTest(t *testing.T) {
	text, rules := everyTest()
	s := &stack{}
	if !s.add(t, assembled(t, text)) {
		t.Fatal("the filter was refused")
	}
	p, err := prefilter.Build(s.trees, prefilter.Options{Lift: []prefilter.Guard{prefilter.GuardX32}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Dynamic() {
		t.Fatalf("something is left to the filter:\n%s", p.Program())
	}
	r := rand.New(rand.NewSource(4))
	seen := map[abi.Verdict]bool{}
	var data []abi.SeccompData
	d := p.Find(abi.ArchX86_64, 1).Decision
	for i := 0; i < 60000; i++ {
		data = append(data, near(r, abi.ArchX86_64, 1, d))
		held(t, r, s, p, &data[i])
		seen[p.Recheck(&data[i])] = true
	}
	for i := 0; i < rules; i++ {
		if v := abi.Errno(uint16(100 + i)); !seen[v] {
			t.Errorf("no call gets to rule %d", i)
		}
	}
	for _, rg := range append(p.Ranges(abi.ArchX86_64), p.Ranges(abi.ArchI386)...) {
		for _, nr := range []uint32{rg.From, rg.To} {
			data = append(data, abi.SeccompData{Nr: int32(nr), Arch: abi.ArchX86_64}, abi.SeccompData{Nr: int32(nr), Arch: abi.ArchI386})
		}
	}
	data = append(data, abi.SeccompData{Arch: 5})
	covered(t, p.Program(), data)
}

// covered replaces one instruction after another and expects some answer to
// change.
func covered(t *testing.T, p cbpf.Program, data []abi.SeccompData) {
	t.Helper()
	for pc := range p.Insns() {
		code := p.Insns()
		code[pc] = cbpf.Insn{Op: cbpf.RetK, K: 0x00ddbeef}
		q, err := cbpf.Validate(code)
		if err != nil {
			t.Fatal(err)
		}
		same := true
		for i := 0; i < len(data) && same; i++ {
			same = p.Run(&data[i]) == q.Run(&data[i])
		}
		if same {
			t.Errorf("no call reaches instruction %d of\n%s", pc, p)
		}
	}
}

// TestAllowListIsShort: a list of 200 calls, some with rules for arguments, takes
// about as many tests as it has bits, and those without rules are in the kernel's
// bitmap.
func TestAllowListIsShort(t *testing.T) {
	var b strings.Builder
	b.WriteString("r6 = *(u32 *)(r1 +0)\nr0 = 0x50001\n")
	allowed, ruled := map[uint32]bool{}, map[uint32]bool{}
	for i, c := range syscalls.All() {
		switch {
		case i%9 == 4:
			ruled[c.Nr] = true
			fmt.Fprintf(&b, "if r6 == %d goto arg%d\n", c.Nr, i%5)
		case i%9 < 4 && c.Nr < 420:
			allowed[c.Nr] = true
			fmt.Fprintf(&b, "if r6 == %d goto allow\n", c.Nr)
		}
	}
	b.WriteString("exit\n")
	for i := 0; i < 5; i++ {
		fmt.Fprintf(&b, "arg%d:\nr2 = *(u64 *)(r1 +%d)\nif r2 == %d goto allow\nexit\n", i, 16+8*i, 1<<i)
	}
	b.WriteString("allow:\nr0 = 0x7fff0000\nexit\n")
	s := &stack{}
	if !s.add(t, assembled(t, b.String())) {
		t.Fatal("the filter was refused")
	}
	p, err := prefilter.Build(s.trees, prefilter.Options{Token: 1 << 40})
	if err != nil || p.Dynamic() {
		t.Fatalf("%v, dynamic %v", err, p.Dynamic())
	}
	execveat, _ := syscalls.Number("execveat")
	ruled[execveat] = true // by the token of the launch
	const most = 3 + 9 + 2 // both fields and the architecture, the search, what a hole costs
	for _, c := range syscalls.All() {
		if got := p.Program().ConstAllow(abi.ArchX86_64, c.Nr); got != allowed[c.Nr] {
			t.Errorf("%s: in the bitmap %v, expected %v", c.Name, got, allowed[c.Nr])
		}
		n := p.Program().Steps(&abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64})
		if limit := map[bool]int{false: most, true: most + 4}[ruled[c.Nr]]; n > limit {
			t.Errorf("%s: %d instructions, expected at most %d", c.Name, n, limit)
		}
	}
}

// TestCompiledRules: the program for rules that a compiler made sets of bits of
// decides as the filter does, all by itself.
func TestCompiledRules(t *testing.T) {
	const file = "../bench/testdata/filters/allow.o"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := object.Read(file, data)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{}
	for _, p := range ps {
		if p.Name == "rules" && !s.add(t, p) {
			t.Fatal("the filter was refused")
		}
	}
	p, err := prefilter.Build(s.trees, prefilter.Options{})
	if err != nil || p.Dynamic() {
		t.Fatalf("%v, dynamic %v", err, p.Dynamic())
	}
	r := rand.New(rand.NewSource(5))
	answers := map[abi.Verdict]int{}
	for _, c := range syscalls.All() {
		rg := p.Find(abi.ArchX86_64, c.Nr)
		if rg.Decision == nil {
			d := near(r, abi.ArchX86_64, c.Nr, nil)
			held(t, r, s, p, &d)
			continue
		}
		for k := 0; k < 2000; k++ {
			d := near(r, abi.ArchX86_64, c.Nr, rg.Decision)
			if k%4 == 0 {
				for i := range d.Args {
					d.Args[i] = uint64(r.Intn(80))
				}
			}
			held(t, r, s, p, &d)
			answers[p.Recheck(&d)]++
		}
	}
	if answers[abi.Allow] < 1000 || answers[abi.Errno(1)] < 1000 {
		t.Errorf("the calls with rules are answered %v: too few to mean anything", answers)
	}
}
