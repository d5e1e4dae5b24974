package absint

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// Problem says why an instruction is not safe in a state.
type Problem struct {
	// Reason is what was expected and what was found.
	Reason string
	// State is the registers that matter, as the kernel's log prints them.
	State string
	// Remedy is what to do about it.
	Remedy string
}

// Error is the reason and the remedy.
func (p *Problem) Error() string {
	if p.Remedy == "" {
		return p.Reason
	}
	return p.Reason + ": " + p.Remedy
}

// checker holds one check.
type checker struct {
	code *Code
	s    *State
	f    *Frame
	in   prog.Insn
}

// Check tells why instruction s.PC is not safe in s; nil if it is. Every read
// is of something written, every access inside what its pointer points to, and
// no pointer gets where a program could read it as a number.
func (c *Code) Check(s *State) *Problem {
	k := &checker{code: c, s: s, f: s.Top(), in: c.Prog.Insns[s.PC]}
	switch k.in.Class() {
	case prog.ClassALU, prog.ClassALU64:
		return k.alu()
	case prog.ClassLD:
		return nil
	case prog.ClassLDX:
		return k.load()
	case prog.ClassST:
		return k.store()
	case prog.ClassSTX:
		if k.in.Op&prog.ModeMask == prog.ModeAtomic {
			return k.atomic()
		}
		return k.storeReg()
	}
	return k.jump()
}

func (k *checker) reg(n uint8) *Reg { return &k.f.Regs[n] }

// fail makes a Problem about registers.
func (k *checker) fail(remedy string, regs []uint8, format string, args ...any) *Problem {
	p := &Problem{Reason: fmt.Sprintf(format, args...), Remedy: remedy}
	for i, n := range regs {
		if i > 0 {
			p.State += " "
		}
		p.State += k.s.Describe(k.code.Prog, n)
	}
	return p
}

// readable wants r to have been written.
func (k *checker) readable(n uint8) *Problem {
	if k.reg(n).Kind != None {
		return nil
	}
	remedy := "initialise it on every path to here"
	if n >= 1 && n <= 5 {
		remedy = "initialise it on every path to here; calls clobber R1-R5"
	}
	return k.fail(remedy, []uint8{n}, "R%d is read but was not written", n)
}

// scalar wants r to hold a number.
func (k *checker) scalar(n uint8, what string) *Problem {
	if p := k.readable(n); p != nil {
		return p
	}
	if k.reg(n).IsPointer() {
		return k.fail("use a number here; pointers have no value a filter may see", []uint8{n},
			"expected a number as %s in R%d, found %s", what, n, k.reg(n).Kind)
	}
	return nil
}

func (k *checker) alu() *Problem {
	op := k.in.Op & prog.OpMask
	byReg := k.in.Op&prog.SrcMask == prog.SrcX && op != prog.OpEnd
	if byReg {
		if p := k.readable(k.in.Src); p != nil {
			return p
		}
	}
	if op == prog.OpMov {
		return k.move(byReg)
	}
	if p := k.readable(k.in.Dst); p != nil {
		return p
	}
	dst := k.reg(k.in.Dst)
	if dst.IsPointer() || byReg && k.reg(k.in.Src).IsPointer() {
		return k.displace(op, byReg)
	}
	return nil
}

func (k *checker) move(byReg bool) *Problem {
	if byReg && k.reg(k.in.Src).IsPointer() && (k.in.Off != 0 || width(k.in) == W32) {
		return k.fail("copy the whole register", []uint8{k.in.Src}, "only a part of the pointer in R%d is copied", k.in.Src)
	}
	return nil
}

// maxDisplacement bounds pointer offsets, so that their sums never wrap
// (BPF_MAX_VAR_OFF).
const maxDisplacement = 1 << 29

// displace allows a number to be added to a pointer or taken from it.
func (k *checker) displace(op uint8, byReg bool) *Problem {
	regs := []uint8{k.in.Dst}
	ptr, src := *k.reg(k.in.Dst), source(k.f, k.in)
	if byReg {
		regs = append(regs, k.in.Src)
	}
	ok := width(k.in) == W64 && !(ptr.IsPointer() && src.IsPointer()) &&
		(op == prog.OpAdd || op == prog.OpSub && ptr.IsPointer())
	if !ok {
		return k.fail("only numbers may be added to or subtracted from a pointer, in 64 bits", regs, "forbidden arithmetic on a pointer")
	}
	if src.IsPointer() {
		ptr = src
	}
	if op == prog.OpSub && ptr.Kind == Stack {
		return k.fail("add a negative number", regs, "subtraction from a stack pointer")
	}
	switch ptr.Kind {
	case ValueOrNull, RecordOrNull:
		return k.fail("compare it with NULL first", regs, "arithmetic on %s", ptr.Kind)
	case MapHandle:
		return k.fail("use it as a helper's map argument only", regs, "arithmetic on a map")
	}
	sum := displace(op, W64, *k.reg(k.in.Dst), src)
	if sum.S.Min < -maxDisplacement || sum.S.Max > maxDisplacement {
		return k.fail("bound the number before, for example with &", regs, "%s may move out of any range", ptr.Kind)
	}
	return nil
}

// access says what an instruction or a helper does to memory.
type access uint8

const (
	reading  access = iota
	writing         // what was there is gone
	updating        // reads, then writes
)

func (a access) String() string {
	return [...]string{"read", "write", "update"}[a]
}

// pointer wants register n to be something to dereference.
func (k *checker) pointer(n uint8, how access) *Problem {
	if p := k.readable(n); p != nil {
		return p
	}
	r := k.reg(n)
	switch r.Kind {
	case Number:
		return k.fail("access memory through the context, the stack, or a map value only; read the caller's memory with a helper",
			[]uint8{n}, "%s through R%d: expected a pointer, found a number", how, n)
	case ValueOrNull, RecordOrNull:
		return k.fail("compare it with NULL first", []uint8{n}, "%s through R%d, which may be NULL", how, n)
	case MapHandle:
		return k.fail("look a value up", []uint8{n}, "%s of a map itself through R%d", how, n)
	}
	return nil
}

// memory wants size bytes at register n plus off to be there for how. Used for
// the accesses of instructions, which have an alignment.
func (k *checker) memory(n uint8, off int64, size int, how access) *Problem {
	if p := k.pointer(n, how); p != nil {
		return p
	}
	r := k.reg(n)
	switch r.Kind {
	case Ctx:
		return k.context(n, off, size, how)
	case Stack:
		if t := r.Bits.Add(ConstTnum(uint64(off))); !t.Aligned(uint64(size)) {
			return k.fail("align the access to its size", []uint8{n}, "misaligned stack access: %d bytes at offset %+d", size, off)
		}
		return k.stack(n, off, int64(size), how)
	}
	return k.bounds(n, off, int64(size), how)
}

// context is read-only, in whole fields and 32-bit halves.
func (k *checker) context(n uint8, off int64, size int, how access) *Problem {
	r := k.reg(n)
	if how != reading {
		return k.fail("copy what you want to change to the stack", []uint8{n}, "%s to the read-only context", how)
	}
	if !r.Is(0) {
		return k.fail("access fields at constant offsets from the unchanged context pointer; where the compiler computes one, read the fields into variables before choosing", []uint8{n}, "dereference of a modified context pointer")
	}
	if off < 0 || off+int64(size) > abi.DataSize {
		return k.fail("struct seccomp_data has 64 bytes", []uint8{n}, "read of %d bytes at %d outside the context", size, off)
	}
	whole := size == 4 && off%4 == 0 || size == 8 && off%8 == 0 && off >= abi.OffInstructionPointer
	if !whole {
		return k.fail("read a whole field, or an aligned 32-bit half of one", []uint8{n}, "read of %d bytes at %d of the context", size, off)
	}
	return nil
}

// extent is where an access at r + off of size bytes begins and ends.
func extent(r *Reg, off, size int64) (from, to int64) {
	return r.S.Min + off, r.S.Max + off + size
}

// bounds checks map values and records: the first byte and the last.
func (k *checker) bounds(n uint8, off, size int64, how access) *Problem {
	r := k.reg(n)
	length, name := int64(r.Size), "record"
	if r.Kind == Value {
		m := k.code.Prog.Maps[r.Map]
		length, name = int64(m.ValueSize), "value of map "+m.Name
		if p := k.permission(n, m, how); p != nil {
			return p
		}
	}
	from, to := extent(r, off, size)
	if from < 0 || to > length {
		return k.fail("bound the offset, and let the compiler keep the check: test the value that is used", []uint8{n},
			"%s of %d bytes at offset %s outside the %s: expected within 0..%d", how, size, spanOf(from, to-size), name, length)
	}
	if r.Kind == Value {
		return k.lockUntouched(n, from, to)
	}
	return nil
}

func spanOf(from, to int64) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d..%d", from, to)
}

func (k *checker) permission(n uint8, m *prog.Map, how access) *Problem {
	if how != reading && (m.Frozen || m.Flags&prog.FlagRdonlyProg != 0) {
		return k.fail("keep what changes in .data, .bss or a map of its own", []uint8{n}, "%s to read-only map %s", how, m.Name)
	}
	if how != writing && m.Flags&prog.FlagWronlyProg != 0 {
		return k.fail("drop BPF_F_WRONLY_PROG", []uint8{n}, "%s of write-only map %s", how, m.Name)
	}
	return nil
}

// lockUntouched keeps accesses off a spin lock.
func (k *checker) lockUntouched(n uint8, from, to int64) *Problem {
	m := k.code.Prog.Maps[k.reg(n).Map]
	const lockSize = 4
	at := int64(m.SpinLock)
	if m.SpinLock < 0 || k.isGlobals(m) && m.SpinLock == 0 || to <= at || from >= at+lockSize {
		return nil
	}
	return k.fail("use bpf_spin_lock and bpf_spin_unlock", []uint8{n}, "access to the spin lock of map %s", m.Name)
}

// isGlobals: a Map that is a section of globals has no lock, and its SpinLock
// may be the zero value.
func (k *checker) isGlobals(m *prog.Map) bool { return m.Contents != nil }

// unwrittenRemedy is for stack that cannot be read.
const unwrittenRemedy = "initialise it on every path to here; parts of an overwritten pointer count as unwritten"

// stack checks every byte an access at R n + off of size bytes may touch.
func (k *checker) stack(n uint8, off, size int64, how access) *Problem {
	r := k.reg(n)
	from, to := extent(r, off, size)
	if from < -prog.StackSize || to > 0 {
		return k.fail("stay within the 512 bytes of stack below the frame pointer", []uint8{n},
			"%s of %d bytes at stack offset %s: expected within -512..0", how, size, spanOf(from, to-size))
	}
	if how == writing {
		return nil
	}
	f := k.s.Frames[r.Frame]
	for at := from; at < to; at++ {
		kind, sl := f.byteAt(at)
		switch {
		case kind == Unwritten:
			return k.fail(unwrittenRemedy, []uint8{n},
				"%s of the stack at %d, which was not written", how, at)
		case kind == Spill && sl.Reg.IsPointer() && !k.fillsPointer(from, size, how):
			return k.fail("read the whole pointer into a register", []uint8{n}, "%s of a part of a pointer saved on the stack at %d", how, at)
		}
	}
	return nil
}

// fillsPointer: a plain load of a whole slot gives the pointer back.
func (k *checker) fillsPointer(from, size int64, how access) bool {
	plain := k.in.Class() == prog.ClassLDX && k.in.Op&prog.ModeMask == prog.ModeMem
	_, fixed := k.reg(k.in.Src).Const()
	return plain && fixed && size == 8 && from%8 == 0 && how == reading
}

func (k *checker) load() *Problem {
	return k.memory(k.in.Src, int64(k.in.Off), k.in.Width(), reading)
}

func (k *checker) store() *Problem {
	return k.memory(k.in.Dst, int64(k.in.Off), k.in.Width(), writing)
}

// storeReg keeps pointers out of everything but whole stack slots.
func (k *checker) storeReg() *Problem {
	if p := k.readable(k.in.Src); p != nil {
		return p
	}
	if p := k.store(); p != nil {
		return p
	}
	src, dst := k.reg(k.in.Src), k.reg(k.in.Dst)
	if !src.IsPointer() {
		return nil
	}
	_, fixed := dst.Const()
	switch {
	case src.Kind == Stack && dst.Kind == Stack && src.Frame > dst.Frame:
		return k.fail("let the caller pass memory in", []uint8{k.in.Src, k.in.Dst}, "a pointer to a function's own stack would outlive it in its caller's")
	case dst.Kind != Stack:
		return k.fail("store a number", []uint8{k.in.Src, k.in.Dst}, "a pointer (%s) would leak into %s", src.Kind, dst.Kind)
	case k.in.Width() != 8 || !fixed:
		return k.fail("save the whole pointer at a constant, aligned stack offset", []uint8{k.in.Src, k.in.Dst}, "only a part of a pointer is saved")
	}
	return nil
}

func (k *checker) atomic() *Problem {
	if p := k.scalar(k.in.Src, "operand"); p != nil {
		return p
	}
	if k.in.Imm == prog.AtomicCmpXchg {
		if p := k.scalar(prog.R0, "comparand"); p != nil {
			return p
		}
	}
	if p := k.memory(k.in.Dst, int64(k.in.Off), k.in.Width(), updating); p != nil {
		return p
	}
	r := k.reg(k.in.Dst)
	if t := r.Bits.Add(ConstTnum(uint64(int64(k.in.Off)))); !t.Aligned(uint64(k.in.Width())) {
		return k.fail("align what is updated atomically to its size", []uint8{k.in.Dst}, "misaligned atomic operation of %d bytes", k.in.Width())
	}
	return nil
}
