package syscalls_test

import (
	"fmt"
	"testing"

	"portcullis/internal/abi/syscalls"
)

func TestSample(t *testing.T) {
	for name, nr := range map[string]uint32{
		"read": 0, "write": 1, "open": 2, "ptrace": 101, "prctl": 157,
		"_sysctl": 156, "openat": 257, "seccomp": 317, "execveat": 322,
		"rseq": 334, "uretprobe": 335, "uprobe": 336, "io_uring_setup": 425,
		"clone3": 435, "openat2": 437, "mseal": 462, "removexattrat": 466,
		"open_tree_attr": 467, "file_setattr": 469,
	} {
		if got, ok := syscalls.Number(name); !ok || got != nr {
			t.Errorf("Number(%q) = %d, %v; want %d", name, got, ok, nr)
		}
		if got, ok := syscalls.Name(nr); !ok || got != name {
			t.Errorf("Name(%d) = %q, %v; want %q", nr, got, ok, name)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, nr := range []uint32{337, 423, 1023, 0x40000000, 0x40000001, 0xffffffff} {
		if name, ok := syscalls.Name(nr); ok {
			t.Errorf("Name(%#x) = %q; want none", nr, name)
		}
	}
	for _, name := range []string{"", "READ", "a", "zzz"} {
		if nr, ok := syscalls.Number(name); ok {
			t.Errorf("Number(%q) = %d; want none", name, nr)
		}
	}
}

func TestNameAndNumberAgree(t *testing.T) {
	last := -1
	for _, c := range syscalls.All() {
		if int(c.Nr) <= last {
			t.Errorf("%s = %d follows %d", c.Name, c.Nr, last)
		}
		last = int(c.Nr)
		if nr, ok := syscalls.Number(c.Name); !ok || nr != c.Nr {
			t.Errorf("Number(%q) = %d, %v; want %d", c.Name, nr, ok, c.Nr)
		}
	}
	if uint32(last) != syscalls.Newest() {
		t.Errorf("Newest() = %d, want %d", syscalls.Newest(), last)
	}
}

func ExampleName() {
	name, _ := syscalls.Name(257)
	nr, _ := syscalls.Number("mseal")
	fmt.Println(name, nr)
	// Output: openat 462
}
