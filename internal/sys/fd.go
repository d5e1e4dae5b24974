//go:build linux && amd64

package sys

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SocketPair makes two connected sockets that keep message boundaries, both
// closed on exec.
func SocketPair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], err
}

// SendMessage sends one message, with a file descriptor unless it is negative.
// It never raises SIGPIPE.
func SendMessage(sock int, msg []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	for {
		err := unix.Sendmsg(sock, msg, rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// RecvMessage receives one message and the descriptor that came with it, or -1.
// A closed peer is io.EOF.
func RecvMessage(sock int, buf []byte) (n, fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		var oobn int
		n, oobn, _, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECONNRESET, err == nil && n == 0:
			return 0, -1, io.EOF
		case err != nil:
			return 0, -1, err
		}
		fd, err = rights(oob[:oobn])
		return n, fd, err
	}
}

// rights is the one descriptor in a control message, or -1.
func rights(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return -1, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("a control message with %d descriptors: expected one (%v)", len(fds), err)
	}
	return fds[0], nil
}

// EventFD is a counter that wakes pollers up when WakeUp is called on it.
func EventFD() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// WakeUp makes an EventFD readable.
func WakeUp(fd int) error {
	one := [8]byte{1}
	_, err := unix.Write(fd, one[:])
	return err
}

// Ready is what Poll found out about a descriptor.
type Ready int16

// The states of a polled descriptor. Hangup on a listener: no filtered task is left.
const (
	Readable Ready = unix.POLLIN
	Hangup   Ready = unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
)

// Poll waits until one of two descriptors is readable or hung up, for at most
// timeout milliseconds, for ever if that is negative. EINTR is retried.
func Poll(a, b, timeout int) (ra, rb Ready, err error) {
	p := [2]unix.PollFd{{Fd: int32(a), Events: unix.POLLIN}, {Fd: int32(b), Events: unix.POLLIN}}
	for {
		_, err = unix.Poll(p[:], timeout)
		if !errors.Is(err, syscall.EINTR) {
			return Ready(p[0].Revents), Ready(p[1].Revents), err
		}
	}
}

// Close closes a descriptor.
func Close(fd int) error { return unix.Close(fd) }

// OpenDir opens a directory without reading it.
func OpenDir(path string) (int, error) {
	return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// ReadAt reads a small file of a directory into buf. Files of /proc/PID fail
// with ESRCH or ENOENT once the task is gone, whoever has its number.
func ReadAt(dir int, name string, buf []byte) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.Read(fd, buf)
}

// Executable tells whether this process may execute path, by its effective ids.
func Executable(path string) error {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// atFdCwd is AT_FDCWD (-100) as a register holds it.
const atFdCwd = ^uintptr(99)

// ReadFile reads a small file into buf. The path ends in a NUL; nothing is
// allocated, as it is read for single decisions.
func ReadFile(path, buf []byte) (int, error) {
	fd, _, errno := syscall.Syscall6(unix.SYS_OPENAT, atFdCwd,
		uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	n, _, errno := syscall.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Present tells whether a directory under /proc/PID still belongs to a task.
func Present(dir int) bool {
	return unix.Faccessat(dir, "stat", unix.F_OK, 0) == nil
}
