package prefilter

import (
	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// always is the guard that denies call nr whatever its arguments are.
func (b *builder) always(arch abi.Arch, nr uint32) (Guard, bool) {
	if isIOUring(arch, nr) && !b.lift[GuardIOUring] {
		return GuardIOUring, true
	}
	if !b.traced || arch != abi.ArchX86_64 { // other tables of numbers are not traced
		return "", false
	}
	name, _ := syscalls.Name(nr)
	switch name {
	case "ptrace":
		return GuardPtrace, true
	case "clone3":
		return GuardClone3, true
	case "process_madvise", "uselib": // the latter maps where a file says
		return GuardSlots, b.options.Slots == SlotsGuarded
	}
	return "", false
}

// danger is what a guard denies of a call: where all tests hold.
type danger struct {
	guard Guard
	when  []split.Test
}

// cloneUntraced is CLONE_UNTRACED of <linux/sched.h>.
const cloneUntraced = 0x00800000

// dangers lists those of call nr, in a stack that has a supervisor.
func (b *builder) dangers(arch abi.Arch, nr uint32) []danger {
	switch {
	case isSeccomp(arch, nr):
		return []danger{{GuardListener, []split.Test{argument(0, 4, setModeFilter), flagged(1, flagNewListener)}}}
	case !b.traced || arch != abi.ArchX86_64:
		return nil
	case nr == number("clone"):
		return []danger{{GuardUntraced, []split.Test{flagged(0, cloneUntraced)}}}
	case b.options.Slots == SlotsGuarded:
		return slotDangers(nr)
	}
	return nil
}

// Flags of mmap(2) and mremap(2), the option of prctl(2) that moves a process' heap.
const (
	mapFixed          = 0x10
	mapFixedNoreplace = 0x100000
	mremapFixed       = 2
	prSetMM           = 35
)

// slotDangers lists what could put something else in the place of a slot, or
// take it away. A range that begins below the slots and reaches into them begins
// below SlotsEnd as well, one that begins above does not reach them: the kernel lets
// none wrap around. Linux to 6.9, to which this applies, has no others:
//
//   - brk takes only what is free, and gives back only the heap, which is free of
//     holes that a slot could be in: munmap and mremap cannot make one down here;
//   - the kernel does not write to a slot, not even for a debugger (FOLL_FORCE is for
//     private mappings), as a mapping of a memfd under F_SEAL_FUTURE_WRITE can never
//     become writable (VM_MAYWRITE); for the same reason userfaultfd refuses it;
//   - shmdt takes away segments of shmat alone, which a slot is none of;
//   - mlock, mbind, move_pages and msync leave contents and place alone.
func slotDangers(nr uint32) []danger {
	var all []danger
	for _, when := range slotTests(nr) {
		all = append(all, danger{GuardSlots, when})
	}
	return all
}

// slotTests lists the tests of which one list must hold.
func slotTests(nr uint32) [][]split.Test {
	name, _ := syscalls.Name(nr)
	switch name {
	case "mmap":
		return [][]split.Test{append([]split.Test{flagged(3, mapFixed|mapFixedNoreplace)}, below(0, 0)...)}
	case "munmap", "mprotect", "pkey_mprotect", "madvise", "remap_file_pages":
		return [][]split.Test{below(0, 0)}
	case "mremap":
		return [][]split.Test{below(0, 0), append([]split.Test{flagged(3, mremapFixed)}, below(4, 0)...)}
	case "shmat":
		return [][]split.Test{below(1, 1)} // at 0 the kernel chooses
	case "prctl":
		return [][]split.Test{{argument(0, 4, prSetMM)}}
	}
	return nil
}

// ignored are the bits of an address that some of these calls overlook: with linear
// address masking a process may keep data in them (LAM_U57).
const ignored = 0x3f << 57

// below tests whether the address in an argument lies between low and SlotsEnd.
func below(arg uint8, low uint64) []split.Test {
	high := argument(arg, 4, 0)
	high.Off += 4
	high.Mask &^= ignored >> 32
	return []split.Test{high, {
		Part: argument(arg, 4, 0).Part, Op: prog.OpJle, Low: low, Value: SlotsEnd - 1,
	}}
}

// guardAll adds the guards of calls of arch, where the stack is not stricter.
func (b *builder) guardAll(arch abi.Arch, rs []rule) {
	for i := range rs {
		if d := rs[i].d; d.Then == nil && d.Leaf.Guard != "" {
			continue
		}
		for _, g := range b.dangers(arch, rs[i].from) {
			rs[i].d = b.guard(rs[i].d, g)
		}
	}
}

// guard is d under a guard.
func (b *builder) guard(d *Decision, g danger) *Decision {
	guarded := b.each(d, func(l Leaf) Leaf { return b.stricter(l, g.guard) })
	for i := len(g.when) - 1; i >= 0; i-- {
		guarded = b.choose(g.when[i], guarded, d)
	}
	return guarded
}
