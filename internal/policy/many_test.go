package policy

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
)

// TestManyClasses: more ways to go than a table of bytes can tell apart, with others between
// them.
func TestManyClasses(t *testing.T) {
	for _, n := range []int{1, 3, 100, 253, 254, 255, 256, 257, 300} {
		manyClasses(t, n)
	}
}

func manyClasses(t *testing.T, n int) {
	var text strings.Builder
	text.WriteString("version: 1\ndefault: errno(4000)\nrules:\n")
	want := map[uint32]abi.Verdict{}
	for i, c := range syscalls.All() {
		want[c.Nr] = abi.Errno(4000)
		if i%8 == 0 || n == 0 {
			continue
		}
		n--
		want[c.Nr] = abi.Errno(uint16(i + 1))
		fmt.Fprintf(&text, "  - {deny: %s, error: errno(%d)}\n", c.Name, i+1)
	}
	m, err := Parse("many.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	_, tree := made(t, m)
	for nr, v := range want {
		if got := tree.Find(abi.ArchX86_64, nr); got.Decision != nil || got.Leaf.Verdict != v {
			name, _ := syscalls.Name(nr)
			t.Errorf("%s: %v, want %v", name, got.Leaf.Verdict, v)
		}
	}
}

// TestTable: calls of two kinds that alternate are told apart by a table.
func TestTable(t *testing.T) {
	deny := Rule{Action: Action{Kind: Errno, Data: 2}}
	want := map[uint32]abi.Verdict{}
	for i, c := range syscalls.All() {
		want[c.Nr] = abi.Allow
		if c.Nr < 300 && i%3 == 0 {
			want[c.Nr] = abi.Errno(2)
			deny.Calls = append(deny.Calls, Name{Text: c.Name})
		}
	}
	v, tree := made(t, &Model{Default: Action{Kind: Allow}, Unknown: Action{Kind: Errno, Data: 5}, Rules: []Rule{deny}})
	if p := v.Program(); len(p.Maps) != 1 || len(p.Insns) > 100 {
		t.Errorf("%d maps, %d instructions: expected a table", len(p.Maps), len(p.Insns))
	}
	for nr := uint32(0); nr <= syscalls.Newest()+1; nr++ {
		v, named := want[nr]
		if !named {
			v = abi.Errno(5)
		}
		if got := tree.Find(abi.ArchX86_64, nr); got.Decision != nil || got.Leaf.Verdict != v {
			t.Errorf("%d: %v, want %v", nr, got.Leaf.Verdict, v)
		}
	}
}

// TestManyWindows: as many limits with a window as there may be fit beside all else that needs a map.
func TestManyWindows(t *testing.T) {
	text := "version: 1\ndefault: allow\nlinks: trusted\nrules:\n  - {deny: openat, if: {path: /x}}\norder:\n" +
		"  - {once: setns}\n  - {once: setns, per: process}\n  - {once: setns, per: thread}\nlimits:\n" +
		strings.Repeat("  - {calls: read, max: 1, window: 1s}\n", maxWindows)
	m, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Maps); n > 63 { // there may be a table of calls, too
		t.Errorf("%d maps", n)
	}
	m, err = Parse("p.yaml", []byte(text+"  - {calls: read, max: 1, window: 1s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "p.yaml:67:5: more than 56 limits with a window: count calls together, or leave windows out"
	if _, err := Compile(m); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
