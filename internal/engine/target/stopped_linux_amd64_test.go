package target

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// told is a traced process of which its tracer says whether it is stopped as a job.
type told struct {
	Process
	pid     int
	stopped bool
}

func (p told) Pid() int               { return p.pid }
func (p told) Stops() <-chan struct{} { return make(chan struct{}) }
func (p told) Stopped() bool          { return p.stopped }

// A process that stands still for its tracer is not stopped: to continue it would undo
// the stop that it is on its way to.
func TestTracersStopIsNone(t *testing.T) {
	runtime.LockOSThread() // it is the tracer
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	}()
	var w syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &w, 0, nil); err != nil || !w.Stopped() {
		t.Fatalf("%v, %v: expected a stop at the program's begin", w, err)
	}
	for _, stopped := range []bool{false, true} {
		if got := stillStopped(told{pid: cmd.Process.Pid, stopped: stopped}); got != stopped {
			t.Errorf("its tracer says %v: taken for %v", stopped, got)
		}
	}
}
