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
