package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/internal/abi"
	"portcullis/internal/event"
)

func denial(name string, pid int) *event.Event {
	return &event.Event{
		Kind: event.KindVerdict, Program: "p", Insn: 3, Line: "p.c:9", Pid: pid, Comm: "sh",
		Call: event.Call{Name: name, Arch: abi.ArchX86_64}, Verdict: abi.Errno(1),
	}
}

func TestDigestExplainsEachKindOnce(t *testing.T) {
	var out strings.Builder
	d := newDigest(&out)
	allowed := denial("read", 1)
	allowed.Verdict = abi.Allow
	for _, e := range []*event.Event{
		denial("fork", 1), allowed, denial("fork", 2), denial("exec", 3), denial("fork", 4),
		{Kind: event.KindPrint, Program: "p", Text: "n=1"},
		{Kind: event.KindLost, Lost: 2},
		{Kind: event.KindRecord, Program: "p"},
		{Kind: event.KindRecord, Program: "p"},
		{Kind: event.KindLost, Lost: 1},
		{Kind: event.KindLost, Lost: 5, Program: "p", Map: "m"},
	} {
		d.add(e)
	}
	d.close()
	want := `portcullis: denied fork(0x0, 0x0, 0x0) by sh[1]: ERRNO(1) EPERM from p, p.c:9
portcullis: denied exec(0x0, 0x0, 0x0) by sh[3]: ERRNO(1) EPERM from p, p.c:9
portcullis: p printed: n=1
portcullis: denied fork 3 times: ERRNO(1) EPERM from p, p.c:9
portcullis: the filters recorded 2 records; --events FILE shows them
portcullis: 5 records found no room in the filters' ring buffers
portcullis: 3 events came too fast to be looked at
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDigestIsBounded(t *testing.T) {
	var out strings.Builder
	d := newDigest(&out)
	for i := 0; i < 10*maxKinds; i++ {
		d.add(denial("call"+strings.Repeat("x", i), 1))
	}
	d.close()
	if got := strings.Count(out.String(), "\n"); got != maxKinds+1 {
		t.Errorf("%d lines, want %d and one that counts the others", got, maxKinds)
	}
	if !strings.Contains(out.String(), "144 more denials of other kinds") || len(d.seen) != maxKinds {
		t.Errorf("%d kinds kept; output:\n%s", len(d.seen), out.String())
	}
}

func TestParseSetting(t *testing.T) {
	for text, want := range map[string]setting{
		"max=3":               {"", "max", "3"},
		"count-exec.max=3":    {"count-exec", "max", "3"},
		"name=a.b=c":          {"", "name", "a.b=c"},
		"f.name=":             {"f", "name", ""},
		"a.b.name=execve,1.5": {"a.b", "name", "execve,1.5"},
	} {
		if got, err := parseSetting(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "max", "=3", "f.=3"} {
		if _, err := parseSetting(text); err == nil {
			t.Errorf("%q: expected an error", text)
		}
	}
}
