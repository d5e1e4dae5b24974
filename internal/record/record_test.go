package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/record/probe"
)

var update = flag.Bool("update", false, "rewrite the expected policies of testdata")

// TestPolicies makes policies of the runs in testdata: lines of a process, with a thread
// behind a dot, its name, a call and arguments. The first line of a file is the mode,
// strict-start where that is meant, and the transitions.
func TestPolicies(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txtar")
	if len(files) == 0 {
		t.Fatal("no testdata")
	}
	for _, file := range files {
		file := file
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { compare(t, file) })
	}
}

func compare(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(strings.SplitN(string(a.Comment), "\n", 2)[0])
	o := Options{Mode: Mode(words[0]), Name: "p", Title: "x", Transitions: words[1:]}
	if len(words) > 1 && words[1] == "strict-start" {
		o.StrictStart, o.Transitions = true, words[2:]
	}
	if len(o.Transitions) == 0 {
		o.Transitions = nil
	}
	r, want, at := New(), "", -1
	for i, f := range a.Files {
		if strings.HasPrefix(f.Name, "run") {
			feed(t, r, string(f.Data))
		} else {
			want, at = string(f.Data), i
		}
	}
	got := made(t, r, o)
	if *update {
		a.Files[at].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(a), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// made is the policy, or the error that says why there is none. A policy has to compile.
func made(t *testing.T, r *Recorder, o Options) string {
	m, err := r.Policy(o)
	if err != nil {
		return err.Error() + "\n"
	}
	text := policy.Write(m)
	m, err = policy.Parse("p.yaml", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if _, err := policy.Compile(m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return string(text)
}

func feed(t *testing.T, r *Recorder, lines string) {
	r.Begin()
	for _, l := range strings.Split(strings.TrimSpace(lines), "\n") {
		e := parse(t, strings.Fields(l))
		for _, named := range recorded(t, &e, strings.Fields(l)) {
			r.Add(&named)
		}
		r.Add(&e)
	}
}

func parse(t *testing.T, w []string) event.Event {
	e := event.Event{Kind: event.KindVerdict, Insn: -1, Comm: w[1], Verdict: abi.Allow, Call: event.Call{Arch: abi.ArchX86_64}}
	pid, tid, threaded := strings.Cut(w[0], ".")
	if !threaded {
		tid = pid
	}
	e.Pid, _ = strconv.Atoi(pid)
	e.Tid, _ = strconv.Atoi(tid)
	switch w[2] {
	case "lost":
		return event.Event{Kind: event.KindLost, Lost: 3}
	case "denied":
		e.Verdict = abi.Errno(1)
	case "i386":
		e.Call.Arch = abi.ArchI386
	default:
		nr, ok := syscalls.Number(w[2])
		if !ok {
			t.Fatalf("%v: no such call", w)
		}
		e.Call.Nr = int32(nr)
	}
	for i, word := range w[3:] {
		if strings.ContainsAny(word[:1], "\"@([") {
			word = "0x1000"
		}
		v, err := strconv.ParseUint(word, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		e.Call.Args[i] = v
	}
	return e
}

// recorded are the records of the names in a line: a word behind a quotation mark is a path, with
// escapes as in Go,
// behind an @ an address in hexadecimal, behind a parenthesis arguments with commas in between, behind
// a bracket arguments of which the end is not known.
func recorded(t *testing.T, e *event.Event, w []string) (all []event.Event) {
	for i, word := range w[min(3, len(w)):] {
		var text []byte
		n := event.Event{Kind: event.KindRecord, Insn: -1, Pid: e.Pid, Tid: e.Tid, Comm: e.Comm, Call: e.Call}
		switch word[0] {
		case '"':
			n.Map, text = probe.Paths, append([]byte(unquoted(t, word[1:])), 0)
		case '@':
			var err error
			n.Map = probe.Addresses
			if text, err = hex.DecodeString(word[1:]); err != nil {
				t.Fatal(err)
			}
		case '(', '[':
			all = append(all, arguments(n, word)...)
			continue
		default:
			continue
		}
		n.Data = data(i, text)
		all = append(all, n)
	}
	return all
}

// unquoted is a name with what a backslash stands for in Go.
func unquoted(t *testing.T, word string) string {
	text, err := strconv.Unquote(`"` + word + `"`)
	if err != nil {
		t.Fatalf("%s: %v", word, err)
	}
	return text
}

// data is what a record holds.
func data(index int, text []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(index))
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
}

func arguments(n event.Event, word string) (all []event.Event) {
	n.Map = probe.Arguments
	add := func(index int, text []byte) {
		n.Data = data(index, text)
		all = append(all, n)
	}
	if word[1:] != "" {
		for i, a := range strings.Split(word[1:], ",") {
			text := append([]byte(a), 0)
			add(i+1, text[:min(len(text), probe.MaxText)])
		}
	}
	if word[0] == '(' {
		add(0, nil)
	}
	return all
}

// TestVariety takes more values than are of use for no condition, and many names for some.
func TestVariety(t *testing.T) {
	for _, c := range []struct {
		values int
		want   bool
	}{{24, true}, {25, false}, {200, false}} {
		r := New()
		for i := 0; i < c.values; i++ {
			e := parse(t, []string{strconv.Itoa(i + 1), "n" + strconv.Itoa(i), "ioctl", "0", strconv.Itoa(i)})
			r.Add(&e)
		}
		text := made(t, r, Options{Mode: Allowlist})
		if strings.Contains(text, "request:") != c.want || !strings.Contains(text, "by n0, n1, n10, n11, others") {
			t.Errorf("%d values: got\n%s", c.values, text)
		}
	}
}

// TestCrowds refuses to tell more threads apart than are kept, and lists calls all the same.
func TestCrowds(t *testing.T) {
	r := New()
	e := parse(t, []string{"1", "x", "listen"})
	for i := 0; i <= maxThreads; i++ {
		e.Pid, e.Tid = i, i
		r.Add(&e)
	}
	if _, err := r.Policy(Options{Mode: Flow}); err == nil || !strings.Contains(err.Error(), "--mode allowlist") {
		t.Errorf("%v: expected a refusal with a remedy", err)
	}
	made(t, r, Options{Mode: Allowlist})
}

// TestCondition names values of arguments, and leaves numbers where names would mislead.
func TestCondition(t *testing.T) {
	for _, c := range []struct{ call, want string }{
		{"1 x socket 1 0x80001", "{family: AF_UNIX, type: {mask: 15, is: SOCK_STREAM}}"},
		{"1 x setsockopt 3 6 1", "{level: SOL_TCP, optname: TCP_NODELAY}"},
		{"1 x setsockopt 3 0x107 1", "{level: SOL_PACKET, optname: 1}"},
		{"1 x prctl 4", "{option: PR_SET_DUMPABLE}"},
		{"1 x ioctl 1 0xffffffff00005401", "{request: TCGETS}"},
		{"1 x mmap 0 0 7", "{prot: PROT_READ|PROT_WRITE|PROT_EXEC}"},
		{"1 x mmap 0 0 0", "{prot: PROT_NONE}"},
		{"1 x clone 0x1200011", "{flags: CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|0x11}"},
		{"1 x clone 17", "{flags: 17}"},
	} {
		e := parse(t, strings.Fields(c.call))
		if got := Condition(uint32(e.Call.Nr), e.Call.Args).String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.call, got, c.want)
		}
	}
}

// TestKindsFit keeps the kinds of a flow below what a flow can have, and all names real.
func TestKindsFit(t *testing.T) {
	for _, text := range []string{kinds, setup, waiting, serving, signals, incidental} {
		if n, words := len(callsOf(text)), len(strings.Fields(text)); n != words || n > 63 {
			t.Errorf("%d calls of %d words in %q", n, words, text)
		}
	}
	if len(choices()) != len(table()) {
		t.Error("a choice names a call or an argument that does not exist")
	}
}

// FuzzEvents feeds hostile files: what comes of them is an error, or a policy that can be
// read and compiled.
func FuzzEvents(f *testing.F) {
	var seed bytes.Buffer
	w := event.NewWriter(&seed)
	for _, nr := range []int32{41, 49, 50, 56, 59, 9, 232, 0, 9999, -1} {
		e := event.Event{Kind: event.KindVerdict, Comm: "a\n- b: #\x1b", Pid: int(nr % 3), Tid: int(nr), Verdict: abi.Allow, Call: event.Call{Nr: nr, Arch: abi.ArchX86_64, Args: [6]uint64{1<<64 - 1, 7}}}
		if err := w.Write(&e); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed.Bytes())
	named := event.Event{
		Kind: event.KindRecord, Pid: 1, Tid: 1, Map: probe.Paths, Call: event.Call{Nr: 2, Arch: abi.ArchX86_64},
	}
	for _, path := range []string{"/a/../b*\x00", "/tmp/x\"\x01{\x00", "\xff/\xfe..\x00", "\x00"} {
		named.Data = append([]byte{0, 0, 0, 0, byte(len(path)), 0, 0, 0}, path...)
		if err := w.Write(&named); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed.Bytes())
	named.Map, named.Call.Nr = probe.Paths, 59
	named.Data = data(0, []byte("/bin/x\x00"))
	more := []event.Event{named}
	for i, text := range []string{"*", "a\x00b", "\xff\x00", ""} {
		named.Map, named.Data = probe.Arguments, data((i+1)%4, []byte(text))
		more = append(more, named)
	}
	for i := range more {
		if err := w.Write(&more[i]); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(seed.Bytes())
	f.Add([]byte("{\"kind\":\"lost\",\"lost\":18446744073709551615}\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, events := New(), event.NewReader(bytes.NewReader(data))
		for {
			e, err := events.Read()
			if err == io.EOF {
				break
			} else if err != nil {
				return
			}
			r.Add(&e)
		}
		made(t, r, Options{Mode: Allowlist})
		made(t, r, Options{Mode: Paths})
		made(t, r, Options{Mode: All})
	})
}
