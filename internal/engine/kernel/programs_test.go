package kernel

import (
	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// getppid is what the filters of these tests count: nothing else calls it.
const getppid = 110

// assembler lays out a program; a jump names its label, defined anywhere.
type assembler struct {
	insns  []prog.Insn
	maps   []*prog.Map
	labels map[string]int
	jumps  map[int]string
}

func newAssembler() *assembler {
	return &assembler{labels: map[string]int{}, jumps: map[int]string{}}
}

func (a *assembler) op(in ...prog.Insn) *assembler {
	a.insns = append(a.insns, in...)
	return a
}

// mov sets a register to a constant, sign-extended.
func (a *assembler) mov(dst uint8, imm int32) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcK, Dst: dst, Imm: imm})
}

// copy copies a register.
func (a *assembler) copy(dst, src uint8) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU64 | prog.OpMov | prog.SrcX, Dst: dst, Src: src})
}

// add adds a constant.
func (a *assembler) add(dst uint8, imm int32) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcK, Dst: dst, Imm: imm})
}

// and keeps bits.
func (a *assembler) and(dst uint8, imm int32) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU64 | prog.OpAnd | prog.SrcK, Dst: dst, Imm: imm})
}

// alu computes dst = dst op src.
func (a *assembler) alu(op, dst, src uint8) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU64 | op | prog.SrcX, Dst: dst, Src: src})
}

// load32 loads 32 bits.
func (a *assembler) load32(dst, src uint8, off int16) *assembler {
	return a.op(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeW, Dst: dst, Src: src, Off: off})
}

// load64 loads 64 bits.
func (a *assembler) load64(dst, src uint8, off int16) *assembler {
	return a.op(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeDW, Dst: dst, Src: src, Off: off})
}

// store64 stores a constant in 64 bits.
func (a *assembler) store64(dst uint8, off int16, imm int32) *assembler {
	return a.op(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeDW, Dst: dst, Off: off, Imm: imm})
}

// spill stores a register in 64 bits.
func (a *assembler) spill(dst uint8, off int16, src uint8) *assembler {
	return a.op(prog.Insn{Op: prog.ClassSTX | prog.ModeMem | prog.SizeDW, Dst: dst, Src: src, Off: off})
}

// fetchAdd is r1 = atomic_fetch_add(*(u64 *)dst, r1).
func (a *assembler) fetchAdd(dst uint8) *assembler {
	return a.op(prog.Insn{
		Op: prog.ClassSTX | prog.ModeAtomic | prog.SizeDW, Dst: dst, Src: 1, Imm: prog.AtomicAdd | prog.AtomicFetch,
	})
}

// jump jumps to label when dst compares to imm; prog.OpJa always.
func (a *assembler) jump(op, dst uint8, imm int32, label string) *assembler {
	a.jumps[len(a.insns)] = label
	return a.op(prog.Insn{Op: prog.ClassJMP | op | prog.SrcK, Dst: dst, Imm: imm})
}

// label names the next instruction.
func (a *assembler) label(name string) *assembler {
	a.labels[name] = len(a.insns)
	return a
}

// mapTo points a register to a map (prog.PseudoMapFD) or its value (prog.PseudoMapValue).
func (a *assembler) mapTo(dst, how uint8, m *prog.Map) *assembler {
	at := len(a.maps)
	for i, known := range a.maps {
		if known == m {
			at = i
		}
	}
	if at == len(a.maps) {
		a.maps = append(a.maps, m)
	}
	return a.op(prog.Insn{Op: prog.OpLoadImm64, Dst: dst, Src: how, Imm: int32(at)}, prog.Insn{})
}

// call calls a helper.
func (a *assembler) call(id helper.ID) *assembler {
	return a.op(prog.Insn{Op: prog.OpCallInsn, Imm: int32(id)})
}

// storage is r0 = what a map has for the caller, from now on.
func (a *assembler) storage(m *prog.Map, flags int32) *assembler {
	return a.mapTo(1, prog.PseudoMapFD, m).mov(2, 0).mov(3, 0).mov(4, helper.StorageCreate|flags).call(helper.TaskStorageGet)
}

// into calls a function that begins so many instructions behind the next one.
func (a *assembler) into(ahead int32) *assembler {
	return a.op(prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall, Imm: ahead})
}

// answer ends the program with a verdict.
func (a *assembler) answer(v abi.Verdict) *assembler {
	return a.op(prog.Insn{Op: prog.ClassALU | prog.OpMov | prog.SrcK, Dst: 0, Imm: int32(v)}).exit()
}

// exit ends the program, or a function of it.
func (a *assembler) exit() *assembler { return a.op(prog.Insn{Op: prog.OpExitInsn}) }

// unless goes on only for the system call nr, and to label for others.
func (a *assembler) unless(nr int32, label string) *assembler {
	return a.load32(2, 1, abi.OffNr).jump(prog.OpJne, 2, nr, label)
}

// program resolves the labels.
func (a *assembler) program(name string) *prog.Program {
	for at, label := range a.jumps {
		a.insns[at].Off = int16(a.labels[label] - at - 1)
	}
	return &prog.Program{Name: name, Insns: a.insns, Maps: a.maps, License: "GPL"}
}

// constant answers one verdict to the calls nr, and ALLOW to others.
func constant(name string, v abi.Verdict, nrs ...int32) *prog.Program {
	a := newAssembler().load32(2, 1, abi.OffNr)
	for _, nr := range nrs {
		a.jump(prog.OpJeq, 2, nr, "match")
	}
	a.answer(abi.Allow)
	if len(nrs) > 0 {
		a.label("match").answer(v)
	}
	return a.program(name)
}

// limitWith counts getppid at the address that get leaves in r0, and fails it
// from the limit on. Failures of get are EIO, for which get jumps to "broken".
func limitWith(name string, limit int32, get func(a *assembler)) *prog.Program {
	a := newAssembler().unless(getppid, "allow")
	get(a)
	a.mov(1, 1).fetchAdd(0)
	a.jump(prog.OpJge, 1, limit, "deny").jump(prog.OpJa, 0, 0, "allow")
	a.label("broken").answer(abi.Errno(eio))
	a.label("deny").answer(abi.Errno(edom))
	a.label("allow").answer(abi.Allow)
	return a.program(name)
}

// Errors that no call of the victims gives by itself.
const (
	eio  = 5
	edom = 33
)

// limitByMap counts in element 0 of a keyed map with 8-byte values, which it
// inserts when it is not there.
func limitByMap(m *prog.Map, limit int32) *prog.Program {
	return limitWith("limit_map", limit, func(a *assembler) {
		a.store64(prog.R10, -8, 0)
		a.mapTo(1, prog.PseudoMapFD, m).copy(2, prog.R10).add(2, -8).call(helper.MapLookupElem)
		a.jump(prog.OpJne, 0, 0, "there")
		a.store64(prog.R10, -16, 0)
		a.mapTo(1, prog.PseudoMapFD, m).copy(2, prog.R10).add(2, -8).copy(3, prog.R10).add(3, -16)
		a.mov(4, 1).call(helper.MapUpdateElem) // BPF_NOEXIST: another thread may have been first
		a.mapTo(1, prog.PseudoMapFD, m).copy(2, prog.R10).add(2, -8).call(helper.MapLookupElem)
		a.jump(prog.OpJeq, 0, 0, "broken")
		a.label("there")
	})
}

// limitByStorage counts in task storage.
func limitByStorage(m *prog.Map, limit, flags int32) *prog.Program {
	return limitWith("limit_storage", limit, func(a *assembler) {
		a.storage(m, flags).jump(prog.OpJeq, 0, 0, "broken")
	})
}

// limitByGlobals counts in a variable, up to a constant in .rodata.
func limitByGlobals(bss, rodata *prog.Map) *prog.Program {
	a := newAssembler().unless(getppid, "allow")
	a.mapTo(3, prog.PseudoMapValue, rodata).load64(3, 3, 0)
	a.mapTo(4, prog.PseudoMapValue, bss).mov(1, 1).fetchAdd(4)
	a.jumps[len(a.insns)] = "deny"
	a.op(prog.Insn{Op: prog.ClassJMP | prog.OpJge | prog.SrcX, Dst: 1, Src: 3})
	a.label("allow").answer(abi.Allow)
	a.label("deny").answer(abi.Errno(edom))
	return a.program("limit_globals")
}

// withLoopAndCall fails getppid with the sum of 1 to 10, computed by a loop in a
// function of its own.
func withLoopAndCall() *prog.Program {
	a := newAssembler().unless(getppid, "allow").mov(1, 10)
	at := len(a.insns)
	a.op(prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall})
	a.op(prog.Insn{Op: prog.ClassALU64 | prog.OpOr | prog.SrcK, Dst: 0, Imm: int32(abi.ErrnoAction)})
	a.exit()
	a.label("allow").answer(abi.Allow)
	start := len(a.insns)
	a.insns[at].Imm = int32(start - at - 1)
	a.mov(0, 0)
	a.label("loop").op(prog.Insn{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcX, Dst: 0, Src: 1})
	a.add(1, -1).jump(prog.OpJne, 1, 0, "loop")
	a.exit()
	p := a.program("loop_and_call")
	p.Funcs = []prog.Func{{Name: "entry"}, {Name: "sum", Start: start}}
	return p
}

// locked counts under the lock at offset 0 of a value of 16 bytes.
func locked(m *prog.Map) *prog.Program {
	a := newAssembler().unless(getppid, "allow")
	a.store64(prog.R10, -8, 0)
	a.mapTo(1, prog.PseudoMapFD, m).copy(2, prog.R10).add(2, -8).call(helper.MapLookupElem)
	a.jump(prog.OpJeq, 0, 0, "allow")
	a.copy(6, 0).copy(1, 0).call(helper.SpinLock)
	a.load64(7, 6, 8).add(7, 1)
	a.spill(6, 8, 7)
	a.copy(1, 6).call(helper.SpinUnlock)
	a.label("allow").answer(abi.Allow)
	return a.program("locked")
}
