package split_test

import (
	"fmt"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/golden"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// TestGolden runs the cases in testdata: what is expected of each are the ranges
// of x86-64, a line each. A range of i386 is named where it differs.
func TestGolden(t *testing.T) {
	golden.Run(t, func(t *testing.T, p *prog.Program) string {
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return table(split.Split(v))
	})
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
