package prog

import "testing"

// The notation is that of the kernel's verifier log.
func TestDisasm(t *testing.T) {
	p := &Program{Maps: []*Map{{Name: "counts"}}}
	for _, c := range []struct {
		in   Insn
		want string
	}{
		{Insn{Op: ClassALU64 | OpMov, Dst: 0, Imm: -1}, "r0 = -1"},
		{Insn{Op: ClassALU | OpAdd | SrcX, Dst: 1, Src: 2}, "w1 += w2"},
		{Insn{Op: ClassALU64 | OpDiv, Dst: 1, Off: 1, Imm: 3}, "r1 s/= 3"},
		{Insn{Op: ClassALU64 | OpMov | SrcX, Dst: 1, Src: 2, Off: 16}, "r1 = (s16)r2"},
		{Insn{Op: ClassALU | OpEnd | SrcX, Dst: 1, Imm: 32}, "r1 = be32 r1"},
		{Insn{Op: ClassALU64 | OpNeg, Dst: 1}, "r1 = -r1"},
		{Insn{Op: ClassLDX | ModeMem | SizeW, Dst: 0, Src: 1, Off: 4}, "r0 = *(u32 *)(r1 +4)"},
		{Insn{Op: ClassLDX | ModeMemSX | SizeB, Dst: 0, Src: 10, Off: -1}, "r0 = *(s8 *)(r10 -1)"},
		{Insn{Op: ClassST | ModeMem | SizeH, Dst: 10, Off: -8, Imm: 7}, "*(u16 *)(r10 -8) = 7"},
		{Insn{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2, Imm: AtomicAdd}, "lock *(u64 *)(r1 +0) += r2"},
		{Insn{Op: ClassSTX | ModeAtomic | SizeW, Dst: 1, Src: 2, Imm: AtomicOr | AtomicFetch}, "r2 = atomic_fetch_or((u32 *)(r1 +0), r2)"},
		{Insn{Op: ClassSTX | ModeAtomic | SizeDW, Dst: 1, Src: 2, Imm: AtomicCmpXchg}, "r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)"},
		{Insn{Op: ClassJMP | OpJsgt, Dst: 1, Imm: 5, Off: 3}, "if r1 s> 5 goto pc+3"},
		{Insn{Op: ClassJMP32 | OpJset | SrcX, Dst: 1, Src: 2, Off: -3}, "if w1 & w2 goto pc-3"},
		{Insn{Op: ClassJMP32 | OpJa, Imm: 70000}, "gotol pc+70000"},
		{Insn{Op: OpCallInsn, Imm: 14}, "call 14"},
		{Insn{Op: OpCallInsn, Src: PseudoCall, Imm: 2}, "call pc+2"},
		{Insn{Op: OpExitInsn}, "exit"},
		{Insn{Op: OpLoadImm64, Dst: 1, Src: PseudoMapFD}, "r1 = map[counts]"},
		{Insn{Op: OpLoadImm64, Dst: 1, Src: PseudoMapValue}, "r1 = map[counts][0]+9"},
		{Insn{Op: OpLoadImm64, Dst: 1, Imm: -1}, "r1 = 0x9ffffffff ll"},
		{Insn{Op: 0xe5}, "invalid instruction e500000000000000"},
	} {
		p.Insns = []Insn{c.in, {Imm: 9}}
		if got := p.Disasm(0); got != c.want {
			t.Errorf("%+v: found %q, expected %q", c.in, got, c.want)
		}
	}
	if got := p.Disasm(2); got != "beyond the end of the program" {
		t.Errorf("found %q", got)
	}
}
