//go:build linux && amd64

package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memfd is a new anonymous file of a size that can be sealed and not be
// executed; name is what memory maps show of it, behind "memfd:".
func Memfd(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before 6.3 there is no such flag, and the mode lets it be executed
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Ftruncate(fd, size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SealContent lets nobody write to a Memfd, change its size or its seals any
// more; only mappings that are writable already stay so (F_SEAL_FUTURE_WRITE).
func SealContent(f *os.File) error {
	const seals = unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

// MapShared maps the start of a file for reading and writing.
func MapShared(f *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Unmap ends a MapShared.
func Unmap(b []byte) error { return unix.Munmap(b) }

// MsealKnown tells whether mseal(2) can be used here: of nothing it succeeds. It
// is missing before 6.10, and where an outer filter denies it.
func MsealKnown() bool {
	_, _, errno := syscall.RawSyscall(unix.SYS_MSEAL, 0, 0, 0)
	return errno == 0
}

// OpenFilesOf is the soft limit of open files of another process.
func OpenFilesOf(pid int) (uint64, error) {
	var r unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &r)
	return r.Cur, err
}

// notifAddfd is the kernel's struct seccomp_notif_addfd.
type notifAddfd struct {
	id         uint64
	flags      uint32
	fd, newfd  uint32
	newfdFlags uint32
}

// NotifLend gives the caller of a notification a new descriptor, closed on exec, for
// the file that fd is here, and returns its number there (5.9 and later): at, whatever
// has that number, or the lowest one that is free if at is negative. The notification
// is still to be answered: SECCOMP_ADDFD_FLAG_SEND does both, but a signal to this
// thread meanwhile can make that an answer of 0 without a descriptor
// (seccomp_notify_addfd in kernel/seccomp.c). EMFILE: the caller has as many descriptors
// as it may. EBADF: at is more than it may. ENOENT: it died or was interrupted.
func NotifLend(listener int, id uint64, fd, at int) (int, error) {
	a := notifAddfd{id: id, fd: uint32(fd), newfdFlags: unix.O_CLOEXEC}
	if at >= 0 {
		a.flags |= unix.SECCOMP_ADDFD_FLAG_SETFD
		a.newfd = uint32(at)
	}
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener),
			unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&a)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR: // before it was given
		default:
			return -1, errno
		}
	}
}
