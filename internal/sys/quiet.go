//go:build linux && amd64

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction of x86-64.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// QuietStops has this process sent no SIGCHLD when a child or tracee stops
// (SA_NOCLDSTOP), whatever else is done on that signal: a tracer waits for stops, and
// each signal would wake a thread of the runtime for nothing.
func QuietStops() {
	const noCldStop = 1
	var act sigaction
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0,
		uintptr(unsafe.Pointer(&act)), sigsetSize, 0, 0)
	if errno != 0 || act.handler == 0 {
		return
	}
	act.flags |= noCldStop
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD),
		uintptr(unsafe.Pointer(&act)), 0, sigsetSize, 0, 0)
}

// WaitNow is WaitUsage for any tracee that does not wait: without a stop or end the
// Tid is 0.
func WaitNow(usage *syscall.Rusage) (Stop, syscall.WaitStatus, error) {
	var status int32
	got, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&status)),
		tracees|unix.WNOHANG, uintptr(unsafe.Pointer(usage)), 0, 0)
	switch {
	case errno != 0:
		return Stop{}, 0, errno
	case got == 0:
		return Stop{}, 0, nil
	}
	s := unix.WaitStatus(status)
	return Stop{int(got), stopKind(s), stopValue(s)}, syscall.WaitStatus(s), nil
}

// Yield lets another thread have the processor, if one waits for it.
func Yield() { syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
