//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/bench/tables"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
)

// TestMain lets the test binary measure in the guest, as the command does.
func TestMain(m *testing.M) {
	guest.MaybeInit()
	if len(os.Args) > 2 && os.Args[1] == insideWord {
		end(inside(os.Args[2], os.Stdout))
	}
	os.Exit(m.Run())
}

// TestCount counts what a call takes, in few rounds: ways that are known to cost more do,
// and what the kernel need not ask a filter about costs what it costs without.
func TestCount(t *testing.T) {
	text := new(bytes.Buffer)
	o := options{rounds: 3, calls: 50, text: text}
	l, err := newLab(o)
	skipOn(t, err)
	defer l.close()
	r := newReport(o)
	skipOn(t, l.count(r))
	r.End()
	t.Log(text)
	last := -1.0
	for _, name := range []string{noFilter, classicConst, classicBrief, classicList, notifier} {
		v := r.figure(t, name).Value
		if v <= last {
			t.Errorf("%s takes %v instructions: more than %v expected", name, v, last)
		}
		last = v
	}
	for _, name := range []string{"counter", "argument at the end of the list", "notifier's overhead"} {
		if f := r.figure(t, name); f.Bar == nil || f.Value <= 0 {
			t.Errorf("%s: %s, expected a figure with a bar", name, f)
		}
	}
	for _, name := range []string{"constant call", "calls that serialize has nothing to say about"} {
		if f := r.figure(t, name); f.Bar == nil || !f.Bar.Met {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// figure is the first one of a row.
func (r *report) figure(t *testing.T, name string) tables.Figure {
	t.Helper()
	for _, s := range r.Subjects {
		for _, l := range s.Rows {
			if l.Name == name && len(l.Figures) > 0 {
				return l.Figures[0]
			}
		}
	}
	t.Errorf("no figure in row %q", name)
	return tables.Figure{}
}

func skipOn(t *testing.T, err error) {
	t.Helper()
	var tool *needError
	var need *guest.NeedError
	switch {
	case errors.As(err, &tool), errors.As(err, &need):
		t.Skip(err)
	case err != nil:
		t.Fatalf("%+v", err)
	}
}

// What is not measured is a note, and no figure of 0.
func TestLacking(t *testing.T) {
	text := new(bytes.Buffer)
	r := newReport(options{text: text})
	r.Begin("part")
	got := results{noFilter: {Value: 200}, extCounter: {Value: 400}, extCounterRun: {Value: 500}, kernelOpen: {Lacking: "not here"}, notifier: {Value: 4400}}
	r.ratio("pinned", got, kernelOpen, noFilter, 2)
	r.ratio("counter", got, extCounter, noFilter, 1.9)
	r.saved("overhead", got, notifier, 20)
	r.End()
	for _, want := range []string{"not here\n", "2.00 x no filter (bar: <= 1.90 MISSED)", "21.0 x that of eBPF, counter (bar: >= 20.0 met)", "bars: 1 met, 1 MISSED\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	var out bytes.Buffer
	back := new(report)
	if err := errors.Join(tables.WriteJSON(&out, r), json.Unmarshal(out.Bytes(), back)); err != nil {
		t.Fatal(err)
	}
	if b := back.Subjects[0].Rows[1].Figures[0].Bar; b == nil || b.Met {
		t.Errorf("got the bar %+v", b)
	}
}

// Every row is measured by a way that there is.
func TestWays(t *testing.T) {
	all := append(append(names(counted()), names(clocked())...), unpatched()...)
	for _, s := range servers() {
		for _, w := range serving() {
			all = append(all, s.key(w))
		}
	}
	for _, name := range all {
		if ways()[name] == nil {
			t.Errorf("no way %q", name)
		}
	}
}

// The programs that are compared decide alike.
func TestListsAgree(t *testing.T) {
	classic := readClassic(t, listFile)
	for _, name := range []string{"listed", "chained", "gathered"} {
		m := machine(t, listedFile, name)
		for _, c := range syscalls.All() {
			for _, arg := range []uint64{0, 7, 7 << 32} {
				d := &abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64, Args: [6]uint64{arg}}
				if got, want := abi.Verdict(m.Run(nil, d).Ret), classic.Run(d); got != want {
					t.Errorf("%s: %s(%#x) is %v: %v expected", name, c.Name, arg, got, want)
				}
			}
		}
	}
}

// So do those that servers are started under, which look at arguments.
func TestRulesAgree(t *testing.T) {
	classic, m, byArgument := readClassic(t, rulesFile), machine(t, allowFile, "rules"), 0
	for _, c := range syscalls.All() {
		answers := map[abi.Verdict]bool{}
		for _, arg := range []uint64{0, 1, 2, 7, 0x5413, 0x400000, 7 << 32} {
			d := &abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64, Args: [6]uint64{arg, arg, arg, arg}}
			got, want := abi.Verdict(m.Run(nil, d).Ret), classic.Run(d)
			if got != want {
				t.Errorf("%s(%#x) is %v: %v expected", c.Name, arg, got, want)
			}
			answers[want] = true
		}
		if len(answers) > 1 {
			byArgument++
		}
	}
	if byArgument < 12 {
		t.Errorf("%d calls were decided by arguments: expected most of the 16 that have rules", byArgument)
	}
}

func readClassic(t *testing.T, file string) cbpf.Program {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	insns := make([]cbpf.Insn, len(data)/8)
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, insns); err != nil {
		t.Fatal(err)
	}
	p, err := cbpf.Validate(insns)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func machine(t *testing.T, file, name string) *interp.Machine {
	t.Helper()
	tree, err := splitOf("../testdata/filters/"+file, name)
	if err != nil {
		t.Fatal(err)
	}
	set := maps.Set{}
	if err := set.Add(tree.Verified().Program().Maps); err != nil {
		t.Fatal(err)
	}
	m, err := interp.New(tree.Verified(), set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A list to be searched ends with the calls of a server, and has room for no more.
func TestSearched(t *testing.T) {
	set := searched("read", "write")
	values := make(map[string]string)
	for i := 0; i < len(set); i += 2 {
		values[set[i]] = set[i+1]
	}
	calls := strings.Split(values["call"], ",")
	if len(calls) != 256 || calls[253] != "1023" || calls[254] != "0" || calls[255] != "1" || values["calls"] != "read,write" {
		t.Errorf("got %q for %q", calls, values["calls"])
	}
	for _, name := range []string{"ignore0", "ignore1", "ignore2"} {
		if got := strings.Split(values[name], ","); got[253] != "0" || got[254] != "0x7fffffffffffffff" {
			t.Errorf("%s: got %q", name, got[253:])
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	good := options{rounds: 1, calls: 1, parts: []string{"servers"}}
	if err := good.check(); err != nil || good.wants("calls") || !good.wants("servers") {
		t.Errorf("%v: expected servers alone", err)
	}
	for _, bad := range []options{{calls: 1}, {rounds: 1}, {rounds: 1, calls: 1, parts: []string{"server"}}} {
		if bad.check() == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
