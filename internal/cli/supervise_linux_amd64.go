package cli

import (
	"errors"
	"fmt"
	"os"

	"portcullis"
	"portcullis/internal/engine/target"
)

// catching are signals that are being caught. It is begun early, for the runtime's
// thread for signals is asked once for each, and what it takes is to wake it and
// wait for it.
type catching chan *target.Follower

func catch() catching {
	c := make(catching, 1)
	go func() { c <- target.Catch() }()
	return c
}

// supervise starts cmd and stands in for it until it ends, then stays until
// nothing is left that it decides for: daemons keep their filters' answers.
func (l *launcher) supervise(cmd *portcullis.Cmd) error {
	if l.signals == nil {
		l.signals = catch()
	}
	err := verify(cmd.Filters)
	follower := <-l.signals
	l.signals = nil
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		follower.Release()
		return err
	}
	_, err = follower.Wait(process{cmd})
	// From here on a signal is meant for this process: there is no CMD left to
	// pass it to, and ending means that what is left gets ENOSYS. Where nothing is
	// left, that takes longer than to end.
	go follower.Release()
	<-cmd.Done()
	return err
}

// verify does beforehand what Start would.
func verify(filters []*portcullis.Filter) error {
	for _, f := range filters {
		if err := f.Verify(); err != nil {
			return err
		}
	}
	return nil
}

// process is a started command as package target sees it.
type process struct{ *portcullis.Cmd }

// Pid is the command's process id.
func (p process) Pid() int { return p.Process.Pid }

// Wait waits for the command's end.
func (p process) Wait() (*os.ProcessState, error) {
	err := p.Cmd.Wait()
	return p.ProcessState, err
}

// foreign is an error that another supervisor's listener is the reason of.
type foreign interface{ Foreign() bool }

// launcher runs a command in the way that its filters and its watcher need.
type launcher struct {
	*app
	signals catching // nil until they are caught
}

// launcher is made before there is a command.
func (a *app) launcher(o *runFlags) *launcher {
	l := &launcher{app: a}
	if o.watched() { // else the command may take this process's place
		l.signals = catch()
	}
	return l
}

// launch runs cmd.
func (l *launcher) launch(cmd *portcullis.Cmd, w *watcher) error {
	if !w.needed() && !cmd.Permissive && cmd.Engine != portcullis.Kernel {
		return l.inPlace(cmd)
	}
	err := l.supervise(cmd)
	var f foreign
	if !errors.As(err, &f) || !f.Foreign() || cmd.Permissive || !allStatic(cmd.Filters) {
		return err
	}
	// Observing takes the one listener that a task may have, and somebody else
	// has it. The verdicts are the same without.
	fmt.Fprintln(l.Err, "portcullis: denials are not reported: this process already runs under another supervisor's listener")
	cmd.Events, cmd.Observe = nil, portcullis.ObserveNone
	return l.inPlace(cmd)
}

// inPlace becomes cmd if the kernel can decide all its calls; else it supervises.
func (l *launcher) inPlace(cmd *portcullis.Cmd) error {
	err := cmd.Exec()
	var dynamic *portcullis.DynamicError
	if errors.As(err, &dynamic) {
		return l.supervise(cmd)
	}
	return err
}

func allStatic(fs []*portcullis.Filter) bool {
	for _, f := range fs {
		r, err := f.Check()
		if err != nil || r.Notify+r.Trace > 0 {
			return false
		}
	}
	return true
}
