package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"portcullis"
	"portcullis/internal/engine/target"
	"portcullis/internal/observe"
	"portcullis/internal/record"
	"portcullis/internal/sys"
)

// counter has commands observed by programs in the kernel.
type counter struct {
	observer *observe.Observer
	recorder *record.Recorder
}

// newCounter fails where the user may not load such programs.
func newCounter(r *record.Recorder) (*counter, error) {
	o, err := observe.New()
	if err != nil {
		return nil, err
	}
	// Daemons of the command are to be waited for as well.
	if err := sys.Subreaper(); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return &counter{o, r}, nil
}

func (c *counter) close() error { return c.observer.Close() }

// run runs a command, and learns from what all that came of it did.
func (c *counter) run(cmd *exec.Cmd) error {
	follower := target.Catch()
	if err := c.observer.Start(cmd.Start); err != nil {
		follower.Release()
		return startStatus(&portcullis.Cmd{Path: cmd.Path}, err)
	}
	_, ended := follower.Wait(counted{cmd})
	follower.Release() // what comes now is meant for this process
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && err != syscall.EINTR {
			break // no child is left
		}
	}
	seen, err := c.observer.Take()
	if err != nil {
		return exit(exitOurs, fmt.Errorf("record: %w", err))
	}
	c.recorder.Observe(seen)
	return ended
}

// counted is a started command as package target sees it.
type counted struct{ *exec.Cmd }

// Pid is the command's process id.
func (c counted) Pid() int { return c.Process.Pid }

// Signal sends it a signal.
func (c counted) Signal(s os.Signal) error { return c.Process.Signal(s) }

// Wait waits for its end.
func (c counted) Wait() (*os.ProcessState, error) {
	err := c.Cmd.Wait()
	return c.ProcessState, err
}
