package symbol

import (
	"testing"

	"portcullis/internal/abi/syscalls"
)

// TestBits: what the kernel cuts off does not count.
func TestBits(t *testing.T) {
	for _, c := range []struct {
		call, argument string
		want           int
	}{
		{"open", "flags", 32},
		{"open", "mode", 16},
		{"mmap", "fd", 32},
		{"mmap", "prot", 64},
		{"writev", "fd", 32},
		{"clone", "flags", 32},
		{"clone", "arg0", 32},
		{"unshare", "flags", 64},
		{"ptrace", "pid", 32},
		{"ptrace", "request", 64},
		{"read", "buf", 64},
	} {
		nr, _ := syscalls.Number(c.call)
		a, ok := Find(nr, c.argument)
		if !ok || a.Bits() != c.want {
			t.Errorf("%s of %s: %d bits, %v; want %d", c.argument, c.call, a.Bits(), ok, c.want)
		}
	}
}
