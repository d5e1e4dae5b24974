//go:build linux && amd64

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// All requests but TraceSeize and TraceInterrupt need a tracee that is stopped
// and fail with ESRCH otherwise, also where it was killed in its stop. The kernel
// knows tracers as threads: every request must come from the OS thread that
// seized, so the caller has locked it.

// TraceOption is a set of PTRACE_O_*.
type TraceOption uintptr

// What a tracer asks for. TraceExitKill: tracees die with their tracer.
// TraceSysGood: stops at calls cannot be confused with a SIGTRAP. The other ones
// add stops; a child of a tracee with TraceFork, TraceVfork or TraceClone is
// seized before its first instruction, with the same options.
const (
	TraceExitKill TraceOption = unix.PTRACE_O_EXITKILL
	TraceSysGood  TraceOption = unix.PTRACE_O_TRACESYSGOOD
	TraceSeccomp  TraceOption = unix.PTRACE_O_TRACESECCOMP
	TraceFork     TraceOption = unix.PTRACE_O_TRACEFORK
	TraceVfork    TraceOption = unix.PTRACE_O_TRACEVFORK
	TraceClone    TraceOption = unix.PTRACE_O_TRACECLONE
	TraceExec     TraceOption = unix.PTRACE_O_TRACEEXEC
	TraceExit     TraceOption = unix.PTRACE_O_TRACEEXIT
)

// TraceSeize makes the calling thread the tracer of a thread, which goes on
// (PTRACE_SEIZE). EPERM: not allowed, or traced already. ESRCH: no such thread.
func TraceSeize(tid int, options TraceOption) error {
	// Not raw: it waits for an execve that the thread is in.
	_, _, errno := syscall.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, uintptr(options), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// TraceInterrupt makes a tracee stop, with TrapStop or JobStop, as soon as it is
// in no other stop (PTRACE_INTERRUPT). What it waits in goes on afterwards.
func TraceInterrupt(tid int) error { return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0) }

// TraceListen leaves a tracee in its JobStop until SIGCONT, which is a TrapStop
// (PTRACE_LISTEN).
func TraceListen(tid int) error { return ptrace(unix.PTRACE_LISTEN, tid, 0, 0) }

// TraceCont lets a tracee run to its next stop that is none at a call's entry or
// exit, with a signal unless it is 0. The signal counts at a SignalStop and, as
// one sent by the kernel, at a CallStop; elsewhere it is lost (PTRACE_CONT).
func TraceCont(tid int, sig syscall.Signal) error {
	return ptrace(unix.PTRACE_CONT, tid, 0, uintptr(sig))
}

// TraceCall is TraceCont that also stops where a call is entered or left
// (PTRACE_SYSCALL).
func TraceCall(tid int, sig syscall.Signal) error {
	return ptrace(unix.PTRACE_SYSCALL, tid, 0, uintptr(sig))
}

// What a debugger changes to have a call made again, or none.
const (
	SyscallSize = 2          // bytes of the syscall instruction, 0f 05
	NoCall      = ^uint64(0) // OrigRax where no call is being made
)

// Regs is the kernel's struct user_regs_struct of x86-64.
type Regs struct {
	R15, R14, R13, R12, Rbp, Rbx, R11, R10, R9, R8 uint64
	Rax, Rcx, Rdx, Rsi, Rdi                        uint64
	OrigRax, Rip, Cs, Eflags, Rsp, Ss              uint64
	FsBase, GsBase, Ds, Es, Fs, Gs                 uint64
}

// ntPrstatus names the general registers in a core file, and here.
const ntPrstatus = 1

// TraceRegs reads a tracee's general registers (PTRACE_GETREGSET, NT_PRSTATUS).
// EINVAL: it is in 32-bit mode, in which they are others.
func TraceRegs(tid int, r *Regs) error {
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(unsafe.Sizeof(*r))}
	err := ptraceAt(unix.PTRACE_GETREGSET, tid, ntPrstatus, unsafe.Pointer(&iov))
	if err == nil && iov.Len != uint64(unsafe.Sizeof(*r)) {
		return syscall.EINVAL
	}
	return err
}

// TraceSetRegs writes a tracee's general registers (PTRACE_SETREGSET, NT_PRSTATUS).
func TraceSetRegs(tid int, r *Regs) error {
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(unsafe.Sizeof(*r))}
	return ptraceAt(unix.PTRACE_SETREGSET, tid, ntPrstatus, unsafe.Pointer(&iov))
}

// TraceMessage is what the kernel says with an event (PTRACE_GETEVENTMSG): the
// new task's id at a ForkStop, VforkStop or CloneStop, the id that an ExecStop's
// thread had before, the status to come at an ExitStop, SECCOMP_RET_DATA at a
// SeccompStop. Ids are those of the tracer's pid namespace.
func TraceMessage(tid int) (uint64, error) {
	var m uint64
	err := ptraceAt(unix.PTRACE_GETEVENTMSG, tid, 0, unsafe.Pointer(&m))
	return m, err
}

// TracePeek looks at a word of a tracee's memory, for what that does there
// (PTRACE_PEEKDATA): a stack grows. EIO: it cannot.
func TracePeek(tid int, addr uint64) error {
	var word uint64
	return ptraceAt(unix.PTRACE_PEEKDATA, tid, uintptr(addr), unsafe.Pointer(&word))
}

// sigsetSize is the size of the kernel's sigset_t.
const sigsetSize = 8

// TraceMask is the set of signals that a tracee blocks; bit 0 is signal 1
// (PTRACE_GETSIGMASK).
func TraceMask(tid int) (uint64, error) {
	var m uint64
	err := ptraceAt(unix.PTRACE_GETSIGMASK, tid, sigsetSize, unsafe.Pointer(&m))
	return m, err
}

// TraceSetMask sets what a tracee blocks, but for SIGKILL and SIGSTOP, which
// nobody can block (PTRACE_SETSIGMASK).
func TraceSetMask(tid int, m uint64) error {
	return ptraceAt(unix.PTRACE_SETSIGMASK, tid, sigsetSize, unsafe.Pointer(&m))
}

// CallOp says where in a call a tracee is stopped, PTRACE_SYSCALL_INFO_*.
type CallOp uint8

// The places.
const (
	CallNone    CallOp = unix.PTRACE_SYSCALL_INFO_NONE // not at a CallStop or SeccompStop
	CallEntry   CallOp = unix.PTRACE_SYSCALL_INFO_ENTRY
	CallExit    CallOp = unix.PTRACE_SYSCALL_INFO_EXIT
	CallSeccomp CallOp = unix.PTRACE_SYSCALL_INFO_SECCOMP // before the call, as at its entry
)

// CallInfo is the kernel's struct ptrace_syscall_info. With CallExit, Value is
// the result; with CallEntry and CallSeccomp, the call's number.
type CallInfo struct {
	Op    CallOp
	_     [3]uint8
	Arch  uint32 // AUDIT_ARCH_* of the entry used, whatever the tracee's mode
	IP    uint64
	SP    uint64
	Value int64
	Args  [6]uint64 // with CallEntry and CallSeccomp
	Data  uint32    // with CallSeccomp
	_     uint32
}

// TraceCallInfo tells where in a call a tracee is stopped
// (PTRACE_GET_SYSCALL_INFO).
func TraceCallInfo(tid int) (CallInfo, error) {
	var info CallInfo
	err := ptraceAt(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(info), unsafe.Pointer(&info))
	return info, err
}

// ptrace is a request whose last argument is a number, and like ptraceAt one that
// waits for no event, so that the scheduler need not hear of it.
func ptrace(request, tid int, addr, data uintptr) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ptraceAt is a request whose last argument is an address.
func ptraceAt(request, tid int, addr uintptr, data unsafe.Pointer) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
