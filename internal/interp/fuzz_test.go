package interp

import (
	"bytes"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// fuzzMaps are maps of every type, for programs that came about by chance.
func fuzzMaps() []*prog.Map {
	return append(genMaps(),
		&prog.Map{Name: "task", Type: prog.TaskStorage, KeySize: 4, ValueSize: 16, SpinLock: 8},
		&prog.Map{Name: "ro", Type: prog.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, Frozen: true, SpinLock: -1, Contents: make([]byte, 16)})
}

// mutate changes a few fields of a program.
func mutate(rnd *rand.Rand, insns []prog.Insn) {
	for n := rnd.Intn(3); n >= 0; n-- {
		in := &insns[rnd.Intn(len(insns))]
		switch rnd.Intn(8) {
		case 0:
			in.Op = uint8(rnd.Intn(256))
		case 1:
			in.Op ^= 1 << rnd.Intn(8)
		case 2:
			in.Dst = uint8(rnd.Intn(11))
		case 3:
			in.Src = uint8(rnd.Intn(11))
		case 4:
			in.Off += int16(rnd.Intn(17) - 8)
		case 5:
			in.Imm += int32(rnd.Intn(17) - 8)
		case 6:
			in.Imm = []int32{0, 1, -1, 1 << 30, -1 << 31, 2, 3, 8, 14, 156}[rnd.Intn(10)]
		default:
			*in = insns[rnd.Intn(len(insns))]
		}
	}
}

// What the verifier accepts must not fault here. Programs come from the
// generator and are changed at random, so that they lie on both sides of what
// is accepted.
func TestVerifiedProgramsDoNotFault(t *testing.T) {
	accepted, refused := 0, 0
	first, n := env("PORTCULLIS_FUZZ", 1), env("PORTCULLIS_FUZZ_N", 1500)
	for seed := first; seed < first+n; seed++ {
		rnd := rand.New(rand.NewSource(seed))
		p := generateRisky(seed, 1+rnd.Intn(16))
		p.Maps = fuzzMaps()
		if rnd.Intn(2) == 0 {
			mutate(rnd, p.Insns)
		}
		v, err := verify.Program(p, verify.Options{Budget: 20_000})
		if err != nil {
			refused++
			continue
		}
		accepted++
		runVerified(t, seed, v, p)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if n >= 1000 && (accepted < int(n)/20 || refused < int(n)/20) {
		t.Errorf("%d accepted and %d refused: expected plenty of both", accepted, refused)
	}
}

func runVerified(t *testing.T, seed int64, v *verify.Verified, p *prog.Program) {
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(v, set)
	if err != nil {
		t.Fatalf("seed %d: the verifier accepts what cannot be lowered: %v\n%s", seed, err, listing(p))
	}
	if len(p.Funcs) == 1 { // no other frame to hide an access past this one
		m.ld[regionStack] = m.ld[regionStack][:prog.StackSize]
		m.st[regionStack] = m.ld[regionStack]
	}
	for i := 0; i < 3; i++ {
		d := &abi.SeccompData{Nr: int32(seed), Arch: abi.ArchX86_64, Args: [6]uint64{uint64(i), 1 << 63, 0, 1, 2, 3}}
		if r := m.Run(newCaller(), d); r.Fault != nil && m.fault != faultEngine {
			t.Fatalf("seed %d: a verified program faults: %v\n%s", seed, r.Fault, listing(p))
		}
	}
}

// FuzzUnverified runs any bytes whatever: the worst a program may do is fault.
func FuzzUnverified(f *testing.F) {
	for seed := int64(1); seed < 10; seed++ {
		f.Add(prog.Encode(generate(seed, 8).Insns))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		insns, err := prog.Decode(raw)
		if err != nil {
			return
		}
		p := &prog.Program{Insns: insns, Funcs: []prog.Func{{}}, Maps: fuzzMaps()}
		set, err := maps.NewSet(p.Maps)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := newMachine(p, set); err == nil {
			start := time.Now()
			m.Run(newCaller(), call110())
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("a run took %v", d)
			}
		}
	})
}

// The same without a fuzzer: programs that nobody verified, changed at random.
func TestUnverifiedProgramsOnlyFault(t *testing.T) {
	faults := 0
	for seed := int64(1); seed <= 2000; seed++ {
		rnd := rand.New(rand.NewSource(seed))
		p := generate(seed, 1+rnd.Intn(16))
		p.Maps = fuzzMaps()
		for i := 0; i < 4; i++ {
			mutate(rnd, p.Insns)
		}
		set, err := maps.NewSet(p.Maps)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMachine(p, set)
		if err != nil {
			continue
		}
		if m.Run(newCaller(), call110()).Fault != nil {
			faults++
		}
	}
	if faults < 30 {
		t.Errorf("%d of 2000 programs fault: expected more", faults)
	}
}

// env is a number from the environment.
func env(name string, value int64) int64 {
	if v, err := strconv.ParseInt(os.Getenv(name), 0, 64); err == nil {
		return v
	}
	return value
}

func listing(p *prog.Program) string {
	var b bytes.Buffer
	for pc := range p.Insns {
		b.WriteString(strconv.Itoa(pc) + ": " + p.Disasm(pc) + "\n")
	}
	return b.String()
}
