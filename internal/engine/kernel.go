//go:build linux && amd64

package engine

import (
	"os/exec"

	"portcullis/internal/engine/kernel"
	"portcullis/internal/prefilter"
)

// startKernel is Start on the kernel engine, which needs no supervisor.
func startKernel(s *Stack, cmd *exec.Cmd, o Options) (*Process, error) {
	if err := kernel.Probe(); err != nil {
		return nil, err
	}
	guards, err := prefilter.GuardsOnly(prefilter.Options{Lift: o.Lift})
	if err != nil {
		return nil, err
	}
	if o.Observe != prefilter.ObserveNone {
		o.logf("the kernel engine reports no events: use the agent engine to see them")
	}
	if err := kernel.StartAs(kernel.Options{WaitLimit: o.WaitLimit, Log: o.Audit}, s.trees(), guards.Program(), cmd); err != nil {
		return nil, err
	}
	return newProcess(cmd, Kernel), nil
}

// execKernel is Exec on the kernel engine.
func execKernel(s *Stack, path string, argv, env []string, o Options) error {
	if err := kernel.Probe(); err != nil {
		return err
	}
	guards, err := prefilter.GuardsOnly(prefilter.Options{Lift: o.Lift})
	if err != nil {
		return err
	}
	return kernel.ExecAs(kernel.Options{WaitLimit: o.WaitLimit, Log: o.Audit}, s.trees(), guards.Program(), path, argv, env)
}
