package prefilter

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
)

// Guard names a rule that the engine adds to every stack.
type Guard string

// The guards.
const (
	GuardI386     Guard = "i386"
	GuardX32      Guard = "x32"
	GuardIOUring  Guard = "io_uring"
	GuardListener Guard = "listener"
	GuardPtrace   Guard = "ptrace"
	GuardUntraced Guard = "untraced"
	GuardClone3   Guard = "clone3"
	GuardSlots    Guard = "slots"
)

// What else may decide before a stack does; none of it is in the table of guards.
const (
	// GuardArch kills what reports an architecture other than x86-64 and i386,
	// which no amd64 kernel does.
	GuardArch Guard = "arch"
	// Launch is the exemption of the execve that starts the command.
	Launch Guard = "launch"
	// Injected is the calls that a tracer makes a target make, at abi.CallSite.
	Injected Guard = "injected"
	// Reserved is the numbers by which a tracer has the kernel kill or trap.
	Reserved Guard = "reserved"
)

// GuardInfo is a row of the table of guards.
type GuardInfo struct {
	Name Guard
	// When says which calls it decides, and under which stacks.
	When string
	// Verdict is what it answers, unless a static verdict of the stack is
	// stricter.
	Verdict abi.Verdict
	// Liftable tells whether the installer may leave it out, by name.
	Liftable bool
	// Why is what goes wrong without it.
	Why string
}

// The errno values of the guards (include/uapi/asm-generic/errno*.h).
const (
	eperm  = 1
	ebusy  = 16
	enosys = 38
)

// Guards is the table, in the order in which guards decide. The caller owns it.
func Guards() []GuardInfo {
	return []GuardInfo{
		{
			GuardI386, "every i386 call", abi.KillProcess, true,
			"a filter written for one table of numbers must not be asked with another's",
		},
		{
			GuardX32, "every x86-64 call with bit 30 of its number set, except -1", abi.KillProcess, true,
			"x32 calls report the x86-64 architecture, so a filter that tests it does not see them",
		},
		{
			GuardIOUring, "io_uring_setup, io_uring_enter and io_uring_register", abi.Errno(enosys), true,
			"operations of a ring, even an inherited one, bypass every seccomp filter",
		},
		{
			GuardListener, "seccomp(SECCOMP_SET_MODE_FILTER) with NEW_LISTENER, if any call is asked of the supervisor", abi.Errno(ebusy), false,
			"once the supervisor is gone, a newer listener outranks it and continues what it would deny",
		},
		{
			GuardPtrace, "ptrace, if the stack is traced", abi.Errno(eperm), false,
			"a child that a target traces before its own tracer does is not held up at its calls",
		},
		{
			GuardUntraced, "clone with CLONE_UNTRACED, if the stack is traced", abi.Errno(eperm), false,
			"the child would be without a tracer, and its traced calls would fail",
		},
		{
			GuardClone3, "clone3, if the stack is traced", abi.Errno(enosys), false,
			"its flags are in memory, where no filter sees CLONE_UNTRACED; libraries fall back to clone",
		},
		{
			GuardSlots, "calls that could map or unmap memory below 0x400000, if the stack is traced and the kernel has no mseal", abi.Errno(eperm), false,
			"copies of pinned arguments are there, and the kernel is to read what was decided on",
		},
	}
}

// inForce are the guards that apply to the stack; dynamic tells that it has a
// supervisor.
func (b *builder) inForce(dynamic bool) (all []Guard) {
	for _, info := range Guards() {
		applies := !b.lift[info.Name]
		switch info.Name {
		case GuardListener:
			applies = dynamic
		case GuardPtrace, GuardUntraced, GuardClone3:
			applies = b.traced
		case GuardSlots:
			applies = b.traced && b.options.Slots == SlotsGuarded
		}
		if applies {
			all = append(all, info.Name)
		}
	}
	return all
}

func (g Guard) verdict() abi.Verdict {
	for _, info := range Guards() {
		if info.Name == g {
			return info.Verdict
		}
	}
	return abi.KillProcess
}

// lifted is the set of guards that o lifts.
func (o Options) lifted() (map[Guard]bool, *Error) {
	set := make(map[Guard]bool, len(o.Lift))
	for _, g := range o.Lift {
		if err := liftable(g); err != nil {
			return nil, err
		}
		set[g] = true
	}
	return set, nil
}

func liftable(g Guard) *Error {
	var names []string
	for _, info := range Guards() {
		switch {
		case info.Name == g && !info.Liftable:
			return &Error{Insn: -1, Reason: fmt.Sprintf("guard %q cannot be lifted: %s", g, info.Why), Remedy: "leave it in place"}
		case info.Name == g:
			return nil
		case info.Liftable:
			names = append(names, string(info.Name))
		}
	}
	return &Error{Insn: -1, Reason: fmt.Sprintf("no guard is called %q", g), Remedy: "lift " + strings.Join(names, ", ")}
}

// isX32 tells whether nr is a number of the x32 table. The kernel answers
// ENOSYS to -1, which debuggers set to skip a call; it is no x32 number.
func isX32(arch abi.Arch, nr uint32) bool {
	return arch == abi.ArchX86_64 && nr&abi.X32Bit != 0 && nr != ^uint32(0)
}

// Numbers that the guards look for, beside the x86-64 ones of package syscalls:
// arch/x86/entry/syscalls/syscall_32.tbl. From 424 on all tables agree, and x32
// has the x86-64 numbers of all three calls with its bit set.
const i386Seccomp = 354

func number(name string) uint32 {
	nr, ok := syscalls.Number(name)
	if !ok {
		return ^uint32(0)
	}
	return nr
}

func isIOUring(arch abi.Arch, nr uint32) bool {
	nr = common(arch, nr)
	return nr == number("io_uring_setup") || nr == number("io_uring_enter") || nr == number("io_uring_register")
}

func isSeccomp(arch abi.Arch, nr uint32) bool {
	if arch == abi.ArchI386 {
		return nr == i386Seccomp
	}
	return common(arch, nr) == number("seccomp")
}

// common takes the x32 bit off.
func common(arch abi.Arch, nr uint32) uint32 {
	if isX32(arch, nr) {
		return nr &^ abi.X32Bit
	}
	return nr
}

// guarded is every number at which a guard or an exemption may decide
// differently from its neighbour.
func (b *builder) guarded() []uint32 {
	var at []uint32
	for _, nr := range []uint32{
		number("io_uring_setup"), number("io_uring_enter"), number("io_uring_register"),
		number("seccomp"), number("execveat"), i386Seccomp,
	} {
		at = append(at, nr, nr+1, nr|abi.X32Bit, nr|abi.X32Bit+1)
	}
	special := append(unfailing(abi.ArchX86_64), unfailing(abi.ArchI386)...)
	if b.traced {
		special = append(special, tracedNumbers()...)
	}
	for _, nr := range special {
		at = append(at, nr, nr+1)
	}
	return append(at, 0, abi.X32Bit, 2*abi.X32Bit, 3*abi.X32Bit, ^uint32(0))
}
