//go:build linux && amd64

package attack

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

const sigsys = 128 + int(syscall.SIGSYS)

// TestI386 attacks the promise that no call of the i386 table is made, through
// whichever door: int 0x80, the 32-bit code segment, sysenter. Processors and
// kernels without a door end the caller by another signal.
func TestI386(t *testing.T) {
	for _, stack := range []string{"allow", "count calls=getpid"} {
		for _, door := range []string{"int80", "far-jump", "sysenter"} {
			got := attack(t, stack, door)
			if got.out != "" || got.status <= 128 {
				t.Errorf("%s under %s: %+v, expected death by a signal", door, stack, got)
			}
			if door == "int80" && got.status != sigsys && got.status != 128+int(syscall.SIGSEGV) {
				t.Errorf("%s under %s: status %d, expected SIGSYS", door, stack, got.status)
			}
		}
	}
}

// TestNumbers attacks the promise that a number means what the kernel takes it
// for: x32's are killed, only the lower half of the register counts, and what is
// no call fails as it does without a filter.
func TestNumbers(t *testing.T) {
	for stack, denied := range map[string]string{"deny-getppid": "EBUSY", "global-count limit=0": "EPERM"} {
		expect(t, stack, "number 0x10000006e 0xffffffff0000006e 110", denied, denied, denied)
		expect(t, stack, "number -1 0xffffffff 2000 0x3fffffff 0x80000000", "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS")
		for _, nr := range []string{"0x4000006e", "0xfffffffe", "0xffffffff4000006e"} {
			if got := attack(t, stack, "number", nr); got != (result{"", sigsys}) {
				t.Errorf("number %s under %s: %+v, expected SIGSYS", nr, stack, got)
			}
		}
	}
}

// TestProbeCalls attacks the promise that nothing can be had from the two calls
// that newer kernels let pass every filter, uretprobe and uprobe, since probes put
// them into programs: made otherwise they fail or kill their caller.
func TestProbeCalls(t *testing.T) {
	for _, nr := range []string{"335", "336"} {
		switch got := attack(t, "count max=0 calls="+nr, "number", nr); got {
		case result{"EPERM", 0}: // the filter was asked
		case result{"ENXIO", 0}, result{"ENOSYS", 0}, result{"", 128 + int(syscall.SIGILL)}:
		default:
			t.Errorf("call %s: %+v, expected an error or SIGILL", nr, got)
		}
	}
}

// TestHalvesOfArguments attacks the promise that a verdict over an argument is one
// over all its 64 bits, whichever half the kernel's classic BPF looks at first.
func TestHalvesOfArguments(t *testing.T) {
	for _, stack := range []string{"argument", "argument; global-count", "global-count; argument"} {
		expect(t, stack, "argument 600 7 0x100000007 0x100000000 0x1ffffffff 6 0x200000007 0x8000000000000007 0x700000000",
			"EACCES", "EACCES", "EACCES", "EACCES", "ENOSYS", "ENOSYS", "ENOSYS", "ENOSYS")
	}
}

// TestVsyscall attacks the promise that calls made through the vsyscall page are
// counted like others.
func TestVsyscall(t *testing.T) {
	got := attack(t, "count calls=time max=2", "vsyscall", "4")
	if got.status == 128+int(syscall.SIGSEGV) {
		t.Skip("needs a vsyscall page: this kernel has none")
	}
	compare(t, "count", "vsyscall", got.out, []string{"ok", "ok", "EPERM", "EPERM"})
	expect(t, "count calls=time max=2; static-verdicts", "vsyscall 3", "ok", "ok", "EPERM")
}

// uringParams is the kernel's struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	head, tail, mask, entries, sqFlags, dropped, array   uint32
	_                                                    [3]uint32
	_                                                    [10]uint32
}

// newRing makes a ring of one entry.
func newRing(t *testing.T) (*os.File, *uringParams) {
	t.Helper()
	p := new(uringParams)
	fd, _, errno := syscall.Syscall(425, 1, uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		t.Skipf("needs io_uring: %v", errno)
	}
	ring := os.NewFile(fd, "ring")
	t.Cleanup(func() { ring.Close() })
	return ring, p
}

// TestInheritedRing attacks the promise that an io_uring ring, which bypasses
// seccomp, cannot be used even if it is inherited: the target maps it, fills in
// a write and cannot hand it in. A ring with a polling kernel thread
// (IORING_SETUP_SQPOLL) needs no call: to pass one on is to grant its use.
func TestInheritedRing(t *testing.T) {
	ring, p := newRing(t)
	for _, stack := range []string{"allow", "global-count"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t, stack, attacker(t), "ring", "0", strconv.Itoa(int(p.tail)), strconv.Itoa(int(p.array)))
		cmd.ExtraFiles = []*os.File{ring, w}
		got := run(t, cmd)
		w.Close()
		compare(t, stack, "ring", got.out, []string{"enter ENOSYS", "register ENOSYS", "setup ENOSYS"})
		if n, _ := r.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%s: the ring's write was made", stack)
		}
		r.Close()
	}
}

// TestRingWorks shows that the attack above would succeed without the guard.
func TestRingWorks(t *testing.T) {
	ring, p := newRing(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := command(t, "allow", attacker(t), "ring", "0", strconv.Itoa(int(p.tail)), strconv.Itoa(int(p.array)))
	cmd.ExtraFiles, cmd.Lift = []*os.File{ring, w}, []string{"io_uring"}
	got := run(t, cmd)
	w.Close()
	if n, _ := r.Read(make([]byte, 1)); n != 1 || !strings.HasPrefix(got.out, "enter ok") {
		t.Errorf("%+v, %d bytes: expected the write of the ring", got, n)
	}
}
