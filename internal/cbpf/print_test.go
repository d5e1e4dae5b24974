package cbpf_test

import (
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

// TestPrint has every instruction once, in the notation of the kernel's bpf_asm.
func TestPrint(t *testing.T) {
	p, err := cbpf.Validate([]cbpf.Insn{
		{Op: cbpf.LdAbs, K: 0},
		{Op: cbpf.LdAbs, K: 4},
		{Op: cbpf.LdAbs, K: 12},
		{Op: cbpf.LdAbs, K: 24},
		{Op: cbpf.LdAbs, K: 60},
		{Op: cbpf.LdLen},
		{Op: cbpf.LdxLen},
		{Op: cbpf.LdImm, K: 10},
		{Op: cbpf.LdxImm, K: 11},
		{Op: cbpf.St, K: 3},
		{Op: cbpf.Stx, K: 15},
		{Op: cbpf.LdMem, K: 3},
		{Op: cbpf.LdxMem, K: 15},
		{Op: cbpf.AddK, K: 1},
		{Op: cbpf.SubX},
		{Op: cbpf.MulK, K: 2},
		{Op: cbpf.DivX},
		{Op: cbpf.OrK, K: 4},
		{Op: cbpf.AndX},
		{Op: cbpf.LshK, K: 5},
		{Op: cbpf.RshX},
		{Op: cbpf.XorK, K: 6},
		{Op: cbpf.Neg},
		{Op: cbpf.Tax},
		{Op: cbpf.Txa},
		{Op: cbpf.Ja, K: 1},
		{Op: cbpf.JeqX, Jt: 1},
		{Op: cbpf.JgtK, K: 7, Jf: 2},
		{Op: cbpf.JgeX},
		{Op: cbpf.JsetK, K: 8, Jt: 1},
		{Op: cbpf.RetA},
		{Op: cbpf.RetK, K: uint32(abi.Errno(1))},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `l0:	ld [0]	; nr
l1:	ld [4]	; arch
l2:	ld [12]	; instruction_pointer, upper half
l3:	ld [24]	; args[1]
l4:	ld [60]	; args[5], upper half
l5:	ld len
l6:	ldx len
l7:	ld #0xa
l8:	ldx #0xb
l9:	st M[3]
l10:	stx M[15]
l11:	ld M[3]
l12:	ldx M[15]
l13:	add #0x1
l14:	sub x
l15:	mul #0x2
l16:	div x
l17:	or #0x4
l18:	and x
l19:	lsh #0x5
l20:	rsh x
l21:	xor #0x6
l22:	neg
l23:	tax
l24:	txa
l25:	jmp l27
l26:	jeq x, l28, l27
l27:	jgt #0x7, l28, l30
l28:	jge x, l29, l29
l29:	jset #0x8, l31, l30
l30:	ret a
l31:	ret #0x50001	; ERRNO(1)
`
	if got := p.String(); got != want {
		t.Errorf("got:\n%s", got)
	}
	for in, want := range map[cbpf.Insn]string{
		{Op: cbpf.Ja, K: 3}:                       "jmp +3",
		{Op: cbpf.JeqK, K: 255, Jt: 1, Jf: 2}:     "jeq #0xff, +1, +2",
		{Op: 0x94}:                                "opcode 0x94",
		{Op: cbpf.RetK, K: uint32(abi.UserNotif)}: "ret #0x7fc00000",
	} {
		if got := in.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
