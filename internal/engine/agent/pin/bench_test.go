package pin

import (
	"testing"

	"portcullis/internal/abi"
)

// BenchmarkPath is what a path costs beside reading it from its process.
func BenchmarkPath(b *testing.B) {
	s, r := call(b, "openat", 3, here)
	r.write(here, []byte(path("/usr/lib/x86_64-linux-gnu/libc.so.6")))
	d := abi.SeccompData{Nr: s.nr, Arch: s.arch, Args: s.regs}
	text, dst := make([]byte, 256), make([]byte, SlotBytes)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		s.Reset(&d, r)
		s.ReadString(text, here)
		s.Place(dst, base, faulting)
	}
}
