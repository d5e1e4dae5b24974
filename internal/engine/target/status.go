package target

import (
	"os"
	"syscall"
)

// ExitStatus is the status a shell gives for a process that ended so: its exit
// code, or 128 and the signal.
func ExitStatus(s *os.ProcessState) int {
	w, ok := s.Sys().(syscall.WaitStatus)
	if ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
