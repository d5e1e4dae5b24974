package prefilter

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/split"
)

// Unfailing are the x86-64 calls that programs count on not to return with an error.
//
// A call of which the supervisor is notified can: until the supervisor has taken it a
// signal interrupts it, and it then fails with EINTR, unless the handler was installed
// with SA_RESTART. Other calls do fail at times. But a handler's return that fails goes on
// behind the end of the return's code, and C libraries put a trap behind exit_group.
func Unfailing() []uint32 {
	return []uint32{number("rt_sigreturn"), number("exit"), number("exit_group")}
}

// unfailing are those calls of arch. The numbers of other tables are those of
// arch/x86/entry/syscalls/syscall_32.tbl, and of syscall_64.tbl for x32.
func unfailing(arch abi.Arch) []uint32 {
	if arch == abi.ArchI386 {
		return []uint32{1, 119, 173, 252} // exit, sigreturn, rt_sigreturn, exit_group
	}
	all := Unfailing()
	for _, nr := range append(Unfailing(), 513) { // x32 has its own rt_sigreturn
		all = append(all, abi.X32Bit|nr)
	}
	return all
}

func isUnfailing(arch abi.Arch, nr uint32) bool {
	for _, u := range unfailing(arch) {
		if u == nr {
			return true
		}
	}
	return false
}

// uninterrupted is the leaf l of an unfailing call. What has to be asked is asked by a
// stop of the tracer, which signals do not interrupt. What passes is not observed; what
// fails or kills is, in whatever way it does, unless it is to pass all the same.
func (n *numbered) uninterrupted(l Leaf) Leaf {
	o := n.options.Observe
	if o == ObserveAll {
		o = ObserveDenials
	}
	switch {
	case l.Kind == split.Notify:
		l.Kind = split.Trace
		l.Why.Text += fmt.Sprintf("; %s must not fail, and a notification can be interrupted", callName(n.arch, n.nr))
	case observed(o, l) && o == ObservePermissive:
		l.Kind, l.Observed = split.Trace, true
	case observed(o, l):
		l.Kind, l.Observed = split.Notify, true
	}
	return l
}
