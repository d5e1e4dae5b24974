//go:build linux && amd64

package sys

import (
	"fmt"
	"os"
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

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// lastSignal is _NSIG.
const lastSignal = 64

// ResetHandlers puts every caught signal back to its default, for the whole
// process; ignored signals stay ignored. After it the Go runtime can neither
// preempt nor turn a fault into a panic: it is for processes about to execute.
func ResetHandlers() {
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		if h, ok := handler(sig); ok && h > sigIgn {
			setHandler(sig, sigDfl)
		}
	}
}

// IgnoreSignals ignores a set of signals, as from IgnoredSignals. It is for
// processes about to execute, too: the Go runtime is not told.
func IgnoreSignals(set uint64) {
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		if set>>(sig-1)&1 != 0 {
			setHandler(sig, sigIgn)
		}
	}
}

// SIG_DFL and SIG_IGN; everything above is a handler.
const (
	sigDfl = 0
	sigIgn = 1
)

// IgnoredSignals is the set of signals this process ignores, bit n-1 for signal
// n: what a program that it executes inherits.
func IgnoredSignals() (set uint64) {
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		if h, ok := handler(sig); ok && h == sigIgn {
			set |= 1 << (sig - 1)
		}
	}
	return set
}

func setHandler(sig, to uintptr) {
	a := sigaction{handler: to}
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig,
		uintptr(unsafe.Pointer(&a)), 0, unsafe.Sizeof(a.mask), 0, 0)
}

func handler(sig uintptr) (uintptr, bool) {
	var old sigaction
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0,
		uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(old.mask), 0, 0)
	return old.handler, errno == 0
}

// RestoreOpenFiles undoes what package os did to the soft limit of open files
// when the process started. The only door to the original value is a failing
// syscall.Exec, which restores it first.
func RestoreOpenFiles() { _ = syscall.Exec("", []string{""}, nil) }

// OpenFiles is the soft limit of open files.
func OpenFiles() (uint64, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Cur, err
}

// ExitGroup ends the process without running anything.
func ExitGroup(code int) {
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(code), 0, 0)
}

// Pause gives up the processor for about d nanoseconds.
func Pause(ns int64) {
	ts := unix.NsecToTimespec(ns)
	syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// AT_SECURE, and PR_GET_AUXV of Linux 6.4.
const (
	auxSecure = 23
	prGetAuxv = 0x41555856
)

// auxiliary is the auxiliary vector. A process that is not dumpable cannot read
// its own in /proc.
func auxiliary() []byte {
	var buf [1024]byte
	n, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, prGetAuxv, uintptr(unsafe.Pointer(&buf)), uintptr(len(buf)), 0, 0, 0)
	if errno != 0 {
		aux, _ := os.ReadFile("/proc/self/auxv")
		return aux
	}
	return buf[:min(int(n), len(buf))]
}

// gotCapabilities tells whether a user other than root has capabilities.
func gotCapabilities() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&hdr, &data[0])
	return unix.Getuid() != 0 && (err != nil || data[0].Permitted|data[1].Permitted != 0)
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
// 0 if none has. ECHILD: there is no child.
func EndedChild() (int, error) {
	var info struct {
		signo, errno, code, pad int32
		pid                     int32
		rest                    [108]byte
	}
	_, _, errno := syscall.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0,
		uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(info.pid), nil
}

// ReapChild collects an ended child.
func ReapChild(pid int) error {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
}
