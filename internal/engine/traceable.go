//go:build linux && amd64

package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/engine/launch"
	"portcullis/internal/sys"
)

// TracingError is a stack that takes a tracer where there can be none.
type TracingError struct {
	// Call is the one that failed, Err its errno.
	Call string
	Err  error
}

// Error is one line.
func (e *TracingError) Error() string {
	return fmt.Sprintf("%s take a tracer: %s: %v: an outer sandbox seems to deny it; allow ptrace and process_vm_readv there", takesTracer, e.Call, e.Err)
}

// Unwrap is the errno.
func (e *TracingError) Unwrap() error { return e.Err }

// traceable asks for what a tracer does, of nobody: an outer filter answers before it is
// found out that there is no such tracee. Whether targets may be traced is only known
// when one is.
func traceable() error {
	if err := sys.TraceInterrupt(os.Getpid()); err != syscall.ESRCH {
		return &TracingError{"ptrace", err}
	}
	return readable()
}

// readable reads this process' memory as a target's.
func readable() error {
	var from, to [1]byte
	n, err := sys.ReadProcess(os.Getpid(), to[:], uint64(uintptr(unsafe.Pointer(&from))))
	if err == nil && n != len(to) {
		err = syscall.EFAULT
	}
	runtime.KeepAlive(&from)
	if err != nil {
		return &TracingError{"process_vm_readv", err}
	}
	return nil
}

// errSeized is a child that could be traced, and is not to go on.
var errSeized = errors.New("the child can be traced")

// seizable traces a child before it executes anything. It is nil if that works.
func seizable() error {
	stage, err := launch.Begin(exec.Command("/proc/self/exe"))
	if err != nil {
		return err
	}
	allow := []sys.FilterInsn{{Code: 6, K: uint32(abi.Allow)}}
	_, err = stage.InstallTraced(launch.Config{Filter: allow}, seizeOnce)
	if errors.Is(err, errSeized) {
		return nil
	}
	return err
}

// seizeOnce is a launch.Seizer that lets nothing be executed.
func seizeOnce(pid int, _ func() error) error {
	runtime.LockOSThread() // the kernel knows tracers as threads
	defer runtime.UnlockOSThread()
	if err := sys.TraceSeize(pid, sys.TraceExitKill); err != nil {
		return err
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it is not reaped: the number is its own
	for {
		stop, err := sys.WaitLeaving(pid)
		if err != nil || stop.Kind == sys.Ended || stop.Kind == sys.Killed {
			return errSeized
		}
	}
}
