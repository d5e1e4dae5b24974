//go:build unix

package guest

import (
	"os"
	"syscall"
)

// socketPair returns two connected sockets, the first one for Go's poller.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := closedOnExec()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "guest port"), os.NewFile(uintptr(fds[1]), "guest port"), nil
}

// closedOnExec holds the lock against forks, so that no program that is started
// meanwhile inherits an end.
func closedOnExec() (fds [2]int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if fds, err = syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0); err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	return fds, err
}
