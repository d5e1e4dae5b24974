//go:build linux && amd64

package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// Seizer makes some thread, to which its caller is locked, the tracer of the stage
// with the number pid, and calls admit on that thread. Of the stops, which are that
// thread's alone, admit takes those before the target: when it succeeds, the process
// is stopped as the target that has executed no instruction (sys.ExecStop) and goes
// on when it is continued. The options of the trace must include sys.TraceSysGood and
// sys.TraceExec. What admit returns is to be returned: the process has ended then,
// and is left to be reaped by the Stage.
type Seizer func(pid int, admit func() error) error

// InstallTraced is Install for a target that has a tracer before its first
// instruction. It fails where the process cannot be traced, such as by another
// tracer that was there first.
func (s *Stage) InstallTraced(cfg Config, seize Seizer) (listener int, err error) {
	listener, err = s.superviseTraced(&cfg, seize)
	var ie *InstallError
	switch {
	case errors.As(err, &ie) && (ie.Step == stepSeize || ie.Err == errHeld):
		s.abandonToTracer()
		return -1, err
	case err != nil:
		s.Abandon()
		return -1, err
	}
	sys.Close(s.sock)
	return listener, nil
}

// abandonToTracer is Abandon for a process that somebody else may trace: who can then
// keep others from reaping it for as long as it likes, but not from killing it. What
// waits ends with that tracer.
func (s *Stage) abandonToTracer() {
	_ = s.cmd.Process.Kill()
	sys.Close(s.sock)
	go func() { _ = s.cmd.Wait() }()
}

// superviseTraced hears nothing more of the stage once it can be traced: others,
// too, can send by its socket then.
func (s *Stage) superviseTraced(cfg *Config, seize Seizer) (listener int, err error) {
	var order sys.StageOrder
	order.AwaitTracer()
	if err := s.order(cfg, order); err != nil {
		return -1, err
	}
	if listener, err = s.receiveListener(cfg); err != nil {
		return -1, err
	}
	fd, err := s.receive(cfg)
	closeListener(fd)
	if err == nil {
		err = s.seized(s.pursue(cfg, seize))
	}
	if err != nil {
		closeListener(listener)
		return -1, err
	}
	return listener, nil
}

// pursue has seize admit the stage, or gives up. Another tracer may have the stage's other
// thread, and let neither that go on nor the stage end; what waits for it then waits on.
func (s *Stage) pursue(cfg *Config, seize Seizer) error {
	last := make(chan struct{}, 1) // who takes the word has the last one
	last <- struct{}{}
	done := make(chan error, 1)
	go func() {
		done <- seize(s.cmd.Process.Pid, func() error { return s.admit(cfg.Token, last) })
	}()
	late := time.NewTimer(cfg.patience())
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
	}
	select {
	case <-last:
		return &InstallError{stepTrace, errHeld}
	case err := <-done:
		return err
	}
}

// seized says what an errno of a Seizer means.
func (s *Stage) seized(err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		return &InstallError{stepSeize, errno}
	}
	return err
}

// admit makes a stage that the calling thread traces the target, or ends it.
func (s *Stage) admit(token uint64, last <-chan struct{}) error {
	t := &tracee{s.cmd.Process.Pid}
	err := s.execute(t, token)
	if err == nil {
		select {
		case <-last:
			return nil
		default:
			err = &InstallError{stepTrace, errHeld}
		}
	}
	t.end()
	return err
}

// execute gives the stage's execveat the token where no user code can see it, if it
// succeeds: at the entry, before the filters are asked.
func (s *Stage) execute(t *tracee, token uint64) error {
	if err := t.interrupt(); err != nil {
		return err
	}
	if err := s.resume(); err != nil {
		return err
	}
	if err := t.enter(syscallExecveat); err != nil {
		return err
	}
	if err := sys.TraceSetArg(t.pid, launchArg, token); err != nil {
		return t.failed("PTRACE_POKEUSER", err)
	}
	errno, err := t.leave()
	if err == nil && errno != 0 {
		err = &fs.PathError{Op: opStart, Path: s.path, Err: errno}
	}
	return err
}

const (
	syscallExecveat = 322
	launchArg       = 5
)

// tracee is a stage under its tracer.
type tracee struct{ pid int }

func (t *tracee) interrupt() error {
	if err := sys.TraceInterrupt(t.pid); err != nil {
		return t.failed("PTRACE_INTERRUPT", err)
	}
	for {
		stop, err := t.next()
		if err != nil || stop.Kind == sys.TrapStop {
			return err
		}
		if err := t.pass(stop); err != nil {
			return err
		}
	}
}

// enter lets the tracee run to the entry of a call, which must be its next one.
func (t *tracee) enter(nr int64) error {
	if _, err := t.call(); err != nil {
		return err
	}
	info, err := sys.TraceCallInfo(t.pid)
	switch {
	case err != nil:
		return t.failed("PTRACE_GET_SYSCALL_INFO", err)
	case info.Op != sys.CallEntry || info.Value != nr || abi.Arch(info.Arch) != abi.ArchX86_64:
		return &InstallError{stepTrace, fmt.Errorf("it makes call %d of %v, expected %d: somebody changed its code", info.Value, abi.Arch(info.Arch), nr)}
	}
	return nil
}

// leave lets an execveat happen, and tells why it has not.
func (t *tracee) leave() (syscall.Errno, error) {
	stop, err := t.call()
	if err != nil || stop.Kind == sys.ExecStop {
		return 0, err
	}
	info, err := sys.TraceCallInfo(t.pid)
	switch {
	case err != nil:
		return 0, t.failed("PTRACE_GET_SYSCALL_INFO", err)
	case info.Op != sys.CallExit || info.Value >= 0:
		return 0, &InstallError{stepTrace, fmt.Errorf("%v in execveat, with %d: expected a sys.ExecStop or its failure", stop, info.Value)}
	}
	return syscall.Errno(-info.Value), nil
}

// call lets the tracee run to its next stop in a call.
func (t *tracee) call() (sys.Stop, error) {
	if err := sys.TraceCall(t.pid, 0); err != nil {
		return sys.Stop{}, t.failed("PTRACE_SYSCALL", err)
	}
	for {
		stop, err := t.next()
		if err != nil || stop.Kind == sys.CallStop || stop.Kind == sys.ExecStop {
			return stop, err
		}
		if err := t.pass(stop); err != nil {
			return stop, err
		}
	}
}

// next is the next stop. An end is left for os/exec.
func (t *tracee) next() (sys.Stop, error) {
	stop, err := sys.WaitLeaving(t.pid)
	switch {
	case err != nil:
		return stop, t.failed("waitid", err)
	case stop.Kind == sys.Ended, stop.Kind == sys.Killed:
		return stop, &InstallError{stepTrace, errKilled}
	}
	return stop, nil
}

// pass lets a stop that means nothing here be what it is without a tracer.
func (t *tracee) pass(stop sys.Stop) error {
	switch stop.Kind {
	case sys.JobStop:
		return t.failed("PTRACE_LISTEN", sys.TraceListen(t.pid))
	case sys.SignalStop:
		return t.failed("PTRACE_SYSCALL", sys.TraceCall(t.pid, syscall.Signal(stop.Value)))
	}
	return t.failed("PTRACE_SYSCALL", sys.TraceCall(t.pid, 0))
}

// end kills the tracee. Until it has ended, its number is its own.
func (t *tracee) end() {
	_ = syscall.Kill(t.pid, syscall.SIGKILL)
	for {
		stop, err := sys.WaitLeaving(t.pid)
		if err != nil || stop.Kind == sys.Ended || stop.Kind == sys.Killed {
			return
		}
	}
}

// errKilled is a stage that has ended, or is about to.
var errKilled = errors.New("it was killed before it executed the target")

// errHeld is a stage that does not go on.
var errHeld = errors.New("it does not go on: somebody else stops or traces it")

// failed is nil for no error. A tracee that is not in its stop was killed.
func (t *tracee) failed(step string, err error) error {
	switch err {
	case nil:
		return nil
	case syscall.ESRCH:
		return &InstallError{stepTrace, errKilled}
	}
	return &InstallError{step, err}
}
