package prefilter

import (
	"errors"
	"flag"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/cbpf"
	"portcullis/internal/split"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// TestGolden prints the leaves and the program of small stacks.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		file := file
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range a.Files {
		parts[f.Name] = string(f.Data)
	}
	stack, err := parseStack(parts["stack"])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if p, err := build(stack, parseOptions(t, parts["options"])); err != nil {
		got["error"] = err.Error() + "\n"
	} else {
		got["leaves"], got["program"] = printed(p), p.Program().String()
	}
	if *update {
		rewrite(t, file, a, got)
		return
	}
	for _, name := range []string{"error", "leaves", "program"} {
		if diff := cmp.Diff(parts[name], got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func rewrite(t *testing.T, file string, a *txtar.Archive, got map[string]string) {
	kept := a.Files[:0]
	for _, f := range a.Files {
		if f.Name == "stack" || f.Name == "options" {
			kept = append(kept, f)
		}
	}
	a.Files = kept
	for _, name := range []string{"error", "leaves", "program"} {
		if got[name] != "" {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func parseOptions(t *testing.T, text string) Options {
	var o Options
	for _, line := range strings.Fields(text) {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "lift":
			o.Lift = append(o.Lift, Guard(value))
		case "observe":
			o.Observe = map[string]Observe{"denials": ObserveDenials, "all": ObserveAll, "permissive": ObservePermissive}[value]
		case "slots":
			o.Slots = map[string]Slots{"guarded": SlotsGuarded}[value]
		case "token":
			token, err := strconv.ParseUint(value, 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			o.Token = token
		default:
			t.Fatalf("unknown option %q", line)
		}
	}
	return o
}

func randomOptions(r *rand.Rand) Options {
	var o Options
	for _, g := range []Guard{GuardI386, GuardX32, GuardIOUring} {
		if r.Intn(3) == 0 {
			o.Lift = append(o.Lift, g)
		}
	}
	if r.Intn(3) > 0 {
		o.Token = r.Uint64()
	}
	if r.Intn(2) == 0 {
		o.Observe = Observe(r.Intn(4))
	}
	o.Slots = Slots(r.Intn(2))
	return o
}

// calls are data for every range of p: both ends, and arguments on both sides
// of every test.
func calls(r *rand.Rand, p *Prefilter, token uint64) []abi.SeccompData {
	out := []abi.SeccompData{{Nr: 1, Arch: 0xc00000b7}}
	for _, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		for _, rg := range p.Ranges(a) {
			for _, nr := range []uint32{rg.From, rg.To, anyNumber(r)} {
				out = append(out, withArgs(a, nr, token)...)
			}
		}
	}
	return out
}

func withArgs(a abi.Arch, nr uint32, token uint64) []abi.SeccompData {
	var out []abi.SeccompData
	for _, args := range [][6]uint64{
		{},
		{1, 8},
		{1, 7},
		{0, 8},
		{1 << 32, 8},
		{1<<32 | 1, 1<<32 | 8},
		{2, 0xffffffff},
		{5: token},
		{5: token ^ 1},
		{5: token ^ 1<<63},
		{5: uint64(uint32(token))},
		{0x800000, 0x400000},
		{0x3fffff, 0x3fffff, 0, 0x10},
		{0x400000, 0, 0, 0x100002, 0x3fffff},
		{0x7f0000001000, 0, 0, 2, 0x7f0000001000},
		{0x7f0000001000, 0x7f0000001000, 0, 2, 0x400000},
		{3 << 60, 3 << 60, 0, 0x10},
		{1<<63 | 35, 1 << 63, 0, 2, 1 << 63},
	} {
		out = append(out, abi.SeccompData{Nr: int32(nr), Arch: a, Args: args})
	}
	out = append(out, abi.SeccompData{Nr: int32(nr), Arch: a, InstructionPointer: abi.CallSite})
	return append(out, abi.SeccompData{Nr: int32(nr), Arch: a, InstructionPointer: 0xffffffffff600000})
}

// TestSound holds program, leaves and specification against each other for
// random stacks, and checks that the data reaches every instruction.
func TestSound(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	tested, traced, tied := 0, 0, 0
	for i := 0; i < 240; i++ {
		o := randomOptions(r)
		stack, fakes := randomStack(r)
		if i >= 40 { // tests that exclude one another leave instructions that none reaches
			addTests(r, fakes)
		}
		p := built(t, stack, &o)
		data := calls(r, p, o.Token)
		for _, d := range data {
			tied += agree(t, p, fakes, o, d)
			redirected(t, r, p, d)
		}
		if t.Failed() {
			t.Fatalf("options %+v\n%s%s", o, printed(p), p.Program())
		}
		if i < 40 {
			reached(t, p.Program(), data)
		}
		for _, rg := range p.Ranges(abi.ArchX86_64) {
			if rg.Decision != nil && !p.Traced() && rg.From != number("seccomp") && rg.From != number("execveat") {
				tested++
			}
		}
		if p.Traced() {
			traced++
		}
	}
	if tested < 25 || traced < 25 || tied < 50 {
		t.Errorf("%d runs of numbers were decided by arguments, %d stacks traced, in %d calls for tests that cannot be made: too few", tested, traced, tied)
	}
}

// built builds a prefilter; where the stack is traced after the options lifted what
// then cannot be, that has to be refused, and is left out.
func built(t *testing.T, stack []tree, o *Options) *Prefilter {
	t.Helper()
	p, err := build(stack, *o)
	if err == nil {
		return p
	}
	if !strings.Contains(err.Error(), "takes a tracer") {
		t.Fatal(err)
	}
	var kept []Guard
	for _, g := range o.Lift {
		if g == GuardIOUring {
			kept = append(kept, g)
		}
	}
	if len(kept) == len(o.Lift) {
		t.Fatalf("lifting %v: %v", o.Lift, err)
	}
	o.Lift = kept
	if p, err = build(stack, *o); err != nil || !p.Traced() && !hidden(stack) {
		t.Fatalf("without other tables: %v", err)
	}
	return p
}

// hidden tells whether what a stack needs a tracer for may be in calls of other tables.
func hidden(stack []tree) bool {
	for _, t := range stack {
		if t.Clones() {
			return false
		}
	}
	return true
}

// redirected holds a prefilter to this: a call that is traced is traced again, or
// denied, whatever its tracer did to its pointers, so that the kernel goes on with it
// only if the tracer says so.
func redirected(t *testing.T, r *rand.Rand, p *Prefilter, d abi.SeccompData) {
	t.Helper()
	if p.Decide(&d).Kind != split.Trace {
		return
	}
	changed := d
	for i := range changed.Args {
		if MayRedirect(d.Arch, uint32(d.Nr), i) && r.Intn(2) == 0 {
			changed.Args[i] = [...]uint64{0, 1, 2, 7, 8, 0x200000, 0x7fff00001000, r.Uint64()}[r.Intn(8)]
		}
	}
	again := p.Recheck(&changed)
	denied := again == abi.Errno(1) && p.Decide(&changed).Guard == GuardSlots
	if again != abi.Trace|abi.TraceData && !denied {
		t.Errorf("%+v is traced, and with other pointers, %+v, it is %v", d, changed, again)
	}
}

func randomStack(r *rand.Rand) ([]tree, []*fakeTree) {
	var stack []tree
	var fakes []*fakeTree
	dynamic := chance{notify: r.Intn(8)}
	if r.Intn(2) == 0 {
		dynamic.trace = 4 + r.Intn(16)
	}
	for n := r.Intn(4); n > 0; n-- {
		f := randomTree(r, "f"+strconv.Itoa(n), dynamic)
		stack, fakes = append(stack, f), append(fakes, f)
	}
	return stack, fakes
}

func addTests(r *rand.Rand, fakes []*fakeTree) {
	for _, f := range fakes {
		f.addTests(r)
	}
}

// agree holds one call's answers against each other; it returns 1 if a tracer is
// asked although the filters would not, because they test what it may change.
func agree(t *testing.T, p *Prefilter, stack []*fakeTree, o Options, d abi.SeccompData) int {
	t.Helper()
	s := &spec{stack, o, p.Dynamic(), p.Traced()}
	want, tied := s.answer(&d), 0
	got := p.Recheck(&d)
	asked := got == abi.Trace|abi.TraceData || got == abi.Errno(1) && p.Decide(&d).Guard == GuardSlots // before it asks
	if got != want && asked && s.tied(&d) {
		want, tied = got, 1
	}
	if got != want {
		t.Errorf("%+v: program answers %v, want %v", d, got, want)
	}
	l := p.Decide(&d)
	got = map[split.Kind]abi.Verdict{split.Static: l.Verdict, split.Notify: abi.UserNotif, split.Trace: abi.Trace | 0x5043}[l.Kind]
	if got != want {
		t.Errorf("%+v: Decide answers %s, want %v", d, leafText(l), want)
	}
	if got == abi.UserNotif && !p.Dynamic() || l.Kind == split.Trace && !p.Traced() {
		t.Errorf("%+v: %s of a prefilter that wants nobody for it", d, leafText(l))
	}
	return tied
}

// reached replaces one instruction after another and expects some answer to
// change: an instruction that no data reaches is tested by none.
func reached(t *testing.T, p cbpf.Program, data []abi.SeccompData) {
	t.Helper()
	for pc := range p.Insns() {
		code := p.Insns()
		code[pc] = cbpf.Insn{Op: cbpf.RetK, K: 0x00ddbeef}
		q, err := cbpf.Validate(code)
		if err != nil {
			t.Fatal(err)
		}
		if !differ(p, q, data) {
			t.Errorf("no call reaches instruction %d of\n%s", pc, p)
		}
	}
}

func differ(p, q cbpf.Program, data []abi.SeccompData) bool {
	for i := range data {
		if p.Run(&data[i]) != q.Run(&data[i]) {
			return true
		}
	}
	return false
}

// TestConstantAllowsStayInTheBitmap: a call that is always allowed must not
// run the program, whatever stands before it; in a traced stack those are all that a
// guard does not look at.
func TestConstantAllowsStayInTheBitmap(t *testing.T) {
	for text, others := range map[string]int{
		"filter f\nopenat notify counts\nptrace ERRNO(1)\n": 2 + 3 + 1, // io_uring and seccomp
		"filter f\nopenat trace pins\nmunmap ERRNO(1)\n":    2 + 3 + 1 + len([]string{"ptrace", "clone", "clone3", "vserver"}),
	} {
		stack, err := parseStack(text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := build(stack, Options{Token: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range syscalls.All() {
			r := p.Find(abi.ArchX86_64, c.Nr)
			want := r.Decision == nil && r.Leaf.Kind == split.Static && r.Leaf.Verdict == abi.Allow
			got := p.Program().ConstAllow(abi.ArchX86_64, c.Nr)
			if got != want {
				t.Errorf("%s: in the bitmap %v, want %v", c.Name, got, want)
			}
			if !got {
				others--
			}
		}
		if others != 0 {
			t.Errorf("%q: %d more calls than expected are in the bitmap", text, others)
		}
	}
}

func TestGuardsOnly(t *testing.T) {
	p, err := GuardsOnly(Options{Observe: ObserveAll, Lift: []Guard{GuardI386}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Dynamic() {
		t.Error("guards alone want a listener")
	}
	listener := abi.SeccompData{Nr: 317, Arch: abi.ArchX86_64, Args: [6]uint64{1, 8}}
	if got := p.Recheck(&listener); got != abi.Allow {
		t.Errorf("a listener in a stack without one: %v, want ALLOW", got)
	}
	for nr, want := range map[int32]abi.Verdict{425: abi.Errno(38), 0x40000001: abi.KillProcess, -1: abi.Allow, 0: abi.Allow} {
		if got := p.Recheck(&abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64}); got != want {
			t.Errorf("number %d: %v, want %v", nr, got, want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	var stack []tree
	f := &fakeTree{program: "wide", rs: map[abi.Arch][]split.Range{}}
	for _, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		for nr := uint32(0); nr < 4096; nr++ {
			f.rs[a] = append(f.rs[a], split.Range{From: nr, To: nr, Leaf: split.Leaf{Verdict: abi.Errno(uint16(nr))}})
		}
		f.rs[a] = append(f.rs[a], split.Range{From: 4096, To: ^uint32(0)})
	}
	_, err := build(append(stack, f), Options{})
	var mine *Error
	var cause *cbpf.Error
	if !errors.As(err, &mine) || !errors.As(err, &cause) {
		t.Fatalf("build = %v, want *Error around *cbpf.Error", err)
	}
}

// TestTestsWithoutRoom: what classic BPF has no room for is left to the filter,
// the largest tests first; the others stay.
func TestTestsWithoutRoom(t *testing.T) {
	f := &fakeTree{program: "wide", rs: map[abi.Arch][]split.Range{abi.ArchI386: {{To: ^uint32(0)}}}}
	ask := split.Leaf{Kind: split.Notify, Why: split.Reason{Text: "the verdict depends on the call's arguments"}}
	for nr := uint32(0); nr < 400; nr++ {
		d := &split.Decision{}
		for i := uint32(0); i < 1+nr/10; i++ {
			d = &split.Decision{Test: argument(uint8(i%5), 4, uint64(nr<<16|i)), Then: &split.Decision{Leaf: split.Leaf{Verdict: abi.Errno(uint16(i))}}, Else: d}
		}
		f.rs[abi.ArchX86_64] = append(f.rs[abi.ArchX86_64], split.Range{From: nr, To: nr, Leaf: ask, Decision: d})
	}
	f.rs[abi.ArchX86_64] = append(f.rs[abi.ArchX86_64], split.Range{From: 400, To: ^uint32(0)})
	p, err := build([]tree{f}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first := p.Find(abi.ArchX86_64, 3); first.Decision == nil {
		t.Errorf("a single test is left to the filter: %s", leafText(first.Leaf))
	}
	last := p.Leaf(abi.ArchX86_64, 399)
	if last.Kind != split.Notify || !strings.HasSuffix(last.Why.Text, noRoom) || !p.Dynamic() {
		t.Errorf("forty tests of the last call became %s: %s", leafText(last), last.Why.Text)
	}
	kept := 0
	for _, r := range p.Ranges(abi.ArchX86_64) {
		if r.Decision != nil && r.To < 400 {
			kept++
		}
	}
	if kept < 100 || p.Program().Len() > cbpf.MaxInsns {
		t.Errorf("%d calls keep their tests in %d instructions", kept, p.Program().Len())
	}
}

// TestTestsOfManyFilters: the tests of stacked filters multiply, up to a bound.
func TestTestsOfManyFilters(t *testing.T) {
	var stack []tree
	for i := uint8(0); i < 6; i++ {
		d := &split.Decision{}
		for k := uint64(0); k < 8; k++ {
			d = &split.Decision{Test: argument(i, 8, k), Then: &split.Decision{Leaf: split.Leaf{Verdict: abi.Errno(uint16(10*uint64(i) + k))}}, Else: d}
		}
		ask := split.Leaf{Kind: split.Notify, Why: split.Reason{Text: "the verdict depends on the call's arguments"}}
		stack = append(stack, &fakeTree{program: "f", rs: map[abi.Arch][]split.Range{
			abi.ArchX86_64: {{To: ^uint32(0), Leaf: ask, Decision: d}}, abi.ArchI386: {{To: ^uint32(0)}},
		}})
	}
	p, err := build(stack, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l := p.Leaf(abi.ArchX86_64, 0); l.Kind != split.Notify || !strings.HasSuffix(l.Why.Text, tooManyTests) {
		t.Errorf("8 tests in each of 6 filters became %s: %s", leafText(l), l.Why.Text)
	}
	if p, err = build(stack[:2], Options{}); err != nil || p.Dynamic() {
		t.Errorf("8 tests in each of 2 filters: %v, dynamic %v", err, p.Dynamic())
	}
}

// TestLargest: all of 1,024 calls and of both architectures may differ.
func TestLargest(t *testing.T) {
	r := rand.New(rand.NewSource(5))
	f := &fakeTree{program: "wide", rs: map[abi.Arch][]split.Range{}}
	for i, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		for nr := uint32(0); nr < 600; nr++ {
			f.rs[a] = append(f.rs[a], split.Range{From: nr, To: nr, Leaf: split.Leaf{Verdict: abi.Errno(uint16(nr + 600*uint32(i)))}})
		}
		f.rs[a] = append(f.rs[a], split.Range{From: 600, To: ^uint32(0), Leaf: split.Leaf{Verdict: abi.Log}})
	}
	o := Options{Token: 77, Lift: []Guard{GuardI386}}
	p, err := build([]tree{f}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range calls(r, p, o.Token) {
		agree(t, p, []*fakeTree{f}, o, d)
	}
}

func TestBrokenTreeIsRefused(t *testing.T) {
	whole := []split.Range{{From: 0, To: ^uint32(0)}}
	for name, rs := range map[string][]split.Range{
		"nothing": nil,
		"a gap":   {{From: 0, To: 4}, {From: 6, To: ^uint32(0)}},
		"no end":  {{From: 0, To: 4}},
		"overlap": {{From: 0, To: 4}, {From: 4, To: ^uint32(0)}},
		"twice":   {whole[0], whole[0]},
	} {
		f := &fakeTree{program: "f", rs: map[abi.Arch][]split.Range{abi.ArchX86_64: rs, abi.ArchI386: whole}}
		if _, err := build([]tree{f}, Options{}); err == nil || !strings.Contains(err.Error(), "gap or an overlap") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGuardsTable(t *testing.T) {
	for _, g := range Guards() {
		_, err := GuardsOnly(Options{Lift: []Guard{g.Name}})
		if (err == nil) != g.Liftable {
			t.Errorf("lifting %s: %v; the table says liftable %v", g.Name, err, g.Liftable)
		}
	}
	_, err := GuardsOnly(Options{Lift: []Guard{"iouring"}})
	if err == nil || !strings.Contains(err.Error(), `"iouring"`) || !strings.Contains(err.Error(), "i386, x32, io_uring") {
		t.Errorf("an unknown guard: %v", err)
	}
}

// TestGuardsInForce: what comes with a supervisor, with a tracer, and without mseal.
func TestGuardsInForce(t *testing.T) {
	for _, c := range []struct {
		stack string
		o     Options
		want  string
	}{
		{"filter f\n", Options{}, "i386 x32 io_uring"},
		{"filter f\n", Options{Lift: []Guard{GuardX32}}, "i386 io_uring"},
		{"filter f\nopenat notify counts\n", Options{Slots: SlotsGuarded}, "i386 x32 io_uring listener"},
		{"filter f\nopenat trace pins\n", Options{Lift: []Guard{GuardIOUring}}, "i386 x32 listener ptrace untraced clone3"},
		{"filter f\nclones\n", Options{Slots: SlotsGuarded}, "i386 x32 io_uring listener ptrace untraced clone3 slots"},
	} {
		stack, err := parseStack(c.stack)
		if err != nil {
			t.Fatal(err)
		}
		p, err := build(stack, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, g := range p.Guards() {
			names = append(names, string(g))
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%q, %+v: %s, want %s", c.stack, c.o, got, c.want)
		}
	}
}

func TestZeroPrefilterKills(t *testing.T) {
	var p Prefilter
	d := abi.SeccompData{Arch: abi.ArchX86_64}
	if got := p.Recheck(&d); got != abi.KillProcess {
		t.Errorf("Recheck = %v", got)
	}
	if l := p.Decide(&d); l.Kind != split.Static || l.Verdict != abi.KillProcess {
		t.Errorf("Decide = %s", leafText(l))
	}
}

func FuzzSound(f *testing.F) {
	f.Add(int64(7))
	f.Fuzz(func(t *testing.T, seed int64) {
		r := rand.New(rand.NewSource(seed))
		o := randomOptions(r)
		stack, fakes := randomStack(r)
		addTests(r, fakes)
		p := built(t, stack, &o)
		for _, d := range calls(r, p, o.Token) {
			agree(t, p, fakes, o, d)
			redirected(t, r, p, d)
		}
	})
}

func BenchmarkRecheck(b *testing.B) {
	stack, err := parseStack("filter f\nopenat notify counts\nptrace ERRNO(1)\nmount ERRNO(1)\nbpf KILL_PROCESS\n")
	if err != nil {
		b.Fatal(err)
	}
	p, err := build(stack, Options{Token: 1})
	if err != nil {
		b.Fatal(err)
	}
	d := abi.SeccompData{Nr: 257, Arch: abi.ArchX86_64}
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		p.Recheck(&d)
	}
}
