//go:build linux && amd64

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidfdThread is PIDFD_THREAD (6.9 and later).
const pidfdThread = unix.O_EXCL

// PidfdProcess opens a process by the id of its leader. A thread that leads no
// process is EINVAL before and ENOENT from 6.9 on.
func PidfdProcess(pid int) (fd int, err error) { return unix.PidfdOpen(pid, 0) }

// PidfdThread opens a single thread. EINVAL: a kernel before 6.9.
func PidfdThread(tid int) (fd int, err error) { return unix.PidfdOpen(tid, pidfdThread) }

// PidfdSignal sends a signal to what a pidfd names; signal 0 only asks whether
// the number still belongs to it: ESRCH if not, even if another task has the
// number by now.
func PidfdSignal(fd int, sig syscall.Signal) error {
	return unix.PidfdSendSignal(fd, unix.Signal(sig), nil, 0)
}

// PidfdGone tells whether a task ended, reaped or not. It does not wait.
func PidfdGone(fd int) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	_, _, errno := syscall.RawSyscall(unix.SYS_POLL, uintptr(unsafe.Pointer(&p)), 1, 0)
	return errno == 0 && p.Revents != 0
}

// PidfdReap collects an ended process if it is a child of ours.
// ECHILD: it is not.
func PidfdReap(fd int) error {
	return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// ReadProcess copies memory of a thread's address space at addr into dst and
// returns how many bytes from the start were readable. EFAULT: not one. EPERM:
// not allowed, or not dumpable.
func ReadProcess(tid int, dst []byte, addr uint64) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	local := unix.Iovec{Base: &dst[0], Len: uint64(len(dst))}
	remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(dst)}
	n, _, errno := syscall.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
