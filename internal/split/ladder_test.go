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

// ladder is a filter of n rules in the order they were written: each compares the
// number, then an argument, and leaves what does not match to the rules below.
func ladder(n int) string {
	var b strings.Builder
	for i := 0; i < n; i++ {
		fmt.Fprintf(&b, `r2 = *(u32 *)(r1 +0)
if r2 != %d goto next%d
r3 = *(u64 *)(r1 +%d)
r4 = r3
r4 &= %d
r3 >>= 32
if r3 != r4 goto next%d
r0 = %#x
exit
next%d:
`, i*7%460, i, 16+i%6*8, 1000+i, i, 0x50000+i%100, i)
	}
	return b.String() + "r0 = 0x7fff0000\nexit\n"
}

// Rules that fall through, 400 of them.
func BenchmarkSplitLadder(b *testing.B) {
	p, err := bpfasm.Assemble("ladder", ladder(400))
	if err != nil {
		b.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		split.Split(v).Decisions(abi.ArchX86_64)
	}
}
