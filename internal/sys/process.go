//go:build linux && amd64

package sys

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NoNewPrivs gives up gaining privileges, for the calling thread and what it
// starts (PR_SET_NO_NEW_PRIVS).
func NoNewPrivs() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }

// NotDumpable hides this process from ptrace, pidfd_getfd and /proc/PID/mem of
// other processes of its user (PR_SET_DUMPABLE).
func NotDumpable() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// Dumpable tells whether NotDumpable is not in force.
func Dumpable() bool {
	r, _, _ := syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0)
	return r == 1
}

// Subreaper makes orphaned descendants children of this process.
func Subreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Seccomp is the mode of the calling thread: 0 none, 2 filters.
func Seccomp() int {
	r, _, _ := syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_SECCOMP, 0, 0)
	return int(r)
}

// Gettid is the calling thread's id; the caller has locked it.
func Gettid() int { return unix.Gettid() }

// ThreadSignal sends a signal to one thread of this process.
func ThreadSignal(tid int, sig syscall.Signal) error {
	return unix.Tgkill(unix.Getpid(), tid, unix.Signal(sig))
}

// IsThread tells whether a task is a thread of a process.
func IsThread(pid, tid int) bool { return unix.Tgkill(pid, tid, 0) != unix.ESRCH }

// ExecKeeping executes path in place of this process, and leaves the descriptors
// keep open, which are closed on exec. It returns only if that fails.
func ExecKeeping(path string, argv, env []string, keep []int) error {
	syscall.ForkLock.RLock() // no child gets them
	defer syscall.ForkLock.RUnlock()
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
		defer syscall.CloseOnExec(fd)
	}
	return syscall.Exec(path, argv, env)
}

// OpenFiles is the soft limit of open files.
func OpenFiles() (uint64, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Cur, err
}

// Pause gives up the processor for about d nanoseconds.
func Pause(ns int64) {
	ts := unix.NsecToTimespec(ns)
	syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// Monotonic is CLOCK_MONOTONIC in nanoseconds, what bpf_ktime_get_ns returns.
func Monotonic() uint64 { return clock(unix.CLOCK_MONOTONIC) }

// Boottime is CLOCK_BOOTTIME in nanoseconds, what bpf_ktime_get_boot_ns returns.
func Boottime() uint64 { return clock(unix.CLOCK_BOOTTIME) }

func clock(id int32) uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts)
	return uint64(ts.Nano())
}

// RecvEnds tells whether NotifRecv returns, with ENOENT, when the last filtered
// task is gone: since Linux 6.11. What does not look like a later release does not.
func RecvEnds() bool {
	var major, minor int
	n, _ := fmt.Sscanf(Release(), "%d.%d", &major, &minor)
	return n == 2 && (major > 6 || major == 6 && minor >= 11)
}

// Release is the running kernel's release, such as "6.12.4".
func Release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// WaitStopped waits until a child stops, without taking its end from whoever
// waits for that. ECHILD: it is no child any more.
func WaitStopped(pid int) error {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// EndedChild is the id of some child that ended, which it leaves to be reaped;
// 0 if none has. ECHILD: there is no child. The kernel shows the stops of children
// that another thread of this process traces, too, and such a stop may hide an end
// until the tracer has taken it.
func EndedChild() (int, error) {
	info, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)
	if err != nil || !info.ended() {
		return 0, err
	}
	return int(info.pid), nil
}

// waitInfo is siginfo_t as waitid(2) fills it.
type waitInfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [100]byte
}

// What waitInfo's code says has happened to the child, CLD_*.
const (
	childExited = 1
	childKilled = 2
	childDumped = 3
)

func (i *waitInfo) ended() bool { return i.code >= childExited && i.code <= childDumped }

// waitStatus is what wait4(2) would have returned.
func (i *waitInfo) waitStatus() syscall.WaitStatus {
	const stopped, dumped = 0x7f, 0x80
	switch i.code {
	case childExited:
		return syscall.WaitStatus(i.status << 8)
	case childKilled:
		return syscall.WaitStatus(i.status)
	case childDumped:
		return syscall.WaitStatus(i.status | dumped)
	}
	return syscall.WaitStatus(i.status<<8 | stopped)
}

func waitid(kind, id, options int) (waitInfo, error) {
	var info waitInfo
	_, _, errno := syscall.Syscall6(unix.SYS_WAITID, uintptr(kind), uintptr(id),
		uintptr(unsafe.Pointer(&info)), uintptr(options), 0, 0)
	if errno != 0 {
		return info, errno
	}
	return info, nil
}

// ReapChild collects an ended child.
func ReapChild(pid int) error {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
}
