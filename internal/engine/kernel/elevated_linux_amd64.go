package kernel

import (
	"syscall"
	"unsafe"
)

// elevated tells whether this program was executed with more privilege than its
// caller had: AT_SECURE of getauxval(3), by PR_GET_AUXV. Kernels without it are
// older than 6.4 and have no engine: there the answer is the one that is safe.
func elevated() bool {
	const prGetAuxv, atSecure = 0x41555856, 23
	var aux [64][2]uint64
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prGetAuxv, uintptr(unsafe.Pointer(&aux)), unsafe.Sizeof(aux), 0, 0, 0)
	for _, entry := range aux {
		if errno == 0 && entry[0] == atSecure {
			return entry[1] != 0
		}
	}
	return true
}
