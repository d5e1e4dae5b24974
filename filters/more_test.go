package filters_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand"
	"reflect"
	"strings"
	"testing"

	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

func TestOnlyStateIsDynamicInMore(t *testing.T) {
	for _, c := range []struct {
		want string
		name string
		set  []string
	}{
		{"clone clone3 fork vfork", "rate", nil},
		{"clone clone3 fork vfork", "rate", []string{"per_process=true"}},
		{"connect", "rate", []string{"calls=connect"}},
		{"execve execveat listen", "once", nil},
		{"open read write", "once", []string{"calls=open,read", "mark=read,write", "after=true"}},
		{"", "once", []string{"calls=", "mark="}},
		{"accept accept4 bind execve execveat listen process_vm_writev ptrace", "flow", nil},
		{"read", "flow", []string{"calls=read"}},
		{"socket", "cache", nil},
		{"execve getpid", "audit", []string{"calls=execve,getpid"}},
		{"prctl", "cache", []string{"calls=prctl"}},
	} {
		if got := builtin(t, c.name, c.set...).dynamic(); got != c.want {
			t.Errorf("%s %v: dynamic are %q, want %q", c.name, c.set, got, c.want)
		}
	}
}

func TestOnce(t *testing.T) {
	builtin(t, "once").want("execve ALLOW", "socket ALLOW", "execveat ALLOW", "listen ALLOW",
		"execve ERRNO(1)", "listen ALLOW", "execveat ERRNO(1)", "socket ALLOW")
	builtin(t, "once", "calls=read,write", "mark=open,pause", "after=true").want(
		"read ERRNO(1)", "close ALLOW", "pause ALLOW", "read ALLOW", "open ALLOW", "write ALLOW")
	// In both sets: the mark is the call, and only one is made.
	builtin(t, "once", "calls=setns,unshare", "mark=setns,unshare").want(
		"unshare ALLOW", "unshare ERRNO(1)", "setns ERRNO(1)", "read ALLOW")
	// A denied call opens no way for itself.
	builtin(t, "once", "calls=setns,unshare", "mark=setns,read", "after=true").want(
		"setns ERRNO(1)", "setns ERRNO(1)", "unshare ERRNO(1)", "read ALLOW", "setns ALLOW", "unshare ALLOW")
}

func TestFlow(t *testing.T) {
	builtin(t, "flow").want("execve ALLOW", "execveat ALLOW", "execve ALLOW", "ptrace ERRNO(1)", "socket ALLOW",
		"bind ALLOW", "read ALLOW", "listen ALLOW", "accept ALLOW", "execve ERRNO(1)", "execveat ERRNO(1)", "accept4 ALLOW",
		"bind ALLOW", "execve ERRNO(1)", "process_vm_writev ERRNO(1)", "listen ALLOW", "execve ERRNO(1)", "connect ALLOW")
	builtin(t, "flow", "calls=connect,execve,execveat", "from=-1,-1,execve,execve,connect",
		"to=execve,connect,execve,connect,connect").want("execve ALLOW", "execveat ERRNO(1)", "connect ALLOW",
		"execve ERRNO(1)", "connect ALLOW", "ptrace ALLOW")
	builtin(t, "flow", "calls=read,write", "from=-1,read,write", "to=read,write,read").want(
		"write ERRNO(1)", "read ALLOW", "read ERRNO(1)", "write ALLOW", "write ERRNO(1)", "close ALLOW", "read ALLOW")
}

// TestFlowCountsWholePairs: an edge of which one end is missing leads nowhere,
// and least of all to read, whose number is 0.
func TestFlowCountsWholePairs(t *testing.T) {
	for _, set := range [][]string{
		{"from=-1,write", "to=write"}, {"from=-1", "to=write,read"}, {"from=-1,write,-1", "to=write"},
	} {
		builtin(t, "flow", append(set, "calls=read,write")...).want("read ERRNO(1)", "write ALLOW", "read ERRNO(1)", "write ERRNO(1)")
	}
	builtin(t, "flow", "calls=read", "from=", "to=").want("read ERRNO(1)")
	builtin(t, "flow", "calls=read", "from=-1", "to=read", "to_len=4000", "from_len=4000").want("read ALLOW")
}

// TestFlowDefaultLeadsNowhere: whatever a thread calls after it has bound, no
// path leads to a program.
func TestFlowDefaultLeadsNowhere(t *testing.T) {
	calls := strings.Fields("bind listen accept accept4 execve execveat ptrace process_vm_writev socket connect")
	rnd := rand.New(rand.NewSource(1))
	f := builtin(t, "flow")
	f.want("execve ALLOW", "bind ALLOW")
	for i := 0; i < 1000; i++ {
		switch name := calls[rnd.Intn(len(calls))]; name {
		case "execve", "execveat", "ptrace", "process_vm_writev":
			f.want(name + " ERRNO(1)")
		default:
			f.want(name + " ALLOW")
		}
	}
}

// TestFlowIsOfAThread: what one does says nothing of another.
func TestFlowIsOfAThread(t *testing.T) {
	f := builtin(t, "flow", "calls=read,write", "from=-1,read", "to=read,write")
	one, two := &task{process: 7, thread: 7}, &task{process: 7, thread: 8}
	for i, c := range []struct {
		who  *task
		nr   int32
		want abi.Verdict
	}{
		{one, 0, abi.Allow},
		{two, 1, abi.Errno(1)},
		{two, 0, abi.Allow},
		{one, 1, abi.Allow},
		{one, 0, abi.Errno(1)},
		{two, 1, abi.Allow},
	} {
		if got := f.ask(c.who, abi.ArchX86_64, c.nr); got != c.want {
			t.Errorf("%d: call %d of thread %d: %v, want %v", i, c.nr, c.who.thread, got, c.want)
		}
	}
}

// TestFlowAgainstModel walks random graphs, of as many edges as there is room for.
func TestFlowAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < 8; i++ {
		edges := map[[2]int]bool{}
		var from, to []string
		for len(from) < 128 {
			e := [2]int{rnd.Intn(20) - 1, rnd.Intn(20)}
			edges[e] = true
			from, to = append(from, fmt.Sprint(e[0])), append(to, fmt.Sprint(e[1]))
		}
		f := builtin(t, "flow", "calls=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19",
			"from="+strings.Join(from, ","), "to="+strings.Join(to, ","))
		last := -1
		for j := 0; j < 200; j++ {
			nr, want := rnd.Intn(20), abi.Errno(1)
			if edges[[2]int{last, nr}] {
				last, want = nr, abi.Allow
			}
			if got := f.ask(&task{process: 1, thread: 1}, abi.ArchX86_64, int32(nr)); got != want {
				t.Fatalf("graph %d, step %d to %d: %v, want %v", i, j, nr, got, want)
			}
		}
	}
}

func TestRate(t *testing.T) {
	const second = 1_000_000_000
	f := builtin(t, "rate", "calls=read", "burst=2", "per_second=4")
	for i, c := range []struct {
		now  uint64
		want abi.Verdict
	}{
		{5 * second, abi.Allow},
		{5 * second, abi.Allow},
		{5 * second, abi.Errno(11)},
		{5*second + second/4 - 1, abi.Errno(11)},
		{5*second + second/4, abi.Allow},
		{5*second + second/4, abi.Errno(11)},
		{5 * second, abi.Errno(11)}, // asked earlier, evaluated later
		{5*second + second/2, abi.Allow},
		{60 * second, abi.Allow},
		{60 * second, abi.Allow},
		{60 * second, abi.Errno(11)},
	} {
		// The clock of task moves on by one with each question.
		if got := f.ask(&task{now: c.now - 1}, abi.ArchX86_64, 0); got != c.want {
			t.Errorf("%d: at %d: %v, want %v", i, c.now, got, c.want)
		}
	}
	builtin(t, "rate", "calls=read", "burst=0").want("read ERRNO(11)", "write ALLOW", "read ERRNO(11)")
	builtin(t, "rate", "calls=read", "burst=1", "per_second=0", "error=1").want("read ALLOW", "read ERRNO(1)", "read ERRNO(1)")
}

// TestRateOfProcesses gives every process a bucket, which its threads share.
func TestRateOfProcesses(t *testing.T) {
	for set, want := range map[string]string{"true": "A A A E E A A E", "false": "A A E E E E E E"} {
		f := builtin(t, "rate", "calls=read", "burst=2", "per_second=0", "per_process="+set)
		var got []string
		for _, who := range [][2]uint64{{1, 1}, {1, 2}, {2, 1}, {1, 3}, {1, 1}, {2, 2}, {3, 1}, {2, 3}} {
			got = append(got, f.ask(&task{process: who[0], thread: who[1]}, abi.ArchX86_64, 0).String()[:1])
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("per_process=%s: %s, want %s", set, s, want)
		}
	}
}

// TestRateAgainstModel compares with arithmetic that knows no overflow, for the
// smallest and the largest numbers.
func TestRateAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	large := func() uint64 { return rnd.Uint64() >> rnd.Intn(64) }
	for i := 0; i < 100; i++ {
		burst, gain := uint32(large()), uint32(large())
		f := builtin(t, "rate", "calls=read", fmt.Sprint("burst=", burst), fmt.Sprint("per_second=", gain))
		model := &bucketModel{burst: burst, gain: gain}
		for j := 0; j < 200; j++ {
			now := model.seen.Uint64() + large()
			if rnd.Intn(2) == 0 {
				now = model.seen.Uint64() + large()>>34
			}
			if now == 0 {
				now = 1
			}
			want := model.take(now)
			if got := f.ask(&task{now: now - 1}, abi.ArchX86_64, 0); got != want {
				t.Fatalf("burst %d, %d a second, call %d at %d: %v, want %v", burst, gain, j, now, got, want)
			}
		}
	}
}

// bucketModel is a bucket with numbers of any size.
type bucketModel struct {
	burst, gain uint32
	taken, seen big.Int
}

func (m *bucketModel) take(now uint64) abi.Verdict {
	token := big.NewInt(1_000_000_000)
	full := new(big.Int).Mul(big.NewInt(int64(m.burst)), token)
	at := new(big.Int).SetUint64(now)
	if at.Cmp(&m.seen) > 0 {
		gained := new(big.Int).Sub(at, &m.seen)
		m.taken.Sub(&m.taken, gained.Mul(gained, big.NewInt(int64(m.gain))))
		if m.taken.Sign() < 0 {
			m.taken.SetInt64(0)
		}
		m.seen.Set(at)
	}
	after := new(big.Int).Add(&m.taken, token)
	if after.Cmp(full) > 0 {
		return abi.Errno(11)
	}
	m.taken.Set(after)
	return abi.Allow
}

func TestCache(t *testing.T) {
	const socket, flags = 41, 0x80800
	for _, remember := range []string{"remember=true", "remember=false"} {
		f := builtin(t, "cache", remember)
		for i, c := range []struct {
			args [4]uint64
			want abi.Verdict
		}{
			{[4]uint64{1, 1, 0, 9}, abi.Allow},
			{[4]uint64{2, 1 | flags, 6, 8}, abi.Allow},
			{[4]uint64{1, 1, 0, 7}, abi.Allow},
			{[4]uint64{2, 3, 1}, abi.Errno(1)},
			{[4]uint64{2, 2, 6}, abi.Errno(1)},
			{[4]uint64{17, 3, 0}, abi.Errno(1)},
			{[4]uint64{16, 3, 0}, abi.Allow},
			{[4]uint64{16, 3, 4}, abi.Errno(1)},
			{[4]uint64{1 << 32, 1, 0}, abi.Errno(1)},
			{[4]uint64{10, 2, 17}, abi.Allow},
			{[4]uint64{10, 2, 17 + 1<<32}, abi.Errno(1)},
			{[4]uint64{}, abi.Errno(1)},
		} {
			for n := 0; n < 2; n++ {
				if got := f.ask(&task{}, abi.ArchX86_64, socket, c.args[:]...); got != c.want {
					t.Errorf("%s, %d, time %d: socket%v: %v, want %v", remember, i, n+1, c.args, got, c.want)
				}
			}
		}
		if got := f.ask(&task{}, abi.ArchX86_64, 53, 2, 3, 1); got != abi.Allow {
			t.Errorf("socketpair, which is not in the set: %v", got)
		}
	}
}

// TestCacheForgets asks more than is remembered, over and over: verdicts stay.
func TestCacheForgets(t *testing.T) {
	f := builtin(t, "cache", "calls=read,write", "call=read,write", "arg0=0,7", "arg1=0", "arg2=0", "ignore0=0xffff", "ignore1=0")
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < 5000; i++ {
		nr, arg := int32(rnd.Intn(2)), uint64(rnd.Intn(3000))
		want := abi.Errno(1)
		if nr == 0 || arg == 7 {
			want = abi.Allow
		}
		if got := f.ask(&task{}, abi.ArchX86_64, nr, arg); got != want {
			t.Fatalf("%d: call %d of %d: %v, want %v", i, nr, arg, got, want)
		}
	}
}

// TestCacheRemembers looks for what was let through in the map, and puts there
// what the list would not let through: it is let through unsearched.
func TestCacheRemembers(t *testing.T) {
	for _, remember := range []bool{true, false} {
		m, set := machine(t, "cache", fmt.Sprint("remember=", remember))
		answered := only(t, set, prog.LRUHash)
		ask := func(family uint64) abi.Verdict {
			return abi.Verdict(m.Run(&task{}, &abi.SeccompData{Nr: 41, Arch: abi.ArchX86_64, Args: [6]uint64{family, 1}}).Ret)
		}
		key := func(family uint64) []byte {
			var k bytes.Buffer
			binary.Write(&k, binary.LittleEndian, [4]uint64{41, family, 1})
			return k.Bytes()
		}
		for _, family := range []uint64{1, 2, 40} {
			ask(family)
			if _, there := answered.Lookup(key(family)); there != (remember && family != 40) {
				t.Errorf("remember=%v: family %d is in the map: %v", remember, family, there)
			}
		}
		if e := answered.Update(key(40), []byte{1}, maps.Any); e != maps.OK {
			t.Fatal(e)
		}
		if got := ask(40); (got == abi.Allow) != remember {
			t.Errorf("remember=%v: what is in the map got %v", remember, got)
		}
	}
}

// only is the map of a type in a set.
func only(t *testing.T, set maps.Set, of prog.MapType) maps.Map {
	t.Helper()
	for spec, m := range set {
		if spec.Type == of {
			return m
		}
	}
	t.Fatalf("no %v", of)
	return nil
}

// TestDenialsNameTheirLines wants each denial explained by a line of its own.
func TestDenialsNameTheirLines(t *testing.T) {
	for _, c := range []struct {
		filter []string
		calls  string // the last is denied
		want   string
	}{
		{[]string{"rate", "burst=1"}, "fork fork", "DENY_WITH(error);"},
		{[]string{"rate", "burst=1", "per_process=true"}, "fork fork", "DENY_WITH(error);"},
		{[]string{"once"}, "listen execve", "PORTCULLIS_DENY(EPERM); /* after the mark */"},
		{[]string{"once", "after=true"}, "execve", "PORTCULLIS_DENY(EPERM); /* before the mark */"},
		{[]string{"flow"}, "execve ptrace", "PORTCULLIS_DENY(EPERM); /* no edge */"},
		{[]string{"cache"}, "socket", "PORTCULLIS_DENY(EPERM); /* not listed */"},
	} {
		p := program(t, c.filter[0], c.filter[1:]...)
		m, _ := ask(t, p)
		var r interp.Result
		for _, name := range strings.Fields(c.calls) {
			r = m.Run(&task{}, &abi.SeccompData{Nr: int32(number(t, name)), Arch: abi.ArchX86_64})
		}
		if got := sourceOf(t, c.filter[0], p.LineOf(r.PC)); got != c.want || abi.Verdict(r.Ret) == abi.Allow {
			t.Errorf("%v, %s: %v by %q, want %q", c.filter, c.calls, abi.Verdict(r.Ret), got, c.want)
		}
	}
}

// sourceOf is a line of a filter's source.
func sourceOf(t *testing.T, name string, l prog.Line) string {
	t.Helper()
	text, _ := filters.Source(name)
	lines := strings.Split(string(text), "\n")
	if l.File != "filters/"+name+"/"+name+".c" || l.Line < 1 || l.Line > len(lines) {
		return l.String()
	}
	return strings.TrimSpace(lines[l.Line-1])
}

// record is struct audited of the filter audit.
type record struct {
	Time, Lost         uint64
	Pid, Tid, Uid, Gid uint32
	Arch               abi.Arch
	Nr                 int32
	Args               [6]uint64
}

// TestAudit reads the records of calls of the set and of other tables.
func TestAudit(t *testing.T) {
	m, set := machine(t, "audit", "calls=read,execve")
	who := &task{process: 7, thread: 8, now: 99}
	for _, d := range []abi.SeccompData{
		{Nr: 59, Arch: abi.ArchX86_64, Args: [6]uint64{1, 2, 3, 4, 5, 1<<64 - 1}},
		{Nr: 1, Arch: abi.ArchX86_64},
		{Nr: 0, Arch: abi.ArchX86_64},
		{Nr: -1, Arch: abi.ArchX86_64},
		{Nr: 200, Arch: abi.ArchI386},
		{Nr: abi.X32Bit | 1, Arch: abi.ArchX86_64},
	} {
		d := d
		if r := m.Run(who, &d); r.Fault != nil || abi.Verdict(r.Ret) != abi.Allow {
			t.Errorf("call %d: %v, fault %v: want ALLOW", d.Nr, abi.Verdict(r.Ret), r.Fault)
		}
	}
	want := []record{
		{Nr: 59, Arch: abi.ArchX86_64, Args: [6]uint64{1, 2, 3, 4, 5, 1<<64 - 1}},
		{Nr: 0, Arch: abi.ArchX86_64},
		{Nr: 200, Arch: abi.ArchI386},
		{Nr: abi.X32Bit | 1, Arch: abi.ArchX86_64},
	}
	for i := range want {
		w := &want[i]
		w.Time, w.Pid, w.Tid, w.Uid, w.Gid = uint64(100+i), 7, 8, 1000, 100
	}
	if got := drain(t, set); !reflect.DeepEqual(got, want) {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
}

// TestAuditLoses fills the ring: calls go on, and what is lost is counted.
func TestAuditLoses(t *testing.T) {
	m, set := machine(t, "audit", "calls=read")
	d := &abi.SeccompData{Arch: abi.ArchX86_64}
	for i := 0; i < 5000; i++ {
		if r := m.Run(&task{}, d); r.Fault != nil || abi.Verdict(r.Ret) != abi.Allow {
			t.Fatalf("call %d: %v, fault %v: want ALLOW", i, abi.Verdict(r.Ret), r.Fault)
		}
	}
	n := len(drain(t, set))
	m.Run(&task{}, d)
	if got := drain(t, set); len(got) != 1 || got[0].Lost != uint64(5000-n) || n < 2000 {
		t.Errorf("after %d records of 5000: %+v: want one that counts the lost", n, got)
	}
}

// drain takes the records from the only ring of a set.
func drain(t *testing.T, set maps.Set) (all []record) {
	t.Helper()
	for _, ring := range set.Rings() {
		ring.Drain(func(data []byte) {
			var r record
			if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, &r); err != nil || len(data) != binary.Size(r) {
				t.Errorf("a record of %d bytes: %v: want %d", len(data), err, binary.Size(r))
			}
			all = append(all, r)
		})
	}
	return all
}

// BenchmarkCache decides about the last entry of a list, with and without its
// being remembered.
func BenchmarkCache(b *testing.B) {
	for _, entries := range []int{16, 256} {
		for _, remember := range []bool{true, false} {
			b.Run(fmt.Sprintf("entries=%d/remember=%v", entries, remember), func(b *testing.B) {
				m, _ := machine(b, "cache", fmt.Sprint("remember=", remember), "calls=read",
					"call="+strings.TrimSuffix(strings.Repeat("read,", entries), ","), "arg0="+numbers(entries),
					"arg1=0", "arg2=0", "ignore1=0")
				decide(b, m, &abi.SeccompData{Nr: 0, Arch: abi.ArchX86_64, Args: [6]uint64{uint64(entries)}})
			})
		}
	}
}

// BenchmarkMore decides in the other filters.
func BenchmarkMore(b *testing.B) {
	for _, c := range [][]string{
		{"flow", "calls=read", "from=read", "to=read"},
		{"rate", "calls=read", "burst=4000000000", "per_second=4000000000"},
		{"rate", "calls=read", "burst=4000000000", "per_second=4000000000", "per_process=true"},
		{"once", "calls=read"},
	} {
		b.Run(strings.Join(c, " "), func(b *testing.B) {
			m, _ := machine(b, c[0], c[1:]...)
			decide(b, m, &abi.SeccompData{Nr: 0, Arch: abi.ArchX86_64})
		})
	}
}

// decide measures a decision.
func decide(b *testing.B, m *interp.Machine, d *abi.SeccompData) {
	b.Helper()
	who := &task{process: 1, thread: 1}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if r := m.Run(who, d); r.Fault != nil {
			b.Fatal(r.Fault)
		}
	}
}

// numbers is the list 1,2 up to n.
func numbers(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprint(i + 1)
	}
	return strings.Join(items, ",")
}

// machine readies a built-in filter.
func machine(tb testing.TB, name string, settings ...string) (*interp.Machine, maps.Set) {
	tb.Helper()
	return ask(tb, program(tb, name, settings...))
}

// program reads a built-in filter and sets its variables.
func program(tb testing.TB, name string, settings ...string) *prog.Program {
	tb.Helper()
	data, ok := filters.Object(name)
	if !ok {
		tb.Fatalf("no filter %s", name)
	}
	ps, err := object.Read(name, data)
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		if err := prog.Set(ps, k, v); err != nil {
			tb.Fatal(err)
		}
	}
	for _, p := range ps {
		if p.Name == name {
			return p
		}
	}
	tb.Fatalf("no program %s", name)
	return nil
}

// ask readies a program to be asked, with maps of its own.
func ask(tb testing.TB, p *prog.Program) (*interp.Machine, maps.Set) {
	tb.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	set := maps.Set{}
	for _, w := range v.Programs() {
		if err := set.Add(w.Program().Maps); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := interp.New(v, set)
	if err != nil {
		tb.Fatal(err)
	}
	return m, set
}
