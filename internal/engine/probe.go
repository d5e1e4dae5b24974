//go:build linux && amd64

package engine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"portcullis/internal/engine/kernel"
	"portcullis/internal/engine/launch"
	"portcullis/internal/prefilter"
	"portcullis/internal/sys"
)

// Probe finds out what this system offers each engine, by trying.
func Probe() []Feature {
	features := []Feature{notifications(), listeners(), threadHandles(), procfs(), memory(), tracing(), reading(), sealing()}
	return append(features, kernelEngine())
}

// userNotif is SECCOMP_RET_USER_NOTIF.
const userNotif = 0x7fc00000

func notifications() Feature {
	f := Feature{Engine: Agent, Name: "seccomp notifications", Needed: true, Detail: "Linux " + sys.Release()}
	err := sys.NotifSizes()
	f.Have = err == nil && sys.ActionKnown(userNotif)
	switch {
	case errors.Is(err, syscall.EPERM):
		f.Remedy = "an outer sandbox seems to deny seccomp(2): no filter can be installed here"
	case !f.Have:
		f.Remedy = "filters that keep state need Linux 5.19 with CONFIG_SECCOMP_FILTER; static ones work"
	}
	return f
}

// listeners tries a listener on a thread of its own. It fails under another
// one, and shows whether received calls outlast signals.
func listeners() Feature {
	f := Feature{Engine: Agent, Name: "a listener whose calls outlast signals"}
	got, err := launch.Probe()
	f.Have, f.Needed = err == nil && got == launch.ListenKillable, err != nil
	switch {
	case f.Have:
		f.Detail = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV works"
	case err == nil:
		f.Detail, f.Remedy = "this kernel accepts the flag and ignores it", "nothing to do: signals make targets ask again"
	default:
		f.Detail, f.Remedy = err.Error(), "only filters that decide everything statically can be enforced here"
	}
	return f
}

func threadHandles() Feature {
	f := Feature{Engine: Agent, Name: "handles of threads", Have: true, Detail: "PIDFD_THREAD works"}
	fd, err := sys.PidfdThread(os.Getpid())
	if err != nil {
		f.Have, f.Detail = false, "pidfd_open(PIDFD_THREAD): "+err.Error()
		f.Remedy = "nothing to do: before Linux 6.9 directories in /proc stand in for them"
		return f
	}
	_ = sys.Close(fd)
	return f
}

func procfs() Feature {
	f := Feature{Engine: Agent, Name: "/proc", Needed: true, Have: true, Detail: "shows this process"}
	if _, err := os.ReadFile("/proc/self/status"); err != nil {
		f.Have, f.Detail = false, err.Error()
		f.Remedy = "mount it: targets are launched by way of it, and filters that ask who calls are answered from it"
	}
	return f
}

// memory tells whether targets can be read at all: descendants always can where
// Yama does not say otherwise.
func memory() Feature {
	f := Feature{Engine: Agent, Name: "reading a target's memory", Have: true, Detail: "ptrace of descendants is allowed"}
	scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if level := strings.TrimSpace(string(scope)); err == nil && level >= "2" {
		f.Have, f.Detail = false, "kernel.yama.ptrace_scope is "+level
		f.Remedy = "filters with probe_read_user get EPERM and their caller is killed: set it to 1"
	}
	return f
}

// takesTracer are the filters that do.
const takesTracer = "filters that pin memory (bpf_safe_read_user), order calls (bpf_wait_syscall), follow forks (BPF_F_CLONE)" +
	" or by their state answer with TRAP, TRACE or KILL_THREAD"

// tracing tries to trace a child.
func tracing() Feature {
	f := Feature{Engine: Agent, Name: "tracing", Have: true, Detail: "PTRACE_SEIZE of a child works"}
	if err := seizable(); err != nil {
		f.Have, f.Detail = false, err.Error()
		f.Remedy = takesTracer + " cannot be enforced here"
	}
	return f
}

// reading tells whether anybody's memory may be read.
func reading() Feature {
	f := Feature{Engine: Agent, Name: "process_vm_readv", Have: true, Detail: "works"}
	var te *TracingError
	if errors.As(readable(), &te) {
		f.Have, f.Detail = false, te.Err.Error()
		f.Remedy = "an outer sandbox seems to deny it: " + takesTracer + " cannot be enforced here"
	}
	return f
}

func sealing() Feature {
	f := Feature{Engine: Agent, Name: "sealed memory", Have: Slots() == prefilter.SlotsSealed, Detail: "mseal works"}
	if !f.Have {
		f.Detail = "mseal is missing: it came with Linux 6.10, or an outer sandbox denies it"
		f.Remedy = fmt.Sprintf("nothing to do: where calls are traced, copies of pinned memory are below %#x, and calls that map memory there are denied", prefilter.SlotsEnd)
	}
	return f
}

func kernelEngine() Feature {
	f := Feature{Engine: Kernel, Name: "eBPF filters in the kernel", Needed: true, Have: true, Detail: "BPF_PROG_TYPE_SECCOMP can be loaded and installed"}
	err := kernel.Probe()
	var ue *kernel.UnavailableError
	switch {
	case errors.As(err, &ue):
		f.Have, f.Detail, f.Remedy = false, ue.Reason, ue.Remedy
	case err != nil:
		f.Have, f.Detail = false, err.Error()
	}
	return f
}
