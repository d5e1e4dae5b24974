//go:build linux && amd64

package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// InstallError is a step that failed before the target was executed.
type InstallError struct {
	Step string
	Err  error
}

// Error is one line, with a remedy where the errno suggests one.
func (e *InstallError) Error() string {
	return fmt.Sprintf("installing the filter: %s: %v%s", e.Step, e.Err, e.remedy())
}

// Unwrap is the step's errno.
func (e *InstallError) Unwrap() error { return e.Err }

func (e *InstallError) remedy() string {
	switch {
	case e.Err == syscall.EBUSY:
		return ": this process already runs under a seccomp listener (of a container manager or another supervisor), and the kernel allows one: only filters that decide everything statically nest there"
	case e.Step == stepProbe && e.Err == syscall.EINVAL:
		return ": the kernel lacks SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: filters that keep state need Linux 5.19"
	case e.Step == stepSeize && e.Err == syscall.EPERM:
		return ": another tracer was there first, the command runs as another user and this process lacks CAP_SYS_PTRACE, or kernel.yama.ptrace_scope is 2 or 3: set it to 0 or 1"
	case e.Step == stepInstall && e.Err == syscall.ENOMEM:
		return ": there is no memory, or the filters of this process have more than 32768 instructions, or storage in more than 128 maps: join some of them"
	case errors.Is(e.Err, syscall.EMFILE):
		return ": this process has as many descriptors open as it may (ulimit -n)"
	case errors.Is(e.Err, syscall.EAGAIN):
		return ": this user has as many processes as it may (ulimit -u)"
	case e.Step == stepStage && errors.Is(e.Err, fs.ErrNotExist):
		return ": it is executed by its descriptor: mount /proc"
	case e.Step == stepStage:
		return ": a security module forbids it, vm.memfd_noexec is 2 and the directory for temporary files is mounted noexec, or the command's user may not enter its directory: allow one of them"
	case e.Err == syscall.ENOSYS, e.Err == syscall.EPERM:
		return ": an outer sandbox seems to deny it"
	}
	return ""
}

// Foreign tells whether the reason is a listener that is not ours.
func (e *InstallError) Foreign() bool { return e.Err == syscall.EBUSY }

// The steps that an InstallError names.
const (
	stepPrivs   = "prctl(PR_SET_NO_NEW_PRIVS)"
	stepProbe   = "seccomp(NEW_LISTENER|WAIT_KILLABLE_RECV)"
	stepInstall = "seccomp(SECCOMP_SET_MODE_FILTER)"
	stepExpose  = "preparing the stage for its tracer"
	stepSeize   = "ptrace(PTRACE_SEIZE)"
	stepTrace   = "tracing the stage"
	stepStage   = "executing the stage, an anonymous file"
)
