//go:build linux && amd64

package sys

import (
	"bytes"
	"fmt"
	"strconv"
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
func WaitNow() (Stop, syscall.WaitStatus, error) {
	var status int32
	got, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&status)),
		tracees|unix.WNOHANG, 0, 0, 0)
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

// Doomed tells whether a thread will not run in user mode again: it is dead, exits, or
// has been sent the SIGKILL that ends its process.
func Doomed(tid int) bool {
	const exiting = 0x4 // PF_EXITING, linux/sched.h
	var buf [4096]byte
	n, err := ReadFile([]byte(fmt.Sprintf("/proc/%d/stat\x00", tid)), buf[:])
	if err != nil {
		return err == syscall.ENOENT || err == syscall.ESRCH
	}
	// Behind the name, which may hold anything: state, then six numbers, then flags.
	fields := bytes.Fields(buf[bytes.LastIndexByte(buf[:n], ')')+1 : n])
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err == nil && flags&exiting != 0 || killed(tid, buf[:])
}

// killed tells whether a thread has SIGKILL pending.
func killed(tid int, buf []byte) bool {
	n, err := ReadFile([]byte(fmt.Sprintf("/proc/%d/status\x00", tid)), buf)
	if err != nil {
		return err == syscall.ENOENT || err == syscall.ESRCH
	}
	_, rest, found := bytes.Cut(buf[:n], []byte("\nSigPnd:\t"))
	if !found || len(rest) < 16 {
		return false
	}
	pending, err := strconv.ParseUint(string(rest[:16]), 16, 64)
	return err == nil && pending>>(uint(syscall.SIGKILL)-1)&1 != 0
}
