package split_test

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// Each built-in filter, from instructions to the program for the kernel.
func BenchmarkBuiltIn(b *testing.B) {
	for _, name := range filters.Names() {
		data, _ := filters.Object(name)
		ps, err := object.Read(name, data)
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range ps {
			if p.Name != name {
				continue // what its tail calls go on in
			}
			b.Run(name, func(b *testing.B) {
				for i := 0; i < b.N; i++ {
					v, err := verify.Program(p, verify.Options{})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := prefilter.Build([]*split.Tree{split.Split(v)}, prefilter.Options{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

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
