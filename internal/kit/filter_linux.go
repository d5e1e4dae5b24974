package kit

import (
	"runtime"
	"syscall"
	"unsafe"
)

// FilterFlags are those that a seccomp filter of a process was installed with, counted from the
// oldest one, as far as the kernel tells: PTRACE_SECCOMP_GET_METADATA of ptrace(2).
func FilterFlags(pid int, filter uint64) (uint64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
		return 0, err
	}
	const getMetadata = 0x420d
	metadata := struct{ filter, flags uint64 }{filter: filter}
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, getMetadata, uintptr(pid), unsafe.Sizeof(metadata), uintptr(unsafe.Pointer(&metadata)), 0, 0)
	if err := syscall.PtraceDetach(pid); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return metadata.flags, nil
}
