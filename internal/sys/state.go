//go:build linux && amd64

package sys

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// StateOf is what os.Process.Wait would have returned of a process whose end was taken
// by another wait. Package os makes no such thing out of a status, so its fields are
// written; whether that was right is asked of its methods.
func StateOf(pid int, status syscall.WaitStatus, usage *syscall.Rusage) (*os.ProcessState, error) {
	type fields struct {
		pid    int
		status syscall.WaitStatus
		rusage *syscall.Rusage
	}
	state := new(os.ProcessState)
	if unsafe.Sizeof(*state) == unsafe.Sizeof(fields{}) {
		*(*fields)(unsafe.Pointer(state)) = fields{pid, status, usage}
	}
	if got, ok := state.Sys().(syscall.WaitStatus); !ok || got != status || state.Pid() != pid {
		return nil, fmt.Errorf("process %d ended with status %#x: this Go release's os.ProcessState cannot say so", pid, uint32(status))
	}
	return state, nil
}
