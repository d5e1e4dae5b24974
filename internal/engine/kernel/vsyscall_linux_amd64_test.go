package kernel

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// The calls of the vsyscall page are emulated: they are filtered, and end without the
// work that other calls have at their end.
func TestGuestVsyscallLeavesNothing(t *testing.T) {
	const want = "gettimeofday 14\nthe time true\ngetpid 0\ngetppid 0"
	for _, c := range []struct {
		name string
		x    sys.Extension
	}{
		{"with copies", sys.Extension{Pins: []sys.Pin{{Nr: syscall.SYS_GETTIMEOFDAY, Args: sys.PinAll}}}},
		{"without copies", sys.Extension{Flags: sys.NoPins}},
	} {
		f := filter{program: timeReader(), waits: true, reads: true, extension: c.x}
		f.extension.Native = allButThese(syscall.SYS_GETTIMEOFDAY, getppid)
		if got := underFilter(t, f, "vsyscall"); got != want {
			t.Errorf("%s: the victim says\n%s\nexpected\n%s", c.name, got, want)
		}
	}
}

// timeReader tries to read what gettimeofday writes, which is never copied; and getppid
// is to wait for what nobody is in.
func timeReader() *prog.Program {
	a := newAssembler().load32(6, 1, abi.OffNr)
	a.jump(prog.OpJeq, 6, getppid, "waits").jump(prog.OpJne, 6, syscall.SYS_GETTIMEOFDAY, "allow")
	a.load64(3, 1, abi.OffArgs).copy(1, 10).add(1, -8).mov(2, 8).call(helper.SafeReadUser)
	a.label("allow").answer(abi.Allow)
	a.label("waits").mov(1, getppid).mov(2, uselib).call(helper.WaitSyscall)
	return a.jump(prog.OpJeq, 0, 0, "allow").answer(abi.Errno(eio)).program("time_reader")
}

// allButThese is a bitmap of native calls.
func allButThese(nrs ...int) []byte {
	bits := make([]byte, tableSize/8)
	for i := range bits {
		bits[i] = 0xff
	}
	for _, nr := range nrs {
		bits[nr/8] &^= 1 << (nr % 8)
	}
	return bits
}

// victimCallsVsyscall makes two calls after one of the page. Exit work that this one
// leaves behind is found by the next call, which the filters are not asked about, getpid:
// it would fail with EFAULT, being another call than the one that there is work for. And
// that a read has failed must not be the next call's concern, which getppid would fail
// with EFAULT for.
func victimCallsVsyscall(*testing.T) {
	runtime.LockOSThread()
	const page = 0xffffffffff600000 // of which gettimeofday is the first
	now := new(syscall.Timeval)
	_, _, direct := syscall.RawSyscall(syscall.SYS_GETTIMEOFDAY, uintptr(unsafe.Pointer(now)), 0, 0)
	*now = syscall.Timeval{}
	vsyscall(page, uintptr(unsafe.Pointer(now)), 0)
	_, _, getpid := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	vsyscall(page, uintptr(unsafe.Pointer(now)), 0)
	_, _, parent := syscall.RawSyscall(getppid, 0, 0, 0)
	say("gettimeofday %d", int(direct))
	say("the time %v", now.Sec > 0)
	say("getpid %d", int(getpid))
	say("getppid %d", int(parent))
}

// vsyscall calls the code at an address, with two arguments as C passes them. A func is
// the address of a word that says where its code is; its fourth and fifth word arrive in
// rdi and rsi, and no register that the kernel changes has a meaning after the call.
func vsyscall(code, first, second uintptr) {
	at := &code
	f := *(*func(_, _, _, rdi, rsi uintptr))(unsafe.Pointer(&at))
	f(0, 0, 0, first, second)
}
