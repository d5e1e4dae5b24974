//go:build linux && amd64

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows changes a tracee that is stopped, or reads of its signal; see
// ptrace.go for what the requests have in common.

// argOffsets is where the arguments of a call by the syscall instruction are.
var argOffsets = [6]uintptr{
	unsafe.Offsetof(Regs{}.Rdi), unsafe.Offsetof(Regs{}.Rsi), unsafe.Offsetof(Regs{}.Rdx),
	unsafe.Offsetof(Regs{}.R10), unsafe.Offsetof(Regs{}.R8), unsafe.Offsetof(Regs{}.R9),
}

// TraceSetArg writes the register of a call's argument i, 0 to 5: at its entry
// the argument itself, at its exit what the program finds there afterwards.
func TraceSetArg(tid, i int, v uint64) error { return pokeUser(tid, argOffsets[i], v) }

// TraceSetNumber writes orig_rax: at a call's entry its number. With -1 no call is
// made, and its result is what TraceSetResult says.
func TraceSetNumber(tid int, nr int64) error {
	return pokeUser(tid, unsafe.Offsetof(Regs{}.OrigRax), uint64(nr))
}

// TraceSetResult writes rax: at a call's exit its result, a negative errno or a
// value.
func TraceSetResult(tid int, v int64) error {
	return pokeUser(tid, unsafe.Offsetof(Regs{}.Rax), uint64(v))
}

// pokeUser writes one general register (PTRACE_POKEUSER).
func pokeUser(tid int, offset uintptr, v uint64) error {
	return ptrace(unix.PTRACE_POKEUSR, tid, offset, uintptr(v))
}

// Siginfo is the kernel's siginfo_t.
type Siginfo struct {
	Signo, Errno, Code int32
	_                  int32
	SigsysInfo         // with SIGSYS; else the same memory has another meaning
	rest               [12]uint64
}

// SigsysInfo is what siginfo_t says of a call that a filter has trapped
// (SYS_SECCOMP, code 1): Errno is SECCOMP_RET_DATA then.
type SigsysInfo struct {
	CallAddr uint64 // of the instruction behind the call
	Syscall  int32
	Arch     uint32 // AUDIT_ARCH_*
}

// TraceSiginfo reads what a tracee will be told with the signal of its SignalStop
// (PTRACE_GETSIGINFO).
func TraceSiginfo(tid int, info *Siginfo) error {
	return ptraceAt(unix.PTRACE_GETSIGINFO, tid, 0, unsafe.Pointer(info))
}

// TraceSetSiginfo changes that (PTRACE_SETSIGINFO). It counts where TraceCont is
// given the same signal; with another one the kernel makes it anew.
func TraceSetSiginfo(tid int, info *Siginfo) error {
	return ptraceAt(unix.PTRACE_SETSIGINFO, tid, 0, unsafe.Pointer(info))
}
