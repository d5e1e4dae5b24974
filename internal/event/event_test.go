package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

func denial() Event {
	return Event{
		Kind: KindVerdict, Time: time.Unix(7, 9).UTC(), Filter: "ab12", Program: "count-exec",
		Insn: 12, Line: "count-exec.c:31", Source: "\treturn DENY;", Engine: "agent", Leaf: LeafNotify,
		Pid: 4711, Tid: 4712, Comm: "bash",
		Call:    Call{Nr: 59, Name: "execve", Arch: abi.ArchX86_64, Args: [6]uint64{1, 1<<64 - 1}},
		Verdict: abi.Errno(1),
	}
}

func TestString(t *testing.T) {
	guard := denial()
	guard.Leaf, guard.Program, guard.Verdict = LeafGuard, "io_uring", abi.Errno(38)
	hostile := denial()
	hostile.Comm, hostile.Line = "a\x1b[2Jb\n", ""
	odd := Event{Kind: KindVerdict, Insn: -1, Program: "p", Call: Call{Nr: -1, Arch: 7}, Verdict: abi.Verdict(1 << 16), Text: "fault"}
	for _, c := range []struct {
		name string
		e    Event
		want string
	}{
		{"denial", denial(), "execve(0x1, 0xffffffffffffffff, 0x0) by bash[4711]: ERRNO(1) EPERM from count-exec, count-exec.c:31 `return DENY;`"},
		{"guard", guard, "execve(0x1, 0xffffffffffffffff, 0x0) by bash[4711]: ERRNO(38) ENOSYS from the io_uring guard"},
		{"terminal escapes", hostile, "execve(0x1, 0xffffffffffffffff, 0x0) by a?[2Jb?[4711]: ERRNO(1) EPERM from count-exec, instruction 12"},
		{"unknown everything", odd, "call -1 (0x7)(0x0, 0x0, 0x0, 0x0, 0x0, 0x0): 0x00010000 from p (fault)"},
		{"record", recorded(), `audit recorded in opened at openat by sh[7]: path="/etc/pa\"\u009b" flags=3`},
		{
			"bytes",
			Event{Kind: KindRecord, Program: "p", Map: "m", Call: Call{Arch: abi.ArchX86_64}, Data: make([]byte, 65), Text: "the first 65 of 66 bytes"},
			"p recorded in m at call 0: 65 bytes " + strings.Repeat("00", 64) + "… (the first 65 of 66 bytes)",
		},
		{"print", Event{Kind: KindPrint, Program: "p", Text: "n=1"}, "p printed: n=1"},
		{"full ring", Event{Kind: KindLost, Program: "audit", Map: "opened", Lost: 2, Pid: 7, Comm: "sh", Call: Call{Name: "openat", Arch: abi.ArchX86_64}}, "2 records of audit were lost at openat by sh[7]: they found no room in opened"},
		{"lost", Event{Kind: KindLost, Lost: 3}, "3 events were lost: the reader is slower than the calls"},
	} {
		if got := c.e.String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// recorded is a record whose text a terminal would act upon.
func recorded() Event {
	r := &prog.Record{Fields: []prog.Var{
		{Name: "path", Offset: 4, Size: 1, Kind: prog.VarChar, Count: 0},
		{Name: "flags", Offset: 0, Size: 4, Kind: prog.VarUnsigned, Count: 1},
	}}
	data := []byte("\x03\x00\x00\x00/etc/pa\"\u009b\x00more")
	return Event{
		Kind: KindRecord, Program: "audit", Map: "opened", Insn: -1, Comm: "sh", Pid: 7,
		Call: Call{Nr: 257, Name: "openat", Arch: abi.ArchX86_64}, Data: data, Record: Fields(r, data),
	}
}

func TestFields(t *testing.T) {
	field := func(kind prog.VarKind, size, count int) prog.Var {
		return prog.Var{Name: "f", Offset: 1, Kind: kind, Size: size, Count: count}
	}
	ones := "\x00" + strings.Repeat("\xff", 8)
	for _, c := range []struct {
		v    prog.Var
		raw  string
		want string // "" for a field that is left out
	}{
		{field(prog.VarUnsigned, 4, 1), ones, "4294967295"},
		{field(prog.VarSigned, 4, 1), ones, "-1"},
		{field(prog.VarSigned, 1, 1), "\x00\x80", "-128"},
		{field(prog.VarUnsigned, 8, 1), ones, `"18446744073709551615"`},
		{field(prog.VarSigned, 8, 1), "\x00\x00\x00\x00\x00\x00\x00\x00\x80", `"-9223372036854775808"`},
		{field(prog.VarUnsigned, 8, 1), "\x00\x00\x00\x00\x00\x00\x00\x20\x00", "9007199254740992"},
		{field(prog.VarUnsigned, 4, 1), "\x00123", ""},
		{field(prog.VarUnsigned, 4, 1), "", ""},
		{field(prog.VarBool, 1, 1), "\x00\x01", "true"},
		{field(prog.VarBool, 1, 2), "\x00\x01\x00", "[true,false]"},
		{field(prog.VarUnsigned, 2, 3), "\x00\x01\x00\x02\x00\x03", "[1,2]"},
		{field(prog.VarUnsigned, 2, 2), "\x00", "[]"},
		{field(prog.VarUnsigned, 1, 4), "\x00\x01\xab\x02\x03\x04", `"01ab0203"`},
		{field(prog.VarChar, 1, 8), "\x00<&\n\x00x", `"<&\n"`},
		{field(prog.VarChar, 1, 1), "\x00A", "65"},
		{field(prog.VarChar, 1, 0), "\x00a\xffb", `"a\ufffdb"`},
		{field(prog.VarOther, 3, 1), "\x00abc", `"616263"`},
		{field(prog.VarOther, 0, 1), "\x00abc", ""},
	} {
		var got string
		if f := Fields(&prog.Record{Fields: []prog.Var{c.v}}, []byte(c.raw)); len(f) > 0 {
			got = string(f[0].Value)
		}
		if got != c.want {
			t.Errorf("%+v of %q: got %s, want %s", c.v, c.raw, got, c.want)
		}
	}
	if Fields(nil, []byte{1}) != nil {
		t.Error("a record without a type has fields")
	}
}

func TestRecordSchema(t *testing.T) {
	e := recorded()
	var buf bytes.Buffer
	if err := NewWriter(&buf).Write(&e); err != nil {
		t.Fatal(err)
	}
	want := `"map":"opened","data":"030000002f6574632f706122c29b006d6f7265","record":{"path":"/etc/pa\"\u009b","flags":3}}` + "\n"
	if !strings.HasSuffix(buf.String(), want) {
		t.Errorf("got %s, want it to end in %s", buf.String(), want)
	}
}

// TestLinesHoldNoControls attacks the promise that the reader's terminal is not
// written to, with what JSON need not escape: DEL, and U+009B, which begins a
// sequence as ESC [ does.
func TestLinesHoldNoControls(t *testing.T) {
	want := denial()
	want.Comm, want.Source = "a\u009b2Jb\x7f\x1b", "\u0080\u009f\u00a0é\x00"
	var buf bytes.Buffer
	if err := NewWriter(&buf).Write(&want); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(strings.TrimSuffix(buf.String(), "\n"), unicode.IsControl); i >= 0 {
		t.Errorf("%q: a control character at %d", buf.String(), i)
	}
	if got, err := NewReader(&buf).Read(); err != nil || got.Comm != want.Comm || got.Source != want.Source {
		t.Errorf("%q, %q, %v: expected what was written", got.Comm, got.Source, err)
	}
}

func TestParseVerdict(t *testing.T) {
	for text, want := range map[string]abi.Verdict{
		"ALLOW": abi.Allow, "ERRNO(1)": abi.Errno(1), "EPERM": abi.Errno(1), "ERRNO(1) EPERM": abi.Errno(1),
		"EHWPOISON": abi.Errno(133), "TRACE(7)": abi.Trace | 7, "0x7fff0000": abi.Allow, "ERRNO(134)": abi.Errno(134),
	} {
		if got, err := ParseVerdict(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "EPERMS", "ERRNO(1) EACCES", "ALLOW EPERM", "ERRNO(x)", "ALLOW ", "DENY"} {
		if got, err := ParseVerdict(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestSchema(t *testing.T) {
	raw, err := json.Marshal(denial())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"verdict","time":"1970-01-01T00:00:07.000000009Z","filter":"ab12","program":"count-exec",` +
		`"insn":12,"line":"count-exec.c:31","source":"\treturn DENY;","engine":"agent","leaf":"notify",` +
		`"pid":4711,"tid":4712,"comm":"bash","call":{"nr":59,"name":"execve","arch":"x86_64",` +
		`"args":["0x1","0xffffffffffffffff","0x0","0x0","0x0","0x0"]},"verdict":"ERRNO(1)"}`
	if string(raw) != want {
		t.Errorf("the schema changed:\n got %s\nwant %s", raw, want)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEvent(t)
		var buf bytes.Buffer
		if err := NewWriter(&buf).Write(&want); err != nil {
			t.Fatal(err)
		}
		got, err := NewReader(&buf).Read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func anyEvent(t *rapid.T) Event {
	e := Event{
		Kind: rapid.SampledFrom([]Kind{KindVerdict, KindRecord, KindPrint, KindLost, KindPermissive}).Draw(t, "kind"),
		Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0).UTC(),
		Text: rapid.String().Draw(t, "text"), Program: rapid.String().Draw(t, "program"),
		Pid: rapid.IntRange(0, 1<<22).Draw(t, "pid"), Insn: -1,
		Lost: rapid.Uint64().Draw(t, "lost"),
	}
	switch e.Kind {
	case KindPrint, KindPermissive:
		return e
	case KindLost:
		if e.Map = rapid.StringN(0, 8, -1).Draw(t, "map"); e.Map != "" {
			e.Call.Arch = abi.ArchX86_64
		}
		return e
	case KindRecord:
		e.Map, e.Data = rapid.String().Draw(t, "map"), rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		e.Record = Fields(recordType(), e.Data)
		e.Call.Arch = abi.ArchX86_64
		return e
	}
	e.Insn = rapid.IntRange(-1, 1<<20).Draw(t, "insn")
	e.Permitted = rapid.Bool().Draw(t, "permitted")
	// A verdict without meaning for its data loses none of it.
	e.Verdict = abi.Verdict(rapid.Uint32().Draw(t, "verdict"))
	if rapid.Bool().Draw(t, "known") {
		e.Verdict = rapid.SampledFrom([]abi.Verdict{abi.Allow, abi.KillThread, abi.KillProcess | 9, abi.Errno(65535), abi.Trap | 1}).Draw(t, "action")
	}
	e.Call.Nr = rapid.Int32().Draw(t, "nr")
	e.Call.Arch = rapid.SampledFrom([]abi.Arch{abi.ArchX86_64, abi.ArchI386, 0, 1<<32 - 1}).Draw(t, "arch")
	for i := range e.Call.Args {
		e.Call.Args[i] = rapid.Uint64().Draw(t, "arg")
	}
	return e
}

// recordType has a field of every form.
func recordType() *prog.Record {
	r := &prog.Record{}
	for kind := prog.VarOther; kind <= prog.VarChar; kind++ {
		for i, count := range []int{1, 3, 0} {
			name := strings.Repeat("<", int(kind)*3+i)
			r.Fields = append(r.Fields, prog.Var{Name: name, Offset: 2 * i, Size: 1 << i, Kind: kind, Count: count})
		}
	}
	return r
}

func TestReaderNamesTheLine(t *testing.T) {
	for _, bad := range []string{
		"{", `{"kind":"verdict"}`, `{"kind":"verdict","verdict":"MAYBE","call":{"arch":"i386"}}`,
		`{"kind":"verdict","verdict":"ALLOW","call":{"arch":"vax"}}`,
		`{"kind":"record","data":""}`, `{"kind":"record","data":"xy","call":{"arch":"i386"}}`,
		`{"kind":"record","data":"","record":[],"call":{"arch":"i386"}}`,
		`{"kind":"verdict","verdict":"ALLOW","call":{"arch":"i386","args":["one"]}}`,
		strings.Repeat("x", maxLine+1),
	} {
		r := NewReader(strings.NewReader("\n{\"kind\":\"lost\",\"lost\":1}\n" + bad))
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
		var syntax *SyntaxError
		if _, err := r.Read(); !errors.As(err, &syntax) || syntax.Line != 3 {
			t.Errorf("%.40q: got %v, want a syntax error in line 3", bad, err)
		}
	}
	if _, err := NewReader(strings.NewReader("\n")).Read(); err != io.EOF {
		t.Errorf("an empty stream: got %v, want io.EOF", err)
	}
}

func TestDenies(t *testing.T) {
	for v, want := range map[abi.Verdict]bool{
		abi.Allow: false, abi.Log: false, abi.Errno(0): true, abi.KillProcess: true,
		abi.KillThread: true, abi.Trap: true, abi.Verdict(1 << 16): true,
	} {
		e := Event{Kind: KindVerdict, Verdict: v}
		if e.Denies() != want {
			t.Errorf("%v denies: got %v", v, !want)
		}
		if e.Permitted = true; e.Denies() {
			t.Errorf("%v denies, though it was not enforced", v)
		}
	}
	if (&Event{Kind: KindPrint}).Denies() {
		t.Error("a printed line denies nothing, though its verdict is zero")
	}
}

func TestQueueCountsLosses(t *testing.T) {
	var got []Event
	first, free := make(chan struct{}), make(chan struct{})
	q := NewQueue(2, func(e *Event) {
		if len(got) == 0 {
			close(first)
			<-free
		}
		got = append(got, *e)
	})
	emit := func(pid int) { q.Emit(&Event{Kind: KindPrint, Pid: pid}) }
	emit(1)
	<-first // the consumer holds 1, so that 2 and 3 fill the queue
	for pid := 2; pid <= 6; pid++ {
		emit(pid)
	}
	close(free)
	q.Close()
	q.Close()
	var pids []int
	var lost uint64
	for _, e := range got {
		lost += e.Lost
		if e.Kind == KindPrint {
			pids = append(pids, e.Pid)
		}
	}
	if d := cmp.Diff([]int{1, 2, 3}, pids); d != "" || lost != 3 || q.Lost() != 3 {
		t.Errorf("lost %d (queue says %d), want 3; delivered %s", lost, q.Lost(), d)
	}
	emit(7)
	emit(8)
	emit(9) // after Close an emitter neither blocks nor panics
}

type broken struct{ writes int }

func (b *broken) Write([]byte) (int, error) { b.writes++; return 0, io.ErrClosedPipe }

func TestWriterStopsAtTheFirstError(t *testing.T) {
	b := &broken{}
	w := NewWriter(b)
	e := denial()
	for i := 0; i < 2; i++ {
		if err := w.Write(&e); err != io.ErrClosedPipe {
			t.Errorf("write %d: got %v", i, err)
		}
	}
	if b.writes != 1 {
		t.Errorf("%d writes after an error, want none", b.writes-1)
	}
}

func TestCallHasItsArguments(t *testing.T) {
	for want, c := range map[string]Call{
		"getppid()":                              {Nr: 110, Name: "getppid", Arch: abi.ArchX86_64},
		"close(0x3)":                             {Nr: 3, Name: "close", Arch: abi.ArchX86_64, Args: [6]uint64{3, 9}},
		"call 999(0x1, 0x0, 0x0, 0x0, 0x0, 0x0)": {Nr: 999, Arch: abi.ArchX86_64, Args: [6]uint64{1}},
		"call 110 (i386)(0x1, 0x0, 0x0, 0x0, 0x0, 0x0)": {Nr: 110, Arch: abi.ArchI386, Args: [6]uint64{1}},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
