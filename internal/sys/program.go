//go:build linux && amd64

package sys

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ExecuteOnly copies a program into an anonymous file that ordinary users can
// execute and not read: the kernel makes a process that executes such a file
// non-dumpable before its first instruction (would_dump in fs/exec.c), which
// NotDumpable, called by the process itself, can only do later.
func ExecuteOnly(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before 6.3 the flag is unknown, and its meaning the only one
		fd, err = unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	to := os.NewFile(uintptr(fd), "portcullis")
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return nil, err
	}
	return unreadable(to)
}

// unreadable is f for nothing but execution; a file that is open for writing
// cannot be executed.
func unreadable(f *os.File) (*os.File, error) {
	only, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, err
	}
	if err := only.Chmod(0o111); err != nil {
		only.Close()
		return nil, err
	}
	return only, nil
}
