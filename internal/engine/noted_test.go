//go:build linux && amd64

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// begun starts cmd under a filter that takes a tracer.
func begun(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := Start(&Stack{[]Filter{traced(t, "open")}}, cmd, Options{Engine: Agent, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSignalAfterTheEnd(t *testing.T) {
	cmd := sh("exit 3")
	p := begun(t, cmd)
	state, _ := p.Wait()
	if state.ExitCode() != 3 || p.Pid() != state.Pid() {
		t.Errorf("%v of process %d: expected status 3 of %d", state, state.Pid(), p.Pid())
	}
	if err := p.Signal(syscall.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("Signal: %v", err)
	}
	if err := cmd.Process.Kill(); err != os.ErrProcessDone {
		t.Errorf("Process.Kill: %v", err)
	}
	<-p.Done()
}

// Without pidfds package os knows processes by their numbers. One that has another
// process meanwhile is not signalled, before Wait or after it.
func TestSignalOfAReusedNumber(t *testing.T) {
	const pidfdSendSignal, lastPid = 424, "/proc/sys/kernel/ns_last_pid"
	if f, err := os.OpenFile(lastPid, os.O_WRONLY, 0); err != nil {
		t.Skip("needs privilege to choose a process id: " + err.Error())
	} else {
		f.Close()
	}
	if !under(t, syscall.ENOSYS, pidfdSendSignal) {
		return
	}
	p := begun(t, sh("exit 3"))
	<-p.noted.ended
	other := withNumber(t, lastPid, p.Pid())
	if err := p.Signal(syscall.SIGKILL); err != os.ErrProcessDone {
		t.Errorf("Signal: %v", err)
	}
	if other.Process.Kill(); other.Wait() == nil {
		t.Error("the other process was not there to the end")
	}
	if state, _ := p.Wait(); state.ExitCode() != 3 {
		t.Errorf("%v", state)
	}
	<-p.Done()
}

// withNumber is a process that has a number.
func withNumber(t *testing.T, lastPid string, pid int) *exec.Cmd {
	t.Helper()
	for try := 0; try < 1000; try++ {
		if err := os.WriteFile(lastPid, []byte(fmt.Sprint(pid-1)), 0); err != nil {
			t.Skip("needs privilege to choose a process id: " + err.Error())
		}
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			return cmd
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Skip("needs a process id that nobody else takes")
	return nil
}
