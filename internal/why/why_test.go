package why

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/policy"
)

func denial(call, line, source string, args ...uint64) *event.Event {
	nr, _ := syscalls.Number(call)
	e := &event.Event{
		Kind: event.KindVerdict, Program: "p", Line: line, Source: source, Insn: -1, Pid: 1, Comm: "c",
		Call: event.Call{Nr: int32(nr), Arch: abi.ArchX86_64}, Verdict: abi.Errno(1),
	}
	copy(e.Call.Args[:], args)
	return e
}

// TestLines takes the line that a policy names for what it is, however it is written.
func TestLines(t *testing.T) {
	for _, c := range []struct{ source, where string }{
		{"default: EPERM", "behind the other rules of the policy"},
		{"version: 1", "behind the other rules of the policy"},
		{"  - deny: socket", "in front of the rule at p.yaml:3"},
		{"  - {deny: socket, error: EACCES}", "in front of the rule at p.yaml:3"},
		{`  - "kill": socket`, "in front of the rule at p.yaml:3"},
		{"  - trap: [", "in front of the rule at p.yaml:3"},
		{"  - name: serve", "of the phase at p.yaml:3"},
		{"  - path: /usr/bin/x", "of the program at p.yaml:3"},
		{"  - first: socket", "with a longer --wait-limit"},
		{"  - edges:", "of the flow at p.yaml:3"},
		{"limits: - name: few", "raise the max of the entry at p.yaml:3"},
		{"limits: - if: {family: AF_INET}", "raise the max of the entry at p.yaml:3"},
		{"phases: - deny: socket", "of the phase at p.yaml:3"},
		{"programs: - deny: socket", "of the program at p.yaml:3"},
		{"serialize: - name: apart", "with a longer --wait-limit"},
		{"flow: - {per: thread, edges: [", "of the flow at p.yaml:3"},
		{"order: - calls: socket", "of the order at p.yaml:3"},
		{"order: - name: first", "of the order at p.yaml:3"},
		{"policy: name: p", "behind the other rules of the policy"},
		{"  - once: socket", "of the order at p.yaml:3"},
		{"  - {calls: socket, before: listen}", "of the order at p.yaml:3"},
		{"  - calls: socket", "raise the max of the entry at p.yaml:3"},
		{"", "raise the max of the entry at p.yaml:3"},
		{"rules: [{deny: socket}]", "in front of the rule at p.yaml:3"},
		{"limits: [{calls: socket, max: 1}]", "raise the max of the entry at p.yaml:3"},
	} {
		r := &Report{}
		r.Add(denial("socket", "p.yaml:3", c.source, 2, 1))
		if got := r.Denials[0]; !strings.Contains(got.Where, c.where) {
			t.Errorf("%q: got %q, want %q in it", c.source, got.Where, c.where)
		}
	}
}

// TestFilesOfAnyName tells a policy by what the line says, and a compiled filter from it.
func TestFilesOfAnyName(t *testing.T) {
	for _, c := range []struct{ line, source, where string }{
		{"./p:3", "- deny: socket", "in front of the rule at ./p:3"},
		{"p.policy:3", "default: EPERM", "behind the other rules"},
		{"/x/p:3", "limits: - name: few", "raise the max of the entry at /x/p:3"},
		{"p:3", "an argument that cannot be read: path: /x", "no rule denies it"},
		{"x/f.c:3", "default:", "change the filter p or its variables"},
		{"f.rs:3", "name: p", "change the filter p or its variables"},
		{"", "default: EPERM", "change the filter p or its variables"},
		{"p.json:3", `"name": "socket",`, "change what p.json:3 says"},
		{"p.json:3", `"socket",`, "change what p.json:3 says"},
		{"p.service:3", "SystemCallFilter=~socket", "change what p.service:3 says"},
	} {
		r := &Report{}
		r.Add(denial("socket", c.line, c.source, 2, 1))
		if got := r.Denials[0]; !strings.Contains(got.Where, c.where) {
			t.Errorf("%s %q: got %q, want %q in it", c.line, c.source, got.Where, c.where)
		}
	}
}

// TestWhatFailsAnyhow: no rule is proposed for memory that cannot be read. The lines are those
// that the policy's compiler makes.
func TestWhatFailsAnyhow(t *testing.T) {
	const text = "version: 1\ndefault: allow\nlinks: trusted\nrules:\n  - deny: openat\n    if:\n      path: /x\n" +
		"limits:\n  - {calls: read, max: 1, per: process}\n"
	m, err := policy.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, l := range p.Lines {
		e := denial("openat", fmt.Sprintf("p.yaml:%d", l.Line), l.Text)
		r := &Report{}
		r.Add(e)
		if got := r.Denials[0]; strings.HasPrefix(got.Where, "no rule denies it") {
			said[got.Where] = true
			if got.Change != "" {
				t.Errorf("%s: got %q", l.Text, got.Change)
			}
		}
	}
	for _, want := range []string{
		"no rule denies it: it fails for an argument that cannot be read, asked about at p.yaml:7",
		"no rule denies it: it fails for a text that is too long, asked about at p.yaml:7",
		"no rule denies it: it fails for no memory for state, asked about at p.yaml:7",
		"no rule denies it: it fails for no memory for state, asked about at p.yaml:9",
	} {
		if !said[want] {
			t.Errorf("nothing says %q: got %v", want, said)
		}
	}
	if len(said) != 4 {
		t.Errorf("got %v", said)
	}
}

// TestRulesHold compiles what is proposed, behind which the same call is let through and
// another is not.
func TestRulesHold(t *testing.T) {
	for _, c := range []struct {
		call        string
		args, other []uint64
	}{
		{"socket", []uint64{2, 0x80001}, []uint64{2, 3}},
		{"prctl", []uint64{15}, []uint64{22}},
		{"mprotect", []uint64{4096, 4096, 7}, []uint64{4096, 4096, 16}},
		{"setsockopt", []uint64{3, 1, 2}, []uint64{3, 0, 2}},
		{"getpid", nil, nil},
	} {
		r := &Report{}
		e := denial(c.call, "p.yaml:1", "default: EPERM", c.args...)
		r.Add(e)
		m, err := policy.Parse("p.yaml", []byte("version: 1\nrules:\n"+r.Denials[0].Change))
		if err != nil {
			t.Fatalf("%v in %q", err, r.Denials[0].Change)
		}
		if _, err := policy.Compile(m); err != nil {
			t.Errorf("%v in %q", err, r.Denials[0].Change)
		}
		if c.other == nil {
			continue
		}
		r.Add(denial(c.call, "p.yaml:1", "default: EPERM", c.other...))
		if len(r.Denials) != 2 || r.Denials[1].Change == r.Denials[0].Change {
			t.Errorf("%s%v: the rule is that of %v too: %q", c.call, c.other, c.args, r.Denials[0].Change)
		}
	}
}

// TestSymbolic names values where names are right.
func TestSymbolic(t *testing.T) {
	for _, c := range []struct {
		call string
		args []uint64
		want string
	}{
		{"openat", []uint64{0xffffff9c, 9, 0x80241, 0x1a4}, "openat(dirfd=AT_FDCWD, path=*, flags=O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, mode="},
		{"openat", []uint64{0xffffffffffffff9c, 0, 0}, "openat(dirfd=AT_FDCWD, path=0, flags=O_RDONLY, "},
		{"socket", []uint64{1, 0x80803, 0}, "socket(family=AF_UNIX, type=SOCK_RAW|SOCK_NONBLOCK|SOCK_CLOEXEC, "},
		{"ioctl", []uint64{1, 0xdeadbeef, 0}, "ioctl(fd=1, request=0xdeadbeef, "},
		{"kill", []uint64{0xffffffff, 9}, "sig=SIGKILL"},
	} {
		got := symbolic(&cleaned(denial(c.call, "", "", c.args...)).Call)
		if !strings.Contains(got, c.want) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestBounds keeps what hostile files may fill memory with short.
func TestBounds(t *testing.T) {
	r := &Report{}
	for i := 0; i < 3*maxDenials/2; i++ {
		e := denial("read", fmt.Sprint("p.yaml:", i), strings.Repeat("x", 1<<10))
		e.Comm = fmt.Sprint(i)
		r.Add(e)
	}
	if len(r.Denials) != maxDenials || r.Others != maxDenials/2 {
		t.Errorf("%d kinds, %d others", len(r.Denials), r.Others)
	}
	for i := 0; i < 2*maxNames; i++ {
		e := denial("read", "p.yaml:0", strings.Repeat("x", 1<<10))
		e.Comm = fmt.Sprint(i)
		r.Add(e)
	}
	if n := len(r.Denials[0].By); n != maxNames {
		t.Errorf("%d names", n)
	}
	if n := len(r.Denials[0].Reason); n > 2*maxText {
		t.Errorf("%d bytes of reason", n)
	}
}

// FuzzRead reads hostile files: nothing of them reaches a terminal as it is, and what is
// proposed can be read.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"kind":"verdict","time":"2026-01-01T00:00:00Z","program":"a\u001b","line":"p.yaml:1","source":"- edges:\u009b","comm":"\u001b[2J","call":{"nr":41,"name":"\u001b","arch":"x86_64","args":["0x2","0x1","0x0","0x0","0x0","0x0"]},"verdict":"ERRNO(1)"}`))
	f.Add([]byte(`{"kind":"verdict","time":"2026-01-01T00:00:00Z","program":"\u001b","leaf":"guard","call":{"nr":-1,"name":"\u001b","arch":"0x7","args":["0x2","0x1","0x0","0x0","0x0","0x0"]},"verdict":"KILL_THREAD"}`))
	f.Add([]byte("type=1326 comm=1B5B arch=c000003e syscall=59 code=0x80000000 \x1b\ntype=SECCOMP syscall=-1 arch=x code=y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &Report{}
		if err := r.Read(strings.NewReader(string(data))); err != nil {
			return
		}
		for _, d := range r.Denials {
			shown := strings.Join(append(append([]string{d.Call, d.Verdict, d.Reason, d.Where}, d.By...), d.Warnings...), "")
			if i := strings.IndexFunc(shown, unicode.IsControl); i >= 0 {
				t.Errorf("%q holds a control character", shown)
			}
			if strings.HasPrefix(d.Change, "  - allow") {
				if _, err := policy.Parse("p.yaml", []byte("version: 1\nrules:\n"+d.Change)); err != nil {
					t.Errorf("%q: %v", d.Change, err)
				}
			}
		}
	})
}
