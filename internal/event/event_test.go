package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"portcullis/internal/abi"
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
		{"denial", denial(), "execve(0x1, 0xffffffffffffffff, 0x0, 0x0, 0x0, 0x0) by bash[4711]: ERRNO(1) EPERM from count-exec, count-exec.c:31 `return DENY;`"},
		{"guard", guard, "execve(0x1, 0xffffffffffffffff, 0x0, 0x0, 0x0, 0x0) by bash[4711]: ERRNO(38) ENOSYS from the io_uring guard"},
		{"terminal escapes", hostile, "execve(0x1, 0xffffffffffffffff, 0x0, 0x0, 0x0, 0x0) by a?[2Jb?[4711]: ERRNO(1) EPERM from count-exec, instruction 12"},
		{"unknown everything", odd, "call -1 (0x7)(0x0, 0x0, 0x0, 0x0, 0x0, 0x0): 0x00010000 from p (fault)"},
		{"print", Event{Kind: KindPrint, Program: "p", Text: "n=1"}, "p printed: n=1"},
		{"lost", Event{Kind: KindLost, Lost: 3}, "3 events were lost: the reader is slower than the calls"},
	} {
		if got := c.e.String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestErrnoNames(t *testing.T) {
	for want, e := range map[string]syscall.Errno{
		"EPERM": syscall.EPERM, "ENOSYS": syscall.ENOSYS, "EBADE": syscall.EBADE,
		"EBFONT": syscall.EBFONT, "EOVERFLOW": syscall.EOVERFLOW, "EDQUOT": syscall.EDQUOT,
		"ERFKILL": syscall.ERFKILL, "ECONNREFUSED": syscall.ECONNREFUSED, "": 41,
	} {
		if got := errnoName(int(e)); got != want {
			t.Errorf("errno %d is named %q, want %q", int(e), got, want)
		}
	}
	if errnoName(133) != "EHWPOISON" || errnoName(134) != "" || errnoName(0) != "" {
		t.Error("the table does not end at 133")
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
		Kind: rapid.SampledFrom([]Kind{KindVerdict, KindPrint, KindLost}).Draw(t, "kind"),
		Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0).UTC(),
		Text: rapid.String().Draw(t, "text"), Program: rapid.String().Draw(t, "program"),
		Pid: rapid.IntRange(0, 1<<22).Draw(t, "pid"), Insn: -1,
		Lost: rapid.Uint64().Draw(t, "lost"),
	}
	if e.Kind != KindVerdict {
		return e
	}
	e.Insn = rapid.IntRange(-1, 1<<20).Draw(t, "insn")
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

func TestReaderNamesTheLine(t *testing.T) {
	for _, bad := range []string{
		"{", `{"kind":"verdict"}`, `{"kind":"verdict","verdict":"MAYBE","call":{"arch":"i386"}}`,
		`{"kind":"verdict","verdict":"ALLOW","call":{"arch":"vax"}}`,
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
