package split_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

var update = flag.Bool("update", false, "write what is found into testdata")

// TestGolden runs the cases in testdata: each file of an archive is a program
// that begins with the expected ranges of x86-64, a line each. A range of i386
// is named where it differs.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("expected cases in testdata, found %v, %v", files, err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Files {
			golden(t, file, &a.Files[i])
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func golden(t *testing.T, file string, c *txtar.File) {
	t.Run(filepath.Base(file)+"/"+c.Name, func(t *testing.T) {
		want, text := expectation(string(c.Data))
		p, err := bpfasm.Assemble("p", text)
		if err != nil {
			t.Fatal(err)
		}
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := table(split.Split(v))
		if *update {
			c.Data = []byte(got + text)
			return
		}
		if got != want {
			t.Errorf("found\n%s\nexpected\n%s", got, want)
		}
	})
}

// expectation splits the leading comment off.
func expectation(data string) (want, text string) {
	for strings.HasPrefix(data, "# ") {
		line, rest, _ := strings.Cut(data, "\n")
		want += line + "\n"
		data = rest
	}
	return want, data
}

func table(t *split.Tree) string {
	x86, i386 := rows(t.Ranges(abi.ArchX86_64)), rows(t.Ranges(abi.ArchI386))
	if x86 == i386 {
		return x86
	}
	return x86 + "# i386:\n" + i386
}

func rows(rs []split.Range) (out string) {
	for _, r := range rs {
		out += fmt.Sprintf("# %#x..%#x %s", r.From, r.To, r.Leaf.Kind)
		if r.Leaf.Kind == split.Static {
			out += " " + r.Leaf.Verdict.String() + "\n"
			continue
		}
		out += fmt.Sprintf(": instruction %d %s\n", r.Leaf.Why.Insn, r.Leaf.Why.Text)
	}
	return out
}

// Ranges cover every number, in order, and neighbours differ.
func TestRangesCoverEverything(t *testing.T) {
	v, err := verify.Program(program(t, "r0 = *(u32 *)(r1 +0)\nr0 >>= 31\nr0 <<= 31\nexit\n"), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree := split.Split(v)
	for _, arch := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		next := uint64(0)
		rs := tree.Ranges(arch)
		for i, r := range rs {
			if uint64(r.From) != next || r.To < r.From {
				t.Errorf("%v: range %d is %#x..%#x, expected it to begin at %#x", arch, i, r.From, r.To, next)
			}
			if i > 0 && rs[i-1].Leaf == r.Leaf {
				t.Errorf("%v: ranges %d and %d have the same leaf", arch, i-1, i)
			}
			next = uint64(r.To) + 1
			if got := tree.Leaf(arch, r.To); got != r.Leaf {
				t.Errorf("%v: Leaf(%#x) is %v, expected %v", arch, r.To, got, r.Leaf)
			}
		}
		if next != 1<<32 {
			t.Errorf("%v: ranges end at %#x", arch, next)
		}
	}
	if got := tree.Leaf(0x1234, 0); got.Kind != split.Trace {
		t.Errorf("an unknown architecture has the leaf %v", got)
	}
}
