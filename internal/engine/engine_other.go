//go:build !(linux && amd64)

package engine

import (
	"os"
	"os/exec"

	"portcullis/internal/prefilter"
)

// Process is never made on this system.
type Process struct{}

// Start fails with *PlatformError.
func Start(s *Stack, cmd *exec.Cmd, o Options) (*Process, error) { return nil, &PlatformError{} }

// Exec fails with *PlatformError.
func Exec(s *Stack, path string, argv, env []string, o Options) error { return &PlatformError{} }

// Slots is what new kernels offer.
func Slots() prefilter.Slots { return prefilter.SlotsSealed }

// Probe says that there is no engine.
func Probe() []Feature {
	return []Feature{{Engine: Agent, Name: "linux/amd64", Detail: (&PlatformError{}).Error()}}
}

// Wait fails with *PlatformError.
func (p *Process) Wait() (*os.ProcessState, error) { return nil, &PlatformError{} }

// Pid is 0.
func (p *Process) Pid() int { return 0 }

// Signal fails with *PlatformError.
func (p *Process) Signal(os.Signal) error { return &PlatformError{} }

// Done is closed.
func (p *Process) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Stops is nil.
func (p *Process) Stops() <-chan struct{} { return nil }

// Stopped is false.
func (p *Process) Stopped() bool { return false }

// Engine is empty.
func (p *Process) Engine() Kind { return "" }
