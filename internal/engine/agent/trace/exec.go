//go:build linux && amd64

package trace

import (
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// executing notes that a thread is in execve. If it is not its process' first one it
// will get that one's number, without a word from that one; and what a request to the
// kernel is then about depends on when it is made. A stop of the first thread, taken
// before and carried out after, would let the new program go on unnoticed, as if it
// still had the memory of the old one. So while such a call lasts, the first thread
// stays where it stops: either the call fails, or the thread is gone. Every execve is
// a trace leaf for that.
func (t *Tracer) executing(th *thread, d *abi.SeccompData) {
	if d.Nr != syscall.SYS_EXECVE && d.Nr != sysExecveat || th.tid == th.proc.pid {
		return
	}
	th.call.execs = true
	th.proc.execs++
}

const sysExecveat = 322

// notExecuting ends that, and lets the first thread go on.
func (t *Tracer) notExecuting(th *thread) {
	if !th.call.execs {
		return
	}
	th.call.execs = false
	if th.proc.execs--; th.proc.execs > 0 {
		return
	}
	all := th.proc.held
	th.proc.held = nil
	for _, stop := range all {
		t.step(stop)
	}
}

// superseded tells whether a stop is to be left until it is known whether its thread
// still is the one that it was.
func (t *Tracer) superseded(th *thread, stop sys.Stop) bool {
	if th.proc == nil || th.proc.execs == 0 || th.tid != th.proc.pid {
		return false
	}
	switch stop.Kind {
	case sys.Ended, sys.Killed, sys.ExecStop:
		return false
	}
	th.proc.held = append(th.proc.held, stop)
	return true
}
