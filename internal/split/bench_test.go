package split_test

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// A list of 200 calls, every fourth of which is counted.
func BenchmarkSplit(b *testing.B) {
	var text strings.Builder
	text.WriteString("map counter ARRAY key 4 value 2048 entries 1\nr6 = *(u32 *)(r1 +0)\nr0 = 0x7fff0000\n")
	for i := 0; i < 200; i++ {
		fmt.Fprintf(&text, "if r6 != %d goto next%d\n", i, i)
		if i%4 == 0 {
			fmt.Fprintf(&text, "r1 = map[counter][0]+%d\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\n", 8*i)
		}
		fmt.Fprintf(&text, "exit\nnext%d:\n", i)
	}
	text.WriteString("r0 = 0x50026\nexit\n")
	p, err := bpfasm.Assemble("list", text.String())
	if err != nil {
		b.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		split.Split(v).Ranges(abi.ArchX86_64)
	}
}
