package decide

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/event"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// caller is a task made up.
type caller struct {
	process, thread uint64
	err             error
	asked           func() // runs when the process is asked for
}

func (c *caller) PidTgid() uint64 { return 7<<32 | 8 }
func (c *caller) UidGid() uint64  { return 9<<32 | 10 }
func (c *caller) Comm() [16]byte  { return [16]byte{'m', 'e'} }
func (c *caller) Thread() uint64  { return c.thread }
func (c *caller) Now() uint64     { return 1 }
func (c *caller) BootNow() uint64 { return 2 }
func (c *caller) Rand() uint32    { return 3 }
func (c *caller) Tid() int        { return 8 }
func (c *caller) Pid() int        { return 7 }
func (c *caller) Err() error      { return c.err }
func (c *caller) Process() uint64 {
	if c.asked != nil {
		c.asked()
	}
	return c.process
}

func (c *caller) ReadUser(dst []byte, addr uint64) (int, error) { return 0, c.err }
func (c *caller) SafeRead([]byte, uint64) maps.Errno            { return interp.EOPNOTSUPP }
func (c *caller) SafeReadStr([]byte, uint64) (int, maps.Errno)  { return 0, interp.EOPNOTSUPP }
func (c *caller) Await(uint64, uint64) maps.Errno               { return maps.EINVAL }

// collector is a sink that keeps everything.
type collector []event.Event

func (c *collector) Emit(e *event.Event) { *c = append(*c, *e) }

const (
	nowhere = 600
	getppid = 110
)

// program reads a program of the conformance object; constants are set by value.
func program(t testing.TB, name string) Filter {
	t.Helper()
	ps, err := object.Read("conformance", testdata.Conformance)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Name == name {
			return filterOf(t, p)
		}
	}
	t.Fatalf("no program %s", name)
	return Filter{}
}

func filterOf(t testing.TB, p *prog.Program) Filter {
	t.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Filter{Name: p.Name, Hash: "hash of " + p.Name, Verified: v}
}

// install makes an installation of programs by name.
func install(t testing.TB, o Options, names ...string) *Installation {
	t.Helper()
	var stack []Filter
	for _, name := range names {
		stack = append(stack, program(t, name))
	}
	return installFilters(t, o, stack...)
}

func installFilters(t testing.TB, o Options, stack ...Filter) *Installation {
	t.Helper()
	var trees []*split.Tree
	for _, f := range stack {
		trees = append(trees, split.Split(f.Verified))
	}
	pre, err := prefilter.Build(trees, prefilter.Options{Observe: o.Observe})
	if err != nil {
		t.Fatal(err)
	}
	in, err := New(stack, pre, o)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func call(nr int32, c *caller) *Call {
	return &Call{Data: abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64}, Caller: c}
}

func TestVerdictsBecomeDecisions(t *testing.T) {
	in := install(t, Options{}, "dynamic-verdicts")
	for i, want := range []Decision{
		Errno(1), Kill(), Continue(Proof{registers: true}), Continue(Proof{registers: true}),
		Errno(0), Errno(4095), Kill(), Errno(38),
	} {
		if got := in.Decide(call(nowhere+int32(i), &caller{})); got != want {
			t.Errorf("call %d: %+v, want %+v", nowhere+i, got, want)
		}
	}
	for _, v := range []abi.Verdict{abi.Trap, abi.Trace, abi.KillThread} {
		if new(Call).decision(v) != Kill() {
			t.Errorf("%v, which a notification cannot deliver, does not kill", v)
		}
	}
}

// Every filter of a stack runs each time, and the strictest verdict counts,
// whichever end of the stack it comes from.
func TestStack(t *testing.T) {
	for _, names := range [][]string{{"stack-a", "stack-b"}, {"stack-b", "stack-a"}} {
		var c collector
		in := install(t, Options{Observe: prefilter.ObserveDenials, Events: &c}, names...)
		last := map[string]uint16{"stack-a": 1, "stack-b": 13}[names[1]] // of equal actions the newest wins
		for i, want := range []Decision{Continue(Proof{registers: true}), Errno(13), Errno(last), Errno(last)} {
			if got := in.Decide(call(getppid, &caller{})); got != want {
				t.Errorf("%v, call %d: %+v, want %+v", names, i, got, want)
			}
		}
		if len(c) != 4 || c[0].Program != "stack-b" || c[0].Verdict != abi.Log || c[1].Program != "stack-b" || c[2].Program != names[1] {
			t.Errorf("%v: events %v", names, c)
		}
	}
}

func TestEventSaysWhoDecidedAndWhere(t *testing.T) {
	var c collector
	in := install(t, Options{Observe: prefilter.ObserveDenials, Events: &c}, "dynamic-verdicts")
	in.Decide(call(nowhere, &caller{}))
	in.Decide(call(nowhere+3, &caller{}))
	if len(c) != 1 {
		t.Fatalf("%d events of one denial and one ALLOW", len(c))
	}
	e := c[0]
	if e.Filter != "hash of dynamic-verdicts" || e.Program != "dynamic-verdicts" || e.Insn < 0 ||
		!strings.Contains(e.Line, "conformance.c:") || e.Engine != "agent" || e.Leaf != event.LeafNotify ||
		e.Pid != 7 || e.Tid != 8 || e.Comm != "me" || e.Call.Nr != nowhere || e.Verdict != abi.Errno(1) {
		t.Errorf("%+v", e)
	}
}

func TestObservation(t *testing.T) {
	for _, c := range []struct {
		observe prefilter.Observe
		filter  string
		nr      int32
		leaf    event.Leaf
		events  int
		want    Decision
	}{
		{prefilter.ObserveNone, "dynamic-verdicts", nowhere, "", 0, Errno(1)},
		{prefilter.ObserveNone, "dynamic-verdicts", nowhere + 2, event.LeafNotify, 1, Continue(Proof{registers: true})}, // LOG
		{prefilter.ObserveDenials, "static-verdicts", nowhere, event.LeafStatic, 1, Errno(1)},
		{prefilter.ObserveDenials, "static-verdicts", nowhere + 3, "", 0, Continue(Proof{registers: true})},
		{prefilter.ObserveAll, "static-verdicts", nowhere + 3, event.LeafStatic, 1, Continue(Proof{registers: true})},
		{prefilter.ObserveAll, "dynamic-verdicts", nowhere + 3, event.LeafNotify, 1, Continue(Proof{registers: true})},
		{prefilter.ObservePermissive, "static-verdicts", nowhere, event.LeafStatic, 1, Continue(Proof{registers: true})},
		{prefilter.ObservePermissive, "dynamic-verdicts", nowhere + 1, event.LeafNotify, 1, Continue(Proof{registers: true})},
		// Calls the kernel would not have asked about: the prefilter's word counts.
		{prefilter.ObserveNone, "static-verdicts", nowhere, "", 0, Errno(1)},
		{prefilter.ObserveNone, "static-verdicts", nowhere + 8, "", 0, Kill()},
		{prefilter.ObservePermissive, "static-verdicts", 425, event.LeafGuard, 1, Errno(38)},
	} {
		var got collector
		in := install(t, Options{Observe: c.observe, Events: &got}, c.filter)
		if d := in.Decide(call(c.nr, &caller{})); d != c.want {
			t.Errorf("%s, observe %d, call %d: %+v, want %+v", c.filter, c.observe, c.nr, d, c.want)
		}
		if len(got) != c.events || len(got) > 0 && got[0].Leaf != c.leaf {
			t.Errorf("%s, observe %d, call %d: events %v", c.filter, c.observe, c.nr, got)
		}
	}
}

func TestCallerThatCannotBeFoundOut(t *testing.T) {
	var c collector
	in := install(t, Options{Observe: prefilter.ObservePermissive, Events: &c}, "process-count")
	cause := errors.New("no /proc")
	if got := in.Decide(call(getppid, &caller{err: cause})); got != Kill() {
		t.Errorf("%+v: expected a kill, whatever the filter said of nobody", got)
	}
	if len(c) != 1 || c[0].Text != "no /proc" || c[0].Verdict != abi.KillProcess {
		t.Errorf("events %v", c)
	}
}

// died is the error of a caller that is no more.
type died struct{ error }

func (died) Gone() bool { return true }

func TestCallerThatDied(t *testing.T) {
	var c collector
	in := install(t, Options{Observe: prefilter.ObserveAll, Events: &c}, "process-count")
	if got := in.Decide(call(getppid, &caller{err: died{errors.New("gone")}})); got != Kill() {
		t.Errorf("%+v: expected a kill", got)
	}
	if len(c) != 0 {
		t.Errorf("events %v: nothing was denied", c)
	}
}

func TestStorageEndsWithItsProcess(t *testing.T) {
	in := install(t, Options{}, "process-count")
	count := func(c *caller) (n int) {
		for in.Decide(call(getppid, c)) == Continue(Proof{registers: true}) {
			n++
		}
		return n
	}
	if n := count(&caller{process: 1}); n != 3 {
		t.Errorf("process 1 was let through %d times, want 3", n)
	}
	if n := count(&caller{process: 2}); n != 3 {
		t.Errorf("process 2 was let through %d times, want 3", n)
	}
	// Found dead while another is decided about: that decision goes on.
	in.Decide(call(getppid, &caller{process: 3, asked: func() { in.ForgetProcess(1); in.ForgetThread(1) }}))
	if n := count(&caller{process: 1}); n != 3 {
		t.Errorf("a key that was forgotten was let through %d times, want 3", n)
	}
	if n := count(&caller{process: 2}); n != 0 {
		t.Errorf("process 2 was let through %d times more", n)
	}
}

func TestPrintsBecomeEvents(t *testing.T) {
	var c collector
	in := install(t, Options{Events: &c}, "print")
	in.Decide(call(getppid, &caller{}))
	if len(c) != 1 || c[0].Kind != event.KindPrint || c[0].Text != "getppid 110 fedcba9876543210" || c[0].Program != "print" {
		t.Errorf("events %v", c)
	}
}

func TestRecordsBecomeEvents(t *testing.T) {
	var c collector
	in := install(t, Options{Observe: prefilter.ObserveAll, Events: &c}, "print", "ring")
	in.Decide(call(getppid, &caller{}))
	var kinds []event.Kind
	for _, e := range c {
		kinds = append(kinds, e.Kind)
	}
	if d := cmp.Diff([]event.Kind{event.KindPrint, event.KindRecord, event.KindVerdict}, kinds); d != "" {
		t.Fatal(d)
	}
	const want = `ring recorded in ring at getppid by me[7]: pattern="1234605616436508552" nr=110 text="reported"`
	if got := c[1].String(); got != want || c[1].Filter != "hash of ring" || c[1].Tid != 8 {
		t.Errorf("%+v is %s, want %s", c[1], got, want)
	}
}

// TestRingIsEmptiedByEachDecision: otherwise reserving would fail at the 128th.
func TestRingIsEmptiedByEachDecision(t *testing.T) {
	for _, o := range []Options{{}, {Events: &collector{}}} {
		in := install(t, o, "ring")
		for i := 0; i < 300; i++ {
			if got := in.Decide(call(getppid, &caller{})); got != Continue(Proof{registers: true}) {
				t.Fatalf("decision %d: %+v", i, got)
			}
		}
		if c, ok := o.Events.(*collector); ok && len(*c) != 300 {
			t.Errorf("%d events of 300 records", len(*c))
		}
	}
}

// TestFullRingIsReported: two records of 2000 bytes fit, three do not, whatever
// came before, and the filter need not say so itself.
func TestFullRingIsReported(t *testing.T) {
	const three = `
	map records RINGBUF key 0 value 0 entries 4096
	r6 = 3
	again:
	r1 = map[records]
	r2 = 2000
	r3 = 0
	call bpf_ringbuf_reserve
	if r0 == 0 goto full
	r1 = r0
	r2 = 0
	call bpf_ringbuf_submit
	full:
	r6 += -1
	if r6 != 0 goto again
	r0 = 0x7fff0000
	exit`
	p, err := bpfasm.Assemble("three", three)
	if err != nil {
		t.Fatal(err)
	}
	var c collector
	in := installFilters(t, Options{Events: &c}, filterOf(t, p))
	for i := 0; i < 3; i++ {
		c = c[:0]
		if got := in.Decide(call(getppid, &caller{})); got != Continue(Proof{registers: true}) {
			t.Errorf("%+v: expected the filter's word", got)
		}
		if len(c) != 3 || c[0].Kind != event.KindRecord || c[1].Kind != event.KindRecord {
			t.Fatalf("events %v: expected two records and a loss", c)
		}
		if e := c[2]; e.Kind != event.KindLost || e.Lost != 1 || e.Map != "records" || e.Program != "three" || e.Pid != 7 {
			t.Errorf("%+v: expected one lost record", e)
		}
	}
	in = installFilters(t, Options{}, filterOf(t, p))
	if n := testing.AllocsPerRun(100, func() { in.Decide(call(getppid, &caller{})) }); n > 2 { // call's
		t.Errorf("%v allocations where nobody asked for events", n)
	}
}

// TestRecordOfACallerThatIsGone: what is told of a record decides nothing.
func TestRecordOfACallerThatIsGone(t *testing.T) {
	var c collector
	in := install(t, Options{Events: &c}, "ring")
	gone := &Call{Data: abi.SeccompData{Nr: getppid, Arch: abi.ArchX86_64}, Caller: &lateFailure{&caller{}}}
	if got := in.Decide(gone); got != Continue(Proof{registers: true}) {
		t.Errorf("%+v: expected the filter's word", got)
	}
	if len(c) != 1 || c[0].Kind != event.KindRecord {
		t.Errorf("events %v", c)
	}
}

// lateFailure is a caller that has an error once its name was asked for.
type lateFailure struct{ *caller }

func (l *lateFailure) Comm() [16]byte {
	l.err = errors.New("no /proc")
	return [16]byte{}
}

func TestDecisionsAllocateNothing(t *testing.T) {
	for _, name := range []string{"global-count", "process-count", "locked-count", "ring"} {
		in := install(t, Options{}, name)
		c := call(getppid, &caller{process: 1})
		in.Decide(c)
		if n := testing.AllocsPerRun(100, func() { in.Decide(c) }); n != 0 {
			t.Errorf("%s: %v allocations a decision", name, n)
		}
	}
}

func TestUnsupportedMapNamesItsFilter(t *testing.T) {
	f := program(t, "hash-count")
	f.Verified.Program().Maps[0].MaxEntries = 1 << 31
	_, err := New([]Filter{f}, nil, Options{})
	if err == nil || !strings.Contains(err.Error(), "hash-count") {
		t.Errorf("a map beyond all limits: %v", err)
	}
}

// pins is a traced caller's, of which something was pinned if it is not empty.
type pins string

func (p pins) Empty() bool { return p == "" }

// A tracer can carry out what a notification cannot, and is told what proof there is.
func TestTracedDecisions(t *testing.T) {
	for _, c := range []struct {
		verdict abi.Verdict
		pins    pins
		want    Decision
	}{
		{abi.Allow, "", Decision{act: ActContinue}},
		{abi.Log, "path", Decision{act: ActPinned}},
		{abi.Allow, "path", Decision{act: ActPinned}},
		{abi.Errno(2), "path", Errno(2)},
		{abi.Trap | 7, "", Decision{ActTrap, 7}},
		{abi.KillThread, "", Decision{act: ActKillThread}},
		{abi.KillProcess, "path", Kill()},
		{abi.Trace | 3, "path", Errno(enosys)},
		{abi.UserNotif, "", Errno(enosys)},
		{0x12340000, "", Kill()},
	} {
		if got := (&Call{Pins: c.pins}).decision(c.verdict); got != c.want {
			t.Errorf("%v with %q pinned: %+v, want %+v", c.verdict, c.pins, got, c.want)
		}
	}
	if Pinned(Proof{registers: true}) != Kill() {
		t.Error("without a proof a call is pinned")
	}
}

// A call that comes by another way than its leaf's is not let through, not even where
// denials are only to be seen.
func TestStray(t *testing.T) {
	for _, o := range []Options{{}, {Observe: prefilter.ObservePermissive}} {
		in := install(t, o, "pinned", "static-verdicts")
		notified := call(syscall.SYS_OPENAT, &caller{})
		if got := in.Decide(notified); got != Kill() {
			t.Errorf("%v: a notification of a trace leaf: %+v", o.Observe, got)
		}
		stopped := call(getppid, &caller{})
		stopped.Pins = pins("")
		if got := in.Decide(stopped); got != Errno(enosys) {
			t.Errorf("%v: a stop with a static leaf: %+v", o.Observe, got)
		}
		in = install(t, o, "global-count")
		if got := in.Decide(stopped); got != Kill() {
			t.Errorf("%v: a stop with a notify leaf: %+v", o.Observe, got)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	in := install(b, Options{}, "global-count")
	c := call(getppid, &caller{})
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		in.Decide(c)
	}
}
