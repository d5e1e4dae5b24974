package load

import (
	"os"
	"os/exec"
	"syscall"

	"portcullis"
)

// Plain starts commands under nothing.
func Plain(c Command) (Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, c.Output, c.Output
	cmd.SysProcAttr = ownGroup()
	return plain{cmd}, cmd.Start()
}

// ownGroup makes a command the first of a process group, so that it can be ended with all that it
// starts, and nobody else with it by a server that signals its group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

type plain struct{ *exec.Cmd }

func (p plain) Pid() int { return p.Process.Pid }

func (p plain) Signal(sig os.Signal) error { return p.Process.Signal(sig) }

// Under starts commands as like says: under its filters, on its engine, with its events.
func Under(like portcullis.Cmd) Start {
	return func(c Command) (Process, error) {
		cmd := portcullis.Command(c.Path, c.Args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, c.Output, c.Output
		cmd.SysProcAttr = ownGroup()
		cmd.Filters, cmd.Engine, cmd.Log = like.Filters, like.Engine, like.Log
		cmd.Events, cmd.EventQueue, cmd.Observe = like.Events, like.EventQueue, like.Observe
		return filtered{cmd}, cmd.Start()
	}
}

// filtered is a command whose end is that of all that it left behind, and of its events.
type filtered struct{ *portcullis.Cmd }

func (f filtered) Pid() int { return f.Process.Pid }

// Wait waits for all of that.
func (f filtered) Wait() error {
	err := f.Cmd.Wait()
	<-f.Done()
	return err
}
