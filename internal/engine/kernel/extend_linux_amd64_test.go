package kernel

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// A function of a loaded program can be replaced by one that was verified apart from it
// (BPF_PROG_TYPE_EXT): of others, but not of a filter. Without the refusal the second
// load below would succeed as the first does, for the two targets differ by their types
// alone; and what was installed and judged would not be what decides.
func TestGuestFilterIsNotExtended(t *testing.T) {
	inGuest(t)
	const socketFilter = 1
	if os.Getuid() != 0 { // who loads filters alone
		refusesExtension(t, sys.ProgTypeSeccomp, syscall.EPERM, "")
		return
	}
	refusesExtension(t, socketFilter, nil, "")
	refusesExtension(t, sys.ProgTypeSeccomp, syscall.EINVAL, "Cannot extend seccomp filters")
}

// refusesExtension extends a function of a program of a type, and compares the error and
// what the log has to say.
func refusesExtension(t *testing.T, typ uint32, want error, reason string) {
	t.Helper()
	const extension = 28
	insns, starts := nestedLoops(2, 1)
	_, err := confined(func() (bool, error) {
		target, _, err := annotated{typ: typ, insns: insns, starts: starts}.load()
		if err != nil {
			return false, err
		}
		defer syscall.Close(target)
		other := annotated{typ: extension, insns: newAssembler().answer(abi.Allow).insns, starts: []int{0}}
		other.extends, other.function = target, functionType(1)
		fd, log, err := other.load()
		if err == nil {
			syscall.Close(fd)
		}
		if err != want || !strings.Contains(log, reason) {
			t.Errorf("a function of a program of type %d is replaced: %v: expected %v with %q in\n%s", typ, err, want, reason, log)
		}
		return true, nil
	})
	if err != nil {
		t.Errorf("the target, of type %d: %v", typ, err)
	}
}
