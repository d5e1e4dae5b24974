//go:build linux && amd64

package engine

import (
	"os/exec"

	"portcullis/internal/engine/kernel"
)

// startKernel is Start on the kernel engine.
func startKernel(s *Stack, cmd *exec.Cmd, o Options) (*Process, error) {
	if err := kernel.Probe(); err != nil {
		return nil, err
	}
	return nil, &kernel.UnsupportedError{What: "starting a stack", Remedy: "use the agent engine"}
}
