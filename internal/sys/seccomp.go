//go:build linux && amd64

package sys

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of InstallFilter and Exec, SECCOMP_FILTER_FLAG_* of seccomp(2).
const (
	FlagLog              = unix.SECCOMP_FILTER_FLAG_LOG
	FlagNewListener      = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	FlagWaitKillableRecv = unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
)

// NotifContinue is SECCOMP_USER_NOTIF_FLAG_CONTINUE: the call goes on.
const NotifContinue = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE

// FilterInsn is the kernel's struct sock_filter.
type FilterInsn struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// filterProg is the kernel's struct sock_fprog.
type filterProg struct {
	len    uint16
	filter *FilterInsn
}

// Notif is the kernel's struct seccomp_notif. Data is struct seccomp_data as
// the kernel lays it out.
type Notif struct {
	ID    uint64
	Pid   uint32 // the calling thread, in the receiver's pid namespace
	Flags uint32
	Data  [64]byte
}

// NotifResp is the kernel's struct seccomp_notif_resp.
type NotifResp struct {
	ID    uint64
	Val   int64
	Error int32 // 0 or a negative errno
	Flags uint32
}

// InstallFilter puts insns on the calling thread, which the caller must have
// locked and for which NoNewPrivs must be set. With FlagNewListener the result
// is the listener; it is -1 without.
func InstallFilter(insns []FilterInsn, flags uint) (listener int, err error) {
	prog := filterProg{len: uint16(len(insns)), filter: &insns[0]}
	r, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(flags), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(insns)
	switch {
	case errno != 0:
		return -1, errno
	case flags&FlagNewListener == 0:
		return -1, nil
	}
	return int(r), nil
}

// FilterFlagKnown tells whether the kernel knows a filter flag: one it does not
// know fails with EINVAL before the NULL filter fails with EFAULT.
func FilterFlagKnown(flags uint) bool {
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), 0)
	return errno == syscall.EFAULT
}

// ActionKnown tells whether the kernel has a seccomp action
// (SECCOMP_GET_ACTION_AVAIL). The action is the upper half of a verdict.
func ActionKnown(action uint32) bool {
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0,
		uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// NotifSizes asks for the kernel's sizes of notification and response and
// fails unless they are those of Notif and NotifResp: a kernel that grew them
// would write past ours.
func NotifSizes() error {
	var sizes struct{ notif, resp, data uint16 }
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0,
		uintptr(unsafe.Pointer(&sizes)))
	if errno != 0 {
		return fmt.Errorf("seccomp(SECCOMP_GET_NOTIF_SIZES): %w", errno)
	}
	if uintptr(sizes.notif) > unsafe.Sizeof(Notif{}) || uintptr(sizes.resp) > unsafe.Sizeof(NotifResp{}) {
		return fmt.Errorf("seccomp notifications of %d and %d bytes: expected %d and %d",
			sizes.notif, sizes.resp, unsafe.Sizeof(Notif{}), unsafe.Sizeof(NotifResp{}))
	}
	return nil
}

// NotifRecv takes the next notification. ENOENT: its task died meanwhile.
// EINTR: a signal. It blocks while there is none.
func NotifRecv(fd int, n *Notif) error {
	*n = Notif{} // the kernel insists on zeroes
	return ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n))
}

// NotifSend answers a notification. ENOENT: its task died or was interrupted.
func NotifSend(fd int, r *NotifResp) error {
	return ioctlAtOnce(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(r))
}

// NotifValid tells whether the task of a notification still waits for the answer.
func NotifValid(fd int, id uint64) bool {
	return ioctlAtOnce(fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id)) == nil
}

// Waking says where the two sides of a listener are woken.
type Waking uintptr

// The places.
const (
	WakeAnywhere Waking = 0
	WakeHere     Waking = unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP // on the processor of who wakes
)

// NotifWaking sets where callers and listener are woken (6.6 and later).
func NotifWaking(fd int, where Waking) error {
	return ioctlValue(fd, unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, uintptr(where))
}

// ioctl tells the scheduler that it may block: a thread that waits in RECV
// must not hold a processor of the Go runtime.
func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// ioctlAtOnce is for what waits for no event: the scheduler need not hear of it.
// A signal can end it nevertheless, while the listener's lock is held elsewhere;
// an answer that is not sent then would never be.
func ioctlAtOnce(fd int, req uintptr, arg unsafe.Pointer) error {
	for {
		switch _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), req, uintptr(arg)); errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}

func ioctlValue(fd int, req, arg uintptr) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), req, arg)
	if errno != 0 {
		return errno
	}
	return nil
}
