package cbpf_test

import (
	"math/rand"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

// Constants that appear in programs and in data alike, so that tests go both
// ways.
var interesting = []uint32{
	0, 1, 2, 3, 31, 32, 63, 64, 257, 317, 322, 425, 1023, 0x40000000,
	0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	uint32(abi.ArchX86_64), uint32(abi.ArchI386), uint32(abi.Allow), uint32(abi.ErrnoAction),
}

func word(r *rand.Rand) uint32 {
	if r.Intn(4) == 0 {
		return r.Uint32()
	}
	return interesting[r.Intn(len(interesting))]
}

func data(r *rand.Rand) *abi.SeccompData {
	wide := func() uint64 { return uint64(word(r))<<32 | uint64(word(r)) }
	d := &abi.SeccompData{Nr: int32(word(r)), Arch: abi.ArchX86_64, InstructionPointer: wide()}
	if r.Intn(2) == 0 {
		d.Arch = abi.Arch(word(r))
	}
	for i := range d.Args {
		d.Args[i] = wide()
	}
	return d
}

var arithmetic = []uint16{
	cbpf.AddK, cbpf.AddX, cbpf.SubK, cbpf.SubX, cbpf.MulK, cbpf.MulX, cbpf.DivK, cbpf.DivX,
	cbpf.OrK, cbpf.OrX, cbpf.AndK, cbpf.AndX, cbpf.LshK, cbpf.LshX, cbpf.RshK, cbpf.RshX,
	cbpf.Neg, cbpf.XorK, cbpf.XorX,
}

var loads = []uint16{
	cbpf.LdAbs, cbpf.LdAbs, cbpf.LdAbs, cbpf.LdLen, cbpf.LdxLen, cbpf.LdImm, cbpf.LdxImm,
	cbpf.LdMem, cbpf.LdxMem, cbpf.St, cbpf.Stx, cbpf.Tax, cbpf.Txa,
}

var jumps = []uint16{
	cbpf.JeqK, cbpf.JeqX, cbpf.JgtK, cbpf.JgtX, cbpf.JgeK, cbpf.JgeX, cbpf.JsetK, cbpf.JsetX,
	cbpf.JeqK, cbpf.JgeK,
}

// program is a random valid program of about n instructions. Scratch cells are
// stored to first, so that most loads are valid.
func program(r *rand.Rand, n int) cbpf.Program {
	for {
		var code []cbpf.Insn
		for cell := uint32(0); cell < 3 && r.Intn(3) > 0; cell++ {
			code = append(code, cbpf.Insn{Op: cbpf.St, K: cell})
		}
		for len(code) < n {
			code = append(code, insn(r, n-len(code)))
		}
		code = append(code, cbpf.Insn{Op: cbpf.RetK, K: word(r)}, cbpf.Insn{Op: cbpf.RetA})
		if p, err := cbpf.Validate(code); err == nil {
			return p
		}
	}
}

// insn is a random instruction with at least left instructions behind it.
func insn(r *rand.Rand, left int) cbpf.Insn {
	skip := func() uint8 { return uint8(r.Intn(1 + min(min(left, 255), 1+r.Intn(12)))) }
	switch r.Intn(8) {
	case 0, 1:
		op := arithmetic[r.Intn(len(arithmetic))]
		in := cbpf.Insn{Op: op, K: word(r)}
		if op == cbpf.LshK || op == cbpf.RshK {
			in.K %= 32
		}
		if op == cbpf.DivK && in.K == 0 {
			in.K = 3
		}
		return in
	case 2, 3, 4:
		op := loads[r.Intn(len(loads))]
		switch op {
		case cbpf.LdAbs:
			return cbpf.Insn{Op: op, K: 4 * uint32(r.Intn(16))}
		case cbpf.LdMem, cbpf.LdxMem, cbpf.St, cbpf.Stx:
			return cbpf.Insn{Op: op, K: uint32(r.Intn(3))}
		}
		return cbpf.Insn{Op: op, K: word(r)}
	case 5, 6:
		return cbpf.Insn{Op: jumps[r.Intn(len(jumps))], K: word(r), Jt: skip(), Jf: skip()}
	}
	if r.Intn(3) > 0 {
		return cbpf.Insn{Op: cbpf.Ja, K: uint32(skip())}
	}
	return cbpf.Insn{Op: cbpf.RetK, K: word(r)}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
