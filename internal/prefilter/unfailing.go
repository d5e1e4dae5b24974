package prefilter

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/split"
)

// Numbers of unfailing calls beside the x86-64 ones of package syscalls:
// arch/x86/entry/syscalls/syscall_32.tbl and syscall_64.tbl.
const (
	i386Exit        = 1
	i386Sigreturn   = 119
	i386RtSigreturn = 173
	i386ExitGroup   = 252
	x32RtSigreturn  = 513
)

// unfailing tells whether programs count on call nr not to return with an error.
//
// A call of which the supervisor is notified can: until the supervisor has taken it a
// signal interrupts it, and it then fails with EINTR, unless the handler was installed
// with SA_RESTART. Other calls do fail at times. But a handler's return that fails goes on
// behind the end of the return's code, and C libraries put a trap behind exit_group.
func unfailing(arch abi.Arch, nr uint32) bool {
	if arch == abi.ArchI386 {
		switch nr {
		case i386Exit, i386Sigreturn, i386RtSigreturn, i386ExitGroup:
			return true
		}
		return false
	}
	if isX32(arch, nr) && nr&^abi.X32Bit == x32RtSigreturn {
		return true
	}
	switch common(arch, nr) {
	case number("rt_sigreturn"), number("exit"), number("exit_group"):
		return true
	}
	return false
}

// unfailingNumbers lists them.
func unfailingNumbers() []uint32 {
	at := []uint32{i386Exit, i386Sigreturn, i386RtSigreturn, i386ExitGroup, abi.X32Bit | x32RtSigreturn}
	for _, name := range []string{"rt_sigreturn", "exit", "exit_group"} {
		at = append(at, number(name), abi.X32Bit|number(name))
	}
	return at
}

// uninterrupted is the leaf l of an unfailing call. What has to be asked is asked by a
// stop of the tracer, which signals do not interrupt. What passes is not observed; what
// fails or kills is, in whatever way it does, unless it is to pass all the same.
func (n *numbered) uninterrupted(l Leaf) Leaf {
	seen := observed(n.options.Observe, l)
	switch {
	case l.Kind == split.Notify:
		l.Kind = split.Trace
		l.Why.Text += fmt.Sprintf("; %s must not fail, and a notification can be interrupted", callName(n.arch, n.nr))
	case seen && n.options.Observe == ObservePermissive:
		l.Kind, l.Observed = split.Trace, true
	case seen && !passes(l.Verdict):
		l.Kind, l.Observed = split.Notify, true
	}
	return l
}

func passes(v abi.Verdict) bool { return v.Action() == abi.Allow || v.Action() == abi.Log }
