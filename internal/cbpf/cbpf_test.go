package cbpf_test

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

func ret(k abi.Verdict) cbpf.Insn { return cbpf.Insn{Op: cbpf.RetK, K: uint32(k)} }

func TestValidateRefuses(t *testing.T) {
	end := ret(abi.Allow)
	tests := []struct {
		name  string
		insns []cbpf.Insn
		insn  int
		want  string
	}{
		{"empty", nil, -1, "no instructions"},
		{"too long", make([]cbpf.Insn, cbpf.MaxInsns+1), -1, "4097 instructions"},
		{"no ret", []cbpf.Insn{{Op: cbpf.LdImm}}, 0, "not a ret"},
		{"modulo", []cbpf.Insn{{Op: 0x94, K: 1}, end}, 0, "opcode 0x94 is not allowed"},
		{"half word", []cbpf.Insn{{Op: 0x28}, end}, 0, "opcode 0x28"},
		{"high bits", []cbpf.Insn{{Op: 0x106}, end}, 0, "opcode 0x106"},
		{"unaligned", []cbpf.Insn{{Op: cbpf.LdAbs, K: 2}, end}, 0, "offset 2 of"},
		{"past the data", []cbpf.Insn{{Op: cbpf.LdAbs, K: 64}, end}, 0, "offset 64 of"},
		{"division", []cbpf.Insn{{Op: cbpf.DivK}, end}, 0, "constant 0"},
		{"shift", []cbpf.Insn{{Op: cbpf.RshK, K: 32}, end}, 0, "by 32"},
		{"cell", []cbpf.Insn{{Op: cbpf.St, K: 16}, end}, 0, "cell 16 of 16"},
		{"jump", []cbpf.Insn{{Op: cbpf.Ja, K: 1}, end}, 0, "jump over 1 of the 1"},
		{"huge jump", []cbpf.Insn{{Op: cbpf.Ja, K: 0xffffffff}, end}, 0, "jump over 4294967295"},
		{"branch", []cbpf.Insn{{Op: cbpf.JeqK, Jf: 2}, end, end}, 0, "jump over 0 or 2 of the 2"},
		{"unset cell", []cbpf.Insn{{Op: cbpf.LdMem, K: 1}, end}, 0, "cell 1 may not"},
		{"cell set on one path", []cbpf.Insn{{Op: cbpf.JeqK, Jf: 1}, {Op: cbpf.St}, {Op: cbpf.LdMem}, end}, 2, "cell 0 may not"},
		{"cell after a ret", []cbpf.Insn{{Op: cbpf.JeqK, Jf: 2}, {Op: cbpf.St}, end, {Op: cbpf.LdMem}, end}, 3, "cell 0 may not"},
	}
	for _, tt := range tests {
		_, err := cbpf.Validate(tt.insns)
		var e *cbpf.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: Validate = %v, want *Error", tt.name, err)
			continue
		}
		if e.Insn != tt.insn || !strings.Contains(e.Error(), tt.want) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: instruction %d, %q; want %d, one line with %q", tt.name, e.Insn, e, tt.insn, tt.want)
		}
	}
}

func TestRun(t *testing.T) {
	d := &abi.SeccompData{Nr: -1, Arch: abi.ArchX86_64, InstructionPointer: 0x1122334455667788}
	for i := range d.Args {
		d.Args[i] = uint64(i+1)<<32 | uint64(i+10)
	}
	want := map[uint32]uint32{0: 0xffffffff, 4: 0xc000003e, 8: 0x55667788, 12: 0x11223344, 16: 10, 20: 1, 56: 15, 60: 6}
	for off, v := range want {
		p, err := cbpf.Validate([]cbpf.Insn{{Op: cbpf.LdAbs, K: off}, {Op: cbpf.RetA}})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Run(d); uint32(got) != v {
			t.Errorf("offset %d = %#x, want %#x", off, uint32(got), v)
		}
	}
}

func TestRunArithmetic(t *testing.T) {
	const a, x = 0xf0000007, 35
	want := map[uint16]uint32{
		cbpf.AddX: a + x, cbpf.SubX: a - x, cbpf.MulX: 0xd00000f5, cbpf.DivX: a / x,
		cbpf.OrX: a | x, cbpf.AndX: a & x, cbpf.XorX: a ^ x, cbpf.Neg: 0x0ffffff9,
		cbpf.LshX: 0x80000038, cbpf.RshX: 0x1e000000, cbpf.Txa: x,
	}
	for op, v := range want {
		p, err := cbpf.Validate([]cbpf.Insn{{Op: cbpf.LdxImm, K: x}, {Op: cbpf.LdImm, K: a}, {Op: op}, {Op: cbpf.RetA}})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Run(&abi.SeccompData{}); uint32(got) != v {
			t.Errorf("%s = %#x, want %#x", cbpf.Insn{Op: op}, uint32(got), v)
		}
	}
}

func TestDivisionByZeroKills(t *testing.T) {
	p, err := cbpf.Validate([]cbpf.Insn{{Op: cbpf.LdImm, K: 7}, {Op: cbpf.DivX}, ret(abi.Allow)})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Run(&abi.SeccompData{}); got != abi.KillThread {
		t.Errorf("Run = %v, want KILL_THREAD", got)
	}
	if got := cbpf.Optimise(p).Run(&abi.SeccompData{}); got != abi.KillThread {
		t.Errorf("Run optimised = %v, want KILL_THREAD", got)
	}
}

func TestZeroProgramKills(t *testing.T) {
	if got := (cbpf.Program{}).Run(&abi.SeccompData{}); got != abi.KillProcess {
		t.Errorf("Run = %v, want KILL_PROCESS", got)
	}
}

// TestOptimiseKeepsMeaning runs random programs and what each pass and all of
// them make of it against each other.
func TestOptimiseKeepsMeaning(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	saved := 0
	for i := 0; i < 4000; i++ {
		p := program(r, 1+r.Intn(60))
		q := cbpf.Optimise(p)
		saved += p.Len() - q.Len()
		compare(t, r, p, q)
	}
	if saved < 4000 {
		t.Errorf("the optimiser saved %d instructions in 4000 programs: it does not work", saved)
	}
}

func TestEachPassKeepsMeaning(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for _, pass := range cbpf.Passes() {
		for i := 0; i < 500; i++ {
			p := program(r, 1+r.Intn(60))
			q, err := cbpf.Apply(p, pass)
			if err != nil {
				continue // the order of the instructions of dead code: see Optimise
			}
			if !compare(t, r, p, q) {
				t.Fatalf("pass %q", pass.Name)
			}
		}
	}
}

func FuzzOptimise(f *testing.F) {
	f.Add(int64(0), uint8(10))
	f.Fuzz(func(t *testing.T, seed int64, n uint8) {
		r := rand.New(rand.NewSource(seed))
		p := program(r, 1+int(n))
		compare(t, r, p, cbpf.Optimise(p))
	})
}

func compare(t *testing.T, r *rand.Rand, p, q cbpf.Program) bool {
	t.Helper()
	for i := 0; i < 40; i++ {
		d := data(r)
		if a, b := p.Run(d), q.Run(d); a != b {
			t.Errorf("%+v: %v, optimised %v\n%s\n%s", *d, a, b, p, q)
			return false
		}
	}
	return true
}

// TestLongJumps assembles more targets than 8 bits can reach, laid out so that
// both edges of a test are far away.
func TestLongJumps(t *testing.T) {
	const cases = 900
	for _, passes := range [][]cbpf.Pass{nil, cbpf.Passes()} {
		var a cbpf.Assembler
		labels := make([]cbpf.Label, cases)
		a.Emit(cbpf.LdAbs, abi.OffNr)
		for i := range labels {
			labels[i] = a.NewLabel()
			a.Branch(cbpf.JeqK, uint32(i), labels[i], cbpf.Next)
		}
		a.Ret(abi.KillProcess)
		for i, l := range labels {
			a.Bind(l)
			a.Emit(cbpf.LdImm, uint32(i))
			a.Emit(cbpf.RetA, 0)
		}
		p, err := a.Assemble(passes...)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < cases; i++ {
			if got := p.Run(&abi.SeccompData{Nr: int32(i)}); got != abi.Verdict(i) {
				t.Fatalf("case %d = %v", i, got)
			}
		}
	}
}

func TestAssembleMistakes(t *testing.T) {
	tests := map[string]func(*cbpf.Assembler){
		"needs a label":           func(a *cbpf.Assembler) { a.Emit(cbpf.Ja, 0) },
		"no conditional jump":     func(a *cbpf.Assembler) { a.Branch(cbpf.LdImm, 0, 0, 0) },
		"label 9, which does not": func(a *cbpf.Assembler) { a.Goto(9) },
		"label 9 does not exist":  func(a *cbpf.Assembler) { a.Bind(9) },
		"continues at -1":         func(a *cbpf.Assembler) { a.Goto(a.NewLabel()) },
		"continues at 1":          func(a *cbpf.Assembler) { a.Emit(cbpf.LdImm, 0) },
		"continues at 0": func(a *cbpf.Assembler) {
			l := a.NewLabel()
			a.Bind(l)
			a.Goto(l)
		},
		"already bound": func(a *cbpf.Assembler) {
			l := a.NewLabel()
			a.Bind(l)
			a.Bind(l)
		},
	}
	for want, build := range tests {
		var a cbpf.Assembler
		build(&a)
		_, err := a.Assemble()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Assemble = %v, want %q", err, want)
		}
	}
}

// TestConstAllowIsSound holds the bitmap against runs with other arguments.
func TestConstAllowIsSound(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	constant := 0
	for i := 0; i < 4000; i++ {
		p, d := simple(t, r), data(r)
		if !p.ConstAllow(d.Arch, uint32(d.Nr)) {
			continue
		}
		constant++
		for j := 0; j < 20; j++ {
			o := data(r)
			o.Nr, o.Arch = d.Nr, d.Arch
			if got := p.Run(o); got != abi.Allow {
				t.Fatalf("constant ALLOW, but %v for %+v\n%s", got, *o, p)
			}
		}
	}
	if constant < 400 {
		t.Errorf("%d constant programs tell little", constant)
	}
}

// simple is a random program of the instructions that the bitmap understands,
// and now and then one that it does not.
func simple(t *testing.T, r *rand.Rand) cbpf.Program {
	code := []cbpf.Insn{{Op: cbpf.LdAbs, K: 4 * uint32(r.Intn(2))}}
	for n := 2 + r.Intn(10); n > 0; n-- {
		code = append(code, []cbpf.Insn{
			{Op: cbpf.JeqK, K: word(r), Jt: uint8(r.Intn(n)), Jf: uint8(r.Intn(n))},
			{Op: cbpf.JgtK, K: word(r), Jt: uint8(r.Intn(n)), Jf: uint8(r.Intn(n))},
			{Op: cbpf.JsetK, K: word(r), Jt: uint8(r.Intn(n)), Jf: uint8(r.Intn(n))},
			{Op: cbpf.LdAbs, K: 4 * uint32(r.Intn(6))},
			{Op: cbpf.AndK, K: word(r)},
			{Op: cbpf.OrK, K: word(r)},
			ret(abi.Allow),
			ret(abi.Errno(1)),
		}[r.Intn(8)])
	}
	p, err := cbpf.Validate(append(code, ret(abi.Allow)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ExampleAssembler() {
	var a cbpf.Assembler
	deny := a.NewLabel()
	a.Emit(cbpf.LdAbs, abi.OffArch)
	a.Branch(cbpf.JeqK, uint32(abi.ArchX86_64), cbpf.Next, deny)
	a.Emit(cbpf.LdAbs, abi.OffNr)
	a.Branch(cbpf.JeqK, 257, deny, cbpf.Next)
	a.Ret(abi.Allow)
	a.Bind(deny)
	a.Ret(abi.Errno(1))
	p, err := a.Assemble(cbpf.Passes()...)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(p)
	// Output:
	// l0:	ld [4]	; arch
	// l1:	jeq #0xc000003e, l2, l5
	// l2:	ld [0]	; nr
	// l3:	jeq #0x101, l5, l4
	// l4:	ret #0x7fff0000	; ALLOW
	// l5:	ret #0x50001	; ERRNO(1)
}

func BenchmarkRun(b *testing.B) {
	r := rand.New(rand.NewSource(4))
	p, d := program(r, 60), data(r)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		p.Run(d)
	}
}
