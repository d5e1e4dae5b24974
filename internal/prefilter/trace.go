package prefilter

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// needsTracer tells whether a tracer has to see calls, or forks.
func (b *builder) needsTracer(lists ...[]rule) bool {
	for _, t := range b.trees {
		if t.Clones() {
			return true
		}
	}
	for _, rs := range lists {
		if anyLeaf(rs, func(l Leaf) bool { return l.Kind == split.Trace }) {
			return true
		}
	}
	return false
}

// oneTable refuses to trace calls of other tables of numbers than the x86-64 one: a
// tracer knows neither what their arguments are nor which of them are dangerous.
func (b *builder) oneTable(lists ...[]rule) *Error {
	for _, g := range []Guard{GuardI386, GuardX32} {
		if b.traced && b.lift[g] {
			return b.lifted(g, lists...)
		}
	}
	return nil
}

// lifted says why g cannot be lifted, and for whose sake.
func (b *builder) lifted(g Guard, lists ...[]rule) *Error {
	e := &Error{
		Insn: -1, Remedy: "leave it in place",
		Reason: fmt.Sprintf("guard %q cannot be lifted: this stack takes a tracer, which knows x86-64 calls alone", g),
	}
	for _, t := range b.trees {
		if t.Clones() {
			e.Program = t.name()
		}
	}
	for _, rs := range lists {
		anyLeaf(rs, func(l Leaf) bool {
			if l.Kind == split.Trace {
				e.Program, e.Insn, e.Line = l.Program, l.Why.Insn, l.Why.Line
			}
			return l.Kind == split.Trace
		})
	}
	return e
}

// MayRedirect tells whether a tracer may put another value into an argument of a
// call before the kernel makes it: the address of a copy, or one that cannot be
// read. It may where there can be a pointer, and hence in any argument of a call that
// has no name or is of another table.
func MayRedirect(arch abi.Arch, nr uint32, arg int) bool {
	call, ok := args.Of(nr)
	if arch != abi.ArchX86_64 || !ok || pointer(call.Args[arg]) {
		return true
	}
	for _, c := range call.Cases() {
		if int(c.Arg) == arg && pointer(c.Is) {
			return true
		}
	}
	return false
}

func pointer(a args.Arg) bool { return a.Shape != args.None && a.Shape != args.Value }

// untied is d without the tests before a trace leaf whose outcome the tracer may
// change: the calls that such a test parts are all traced.
//
// Soundness: the kernel runs the program again after the tracer has redirected
// arguments, and TRACE then means that the call goes on. In what untied returns no
// test above a trace leaf looks at an argument that MayRedirect allows to change, so
// the same calls of a number, with whatever values in those arguments, come to the
// same trace leaf. What is put above it later keeps that: guards deny where they
// part calls, a redirected argument that looks dangerous to one hence fails, and one
// that no longer does so was denied before; the launch and injected calls are told by
// what is not redirected, and let pass what is decided to pass.
func (n *numbered) untied(d *Decision) *Decision {
	if d.Then == nil {
		return d
	}
	tied := n.choose(d.Test, n.untied(d.Then), n.untied(d.Else))
	if tied.Then == nil || !tied.any(func(l Leaf) bool { return l.Kind == split.Trace }) {
		return tied
	}
	for _, p := range []split.Part{tied.Test.Part, tied.Test.With} {
		if arg, ok := n.redirected(p); ok {
			l := tied.dearest()
			l.Why.Text += fmt.Sprintf("; args[%d], which is tested before, may be replaced by a copy's address", arg)
			return n.leafOf(l)
		}
	}
	return tied
}

// redirected is the argument that p is of, if it may be redirected.
func (n *numbered) redirected(p split.Part) (arg int, ok bool) {
	if p.Size == 0 || p.Off < abi.OffArgs {
		return 0, false
	}
	arg = int(p.Off-abi.OffArgs) / 8
	return arg, MayRedirect(n.arch, n.nr, arg)
}

// injectable are the calls by which a tracer puts memory into a target, and holds it.
var injectable = [...]string{"mmap", "munmap", "close", "madvise", "mseal", "poll"}

func isInjectable(nr uint32) bool {
	for _, name := range injectable {
		if number(name) == nr {
			return true
		}
	}
	return false
}

// reserved is the leaf of a number by which a tracer has the kernel kill or trap.
// No filter is asked, as no call has it.
func reserved(nr uint32) (Leaf, bool) {
	l := Leaf{Guard: Reserved, Filter: -1}
	switch nr {
	case abi.KillProcessCall:
		l.Verdict = abi.KillProcess
	case abi.KillThreadCall:
		l.Verdict = abi.KillThread
	case abi.TrapCall:
		l.Verdict = abi.Trap
	default:
		return Leaf{}, false
	}
	return l, true
}

// tracedNumbers are those at which something else is decided if the stack is traced:
// for each named call, which of its arguments hold pointers.
func tracedNumbers() []uint32 {
	at := []uint32{abi.RequestCall, abi.KillProcessCall, abi.KillThreadCall, abi.TrapCall}
	for _, c := range syscalls.All() {
		at = append(at, c.Nr)
	}
	return at
}

// exempt lets pass, before filters and guards, what the engine itself makes a target
// call. Calls that are always allowed pass without a test, so that they stay in the
// kernel's bitmap.
func (b *builder) exempt(rs []rule) {
	for i := range rs {
		if nr := rs[i].from; nr == number("execveat") {
			rs[i].d = b.launched(rs[i].d)
		} else if b.traced {
			rs[i].d = b.injected(nr, rs[i].d)
		}
	}
}

// launched lets the launch pass d.
func (b *builder) launched(d *Decision) *Decision {
	if b.options.Token == 0 || d.is(abi.Allow) {
		return d
	}
	launch := b.leafOf(Leaf{Verdict: abi.Allow, Guard: Launch, Filter: -1})
	return b.choose(argument(launchArg, 8, b.options.Token), launch, d)
}

// injected lets what a tracer injects pass d, the decision on call nr.
func (b *builder) injected(nr uint32, d *Decision) *Decision {
	l := Leaf{Verdict: abi.Allow, Guard: Injected, Filter: -1}
	switch {
	case nr == abi.RequestCall:
		l = Leaf{Kind: split.Notify, Guard: Injected, Filter: -1}
	case !isInjectable(nr) || d.is(abi.Allow):
		return d
	}
	return b.choose(atCallSite(), b.leafOf(l), d)
}

// atCallSite tests where a call is made. The upper half of the address suffices: see
// abi.CallSite.
func atCallSite() split.Test {
	high := split.Part{Off: abi.OffInstructionPointer + 4, Size: 4, Mask: 0xffffffff}
	return split.Test{Part: high, Op: prog.OpJeq, Value: abi.CallSite >> 32}
}
