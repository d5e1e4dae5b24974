package absint

import (
	"fmt"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

func (k *checker) jump() *Problem {
	in := k.in
	switch {
	case in.Op == prog.OpExitInsn:
		return k.exit()
	case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
		return k.call()
	case in.Op == prog.OpCallInsn:
		return k.help()
	}
	if p := k.noLoopUnderLock(); p != nil || !IsBranch(in) {
		return p
	}
	return k.compare()
}

// noLoopUnderLock: nothing may spin while others wait.
func (k *checker) noLoopUnderLock() *Problem {
	if k.s.Lock.Map < 0 {
		return nil
	}
	next, n := Next(k.code.Prog, k.s.PC)
	for _, t := range next[:n] {
		if t <= k.s.PC {
			return k.fail("release the lock before the loop goes round", nil, "a jump backwards while a spin lock is held")
		}
	}
	return nil
}

// compare allows numbers, and a pointer with NULL.
func (k *checker) compare() *Problem {
	regs := []uint8{k.in.Dst}
	if p := k.readable(k.in.Dst); p != nil {
		return p
	}
	if k.in.Op&prog.SrcMask == prog.SrcX {
		regs = append(regs, k.in.Src)
		if p := k.readable(k.in.Src); p != nil {
			return p
		}
	}
	a, b := *k.reg(k.in.Dst), source(k.f, k.in)
	if !a.IsPointer() && !b.IsPointer() {
		return nil
	}
	if b.IsPointer() {
		a, b = b, a
	}
	op := k.in.Op & prog.OpMask
	nullable := a.Kind >= Value
	if nullable && width(k.in) == W64 && (op == prog.OpJeq || op == prog.OpJne) && b.Kind == Number && b.Is(0) {
		return nil
	}
	return k.fail("compare what a helper returned with NULL, all 64 bits; other pointers have no value a filter may see", regs, "forbidden comparison of %s", a.Kind)
}

// exit: a number comes back from the entry, no stack pointer from the others,
// and nothing is left held.
func (k *checker) exit() *Problem {
	r0 := k.reg(prog.R0)
	if len(k.s.Frames) > 1 {
		if k.s.Lock.Map >= 0 {
			return k.fail("release the lock in the function that took it", nil, "return while a spin lock is held")
		}
		if r0.Kind == Stack {
			return k.fail("return a number, and let the caller use its own pointer", []uint8{prog.R0}, "a function returns a stack pointer")
		}
		return nil
	}
	if p := k.scalar(prog.R0, "verdict"); p != nil {
		return p
	}
	return k.nothingHeld("exit")
}

func (k *checker) nothingHeld(where string) *Problem {
	if k.s.Lock.Map >= 0 {
		return k.fail("call bpf_spin_unlock on every path", nil, "%s while a spin lock is held", where)
	}
	if len(k.s.Refs) > 0 {
		return k.fail("submit or discard it on every path", nil, "%s with a reserved record", where)
	}
	return nil
}

func (k *checker) call() *Problem {
	if k.s.Lock.Map >= 0 {
		return k.fail("release the lock first", nil, "call of a function while a spin lock is held")
	}
	if len(k.s.Frames) >= prog.MaxCallFrames {
		return k.fail("inline a function", nil, "more than %d nested calls", prog.MaxCallFrames)
	}
	return nil
}

// help checks the arguments of a helper against its signature.
func (k *checker) help() *Problem {
	sig := k.code.Signature(k.in)
	if sig == nil {
		return k.fail("call a helper of the filter ABI", nil, "unknown helper %d", k.in.Imm)
	}
	if k.s.Lock.Map >= 0 && sig.ID != helper.SpinUnlock {
		return k.fail("release the lock first", nil, "call of %s while a spin lock is held", sig.Name)
	}
	for i := range sig.Args {
		if p := k.argument(sig, i); p != nil {
			p.Reason = fmt.Sprintf("%s argument %d: %s", sig.Name, i+1, p.Reason)
			return p
		}
	}
	if sig.ID == helper.TailCall {
		return k.tailCall()
	}
	return nil
}

// tailCall leaves the filter, not a function that it called: what a function
// returned would be another filter's verdict.
func (k *checker) tailCall() *Problem {
	if len(k.s.Frames) > 1 {
		return k.fail("make it where the filter begins, or let the compiler inline the function", nil, "a tail call in a function that is called")
	}
	return k.nothingHeld("tail call")
}

func (k *checker) argument(sig *helper.Signature, i int) *Problem {
	n := uint8(i + 1)
	switch sig.Args[i] {
	case helper.None:
		return nil
	case helper.Any:
		if sig.ID == helper.TracePrintk && k.reg(n).Kind == None {
			return nil // only the format says how many there are
		}
		return k.scalar(n, "argument")
	case helper.ConstMap:
		return k.mapArgument(sig, n)
	case helper.MapKey:
		return k.helperMemory(n, int64(k.mapOf(sig).KeySize), reading)
	case helper.MapValue:
		return k.helperMemory(n, int64(k.mapOf(sig).ValueSize), reading)
	case helper.MapValueOrNull:
		if r := k.reg(n); r.Kind == Number && r.Is(0) {
			return nil
		}
		return k.helperMemory(n, int64(k.mapOf(sig).ValueSize), reading)
	case helper.MemRead:
		return k.sized(sig, n, reading)
	case helper.MemWrite:
		return k.sized(sig, n, writing)
	case helper.Size, helper.SizeOrZero:
		return nil // checked with the memory it bounds
	case helper.NullTask:
		return k.null(n)
	}
	return k.specialArgument(sig, n)
}

func (k *checker) specialArgument(sig *helper.Signature, n uint8) *Problem {
	switch sig.Args[n-1] {
	case helper.Context:
		if r := k.reg(n); r.Kind != Ctx || !r.Is(0) {
			return k.fail("pass the program's own context", []uint8{n}, "expected the context")
		}
	case helper.ConstSize:
		return k.constSize(n)
	case helper.Record:
		if r := k.reg(n); r.Kind != Record || !r.Is(0) {
			return k.fail("pass what bpf_ringbuf_reserve returned, after testing it for NULL", []uint8{n}, "expected a reserved record")
		}
	case helper.Lock:
		return k.lock(sig.ID, n)
	}
	return nil
}

// mapOf is the map the call works on: every signature that needs one names it
// in its first argument, which has been checked.
func (k *checker) mapOf(sig *helper.Signature) *prog.Map {
	for i, a := range sig.Args {
		if a == helper.ConstMap {
			return k.code.Prog.Maps[k.reg(uint8(i+1)).Map]
		}
	}
	return &prog.Map{}
}

func (k *checker) mapArgument(sig *helper.Signature, n uint8) *Problem {
	r := k.reg(n)
	if r.Kind != MapHandle {
		return k.fail("pass the address of a map", []uint8{n}, "expected a map")
	}
	m := k.code.Prog.Maps[r.Map]
	if !allows(sig.Maps, m.Type) {
		return k.fail("use a helper for this type of map", []uint8{n}, "map %s of type %s is not allowed here", m.Name, m.Type)
	}
	switch sig.ID {
	case helper.MapUpdateElem, helper.MapDeleteElem:
		return k.permission(n, m, writing)
	case helper.MapLookupElem:
		if m.Flags&prog.FlagWronlyProg != 0 {
			return k.permission(n, m, reading)
		}
	}
	return nil
}

func allows(types []prog.MapType, t prog.MapType) bool {
	for _, a := range types {
		if a == t {
			return true
		}
	}
	return false
}

// helperMemory wants size readable or writable bytes at R n, of any alignment.
func (k *checker) helperMemory(n uint8, size int64, how access) *Problem {
	if p := k.pointer(n, how); p != nil {
		return p
	}
	switch k.reg(n).Kind {
	case Stack:
		return k.stack(n, 0, size, how)
	case Value, Record:
		return k.bounds(n, 0, size, how)
	}
	return k.fail("copy it to the stack first", []uint8{n}, "expected the stack, a map value or a record, found %s", k.reg(n).Kind)
}

// sized checks memory together with the size in the register after it. A size
// that varies fills a part only: then all of it has to be readable before.
func (k *checker) sized(sig *helper.Signature, n uint8, how access) *Problem {
	if p := k.scalar(n+1, "size"); p != nil {
		return p
	}
	size := k.reg(n + 1)
	regs := []uint8{n, n + 1}
	const most = maxDisplacement
	switch {
	case size.S.Min < 0:
		return k.fail("test that it is not negative, or use an unsigned type", regs, "the size in R%d may be negative", n+1)
	case size.U.Min == 0 && sig.Args[n] == helper.Size:
		return k.fail("test that it is not 0", regs, "the size in R%d may be 0", n+1)
	case size.U.Max > most:
		return k.fail("bound it, for example with &", regs, "the size in R%d has no bound", n+1)
	}
	_, constSize := size.Const()
	_, constAt := k.reg(n).Const()
	if how == reading || k.reg(n).Kind != Stack || constSize && constAt {
		return k.helperMemory(n, int64(size.U.Max), how)
	}
	p := k.helperMemory(n, int64(size.U.Max), updating)
	if p != nil && p.Remedy == unwrittenRemedy {
		p.Remedy = "zero the memory first, or pass a constant size: a part of it may be filled only"
	}
	return p
}

func (k *checker) null(n uint8) *Problem {
	if r := k.reg(n); r.Kind != Number || !r.Is(0) {
		return k.fail("pass NULL: a filter has no task pointers, the caller is meant", []uint8{n}, "expected NULL")
	}
	return nil
}

// maxRecord is the largest record a filter may reserve.
const maxRecord = 1 << 20

func (k *checker) constSize(n uint8) *Problem {
	r := k.reg(n)
	v, ok := r.Const()
	if r.Kind != Number || !ok {
		return k.fail("pass a constant", []uint8{n}, "expected a constant size")
	}
	if v == 0 || v > maxRecord {
		return k.fail("", []uint8{n}, "a record of %d bytes: expected 1..%d", v, maxRecord)
	}
	return nil
}

// lock allows one lock at a time, and its release through the same value.
func (k *checker) lock(id helper.ID, n uint8) *Problem {
	r := k.reg(n)
	regs := []uint8{n}
	if r.Kind != Value {
		return k.fail("look the value up and test it for NULL", regs, "expected a spin lock in a map value")
	}
	m := k.code.Prog.Maps[r.Map]
	off, ok := r.Const()
	if m.SpinLock < 0 || m.Contents != nil || !ok || off != uint64(m.SpinLock) {
		return k.fail("pass the address of the struct bpf_spin_lock of a map value", regs, "no spin lock of map %s is there", m.Name)
	}
	held := k.s.Lock
	switch {
	case id == helper.SpinLock && held.Map >= 0:
		return k.fail("release the other lock first", regs, "a second spin lock is taken while one is held")
	case id == helper.SpinUnlock && held.Map < 0:
		return k.fail("take the lock first", regs, "a spin lock is released that is not held")
	case id == helper.SpinUnlock && (held.Map != r.Map || held.ID != r.ID):
		return k.fail("release the lock that was taken", regs, "another spin lock is released than the one that is held")
	}
	return nil
}
