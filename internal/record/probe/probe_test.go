package probe

import (
	"fmt"
	"testing"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/object"
	"portcullis/internal/verify"
)

// TestObject makes an object that can be read and proven.
func TestObject(t *testing.T) {
	data, err := Object()
	if err != nil {
		t.Fatal(err)
	}
	ps, err := object.Read("record.o", data)
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 1 || ps[0].Name != Name {
		t.Fatalf("%v: expected one program %s", ps, Name)
	}
	if _, err := verify.Program(ps[0], verify.Options{}); err != nil {
		t.Error(err)
	}
}

// TestOf finds what names something in the tables.
func TestOf(t *testing.T) {
	for call, want := range map[string]string{
		"openat": "[{1 -1}]", "rename": "[{0 -1} {1 -1}]", "linkat": "[{1 -1} {3 -1}]", "symlinkat": "[{2 -1}]",
		"execve": "[{0 -1}]", "connect": "[{1 2}]", "sendto": "[{4 5}]", "setxattr": "[{0 -1}]", "memfd_create": "[]", "read": "[]",
	} {
		nr, ok := syscalls.Number(call)
		if got := fmt.Sprint(Of(nr)); !ok || got != want {
			t.Errorf("%s: got %s, want %s", call, got, want)
		}
	}
}
