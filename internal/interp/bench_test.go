package interp

import (
	"math/rand"
	"testing"

	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// machine verifies p and readies it with maps of its own.
func machine(t testing.TB, p *prog.Program) *Machine {
	t.Helper()
	v, err := verify.Program(p, verify.Options{Budget: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func assemble(t testing.TB, text string) *prog.Program {
	t.Helper()
	p, err := bpfasm.Assemble("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rate runs m and reports how many instructions it executes in a second, of
// which one run takes n.
func rate(b *testing.B, m *Machine, n int) {
	b.Helper()
	d := &abi.SeccompData{Nr: 110, Arch: abi.ArchX86_64, Args: [6]uint64{1, 2, 3, 4, 5, 6}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if r := m.Run(nil, d); r.Fault != nil {
			b.Fatal(r.Fault)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Minsn/s")
}

// BenchmarkRandomArithmetic is the worst case for dispatch: a thousand random
// operations, which follow no pattern.
func BenchmarkRandomArithmetic(b *testing.B) {
	g := &gen{rnd: rand.New(rand.NewSource(1))}
	g.numbers(0, 1, 2, 3, 4, 5, 7, 8)
	for len(g.insns) < 1008 {
		at := len(g.insns)
		g.alu()
		switch g.insns[at].Op & prog.OpMask {
		case prog.OpDiv, prog.OpMod: // the processor's own cost, not ours
			g.insns = g.insns[:at]
		}
	}
	g.emit(prog.Insn{Op: prog.OpExitInsn})
	rate(b, machine(b, &prog.Program{Insns: g.insns, Funcs: []prog.Func{{}}}), len(g.insns)-8)
}

// BenchmarkHashing is the arithmetic that filters do: mixing numbers.
func BenchmarkHashing(b *testing.B) {
	rate(b, machine(b, assemble(b, `
		r6 = 0x9e3779b97f4a7c15 ll
		r0 = 1
		r7 = 0
		loop:
		r0 += r6
		r1 = r0
		r1 >>= 30
		r0 ^= r1
		r0 *= r6
		r1 = r0
		r1 >>= 27
		r0 ^= r1
		r1 = r0
		r1 <<= 31
		r0 ^= r1
		r7 += 1
		if r7 != 1000 goto loop
		exit`)), 1000*13+4)
}

// BenchmarkMixed loads, stores, computes and branches, in the proportions of
// compiled filters.
func BenchmarkMixed(b *testing.B) {
	rate(b, machine(b, assemble(b, `
		r6 = r1
		r7 = 0
		r0 = 0
		*(u64 *)(r10 -8) = r0
		loop:
		r1 = *(u64 *)(r6 +16)
		r2 = *(u32 *)(r6 +24)
		r1 ^= r2
		if r1 == 77 goto out
		r3 = *(u64 *)(r10 -8)
		r3 += r1
		w2 &= 15
		if w2 > 15 goto out
		r3 ^= r2
		*(u64 *)(r10 -8) = r3
		if r3 == 0 goto next
		r4 = r3
		r4 >>= 7
		r0 += r4
		next:
		r7 += 1
		if r7 != 500 goto loop
		out:
		r0 = 0x7fff0000
		exit`)), 500*16+6)
}

// BenchmarkDecision is a verdict of about a hundred instructions with two map
// operations.
func BenchmarkDecision(b *testing.B) {
	ps, err := object.Read("bench.o", testdata.Bench)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range ps {
		b.Run(p.Name, func(b *testing.B) { rate(b, machine(b, p), len(p.Insns)) })
	}
}
