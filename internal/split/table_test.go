package split_test

import (
	"math/rand"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// What a program makes of the number, by arithmetic and by constants that it looks up,
// is what running it for that number makes of it.
func TestLookupsAreSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	static, asked := 0, 0
	for i := rounds(t, 300); i > 0; i-- {
		text := bpfgen.Lookups(r)
		v, err := verify.Program(program(t, text), verify.Options{})
		if err != nil {
			continue // a test that is always decided leaves an end that nothing reaches
		}
		set, err := maps.NewSet(v.Program().Maps)
		if err != nil {
			t.Fatal(err)
		}
		m, err := interp.New(v, set)
		if err != nil {
			t.Fatal(err)
		}
		tree := split.Split(v)
		for k := 0; k < 150; k++ {
			d := abi.SeccompData{Nr: int32(r.Intn(1030)), Arch: abi.ArchX86_64}
			if k%8 == 0 {
				d.Nr = int32(bpfgen.Number(r))
			}
			d.Args[0], d.Args[1] = uint64(r.Intn(4)), uint64(r.Intn(4))
			if r.Intn(2) == 0 {
				d.Args[r.Intn(2)] = bpfgen.Number(r)
			}
			got := abi.Verdict(m.Run(bpfgen.Env{R: r}, &d).Ret)
			part := tree.Find(d.Arch, uint32(d.Nr))
			leaf := part.Leaf
			if part.Decision != nil {
				leaf = part.Decision.Decide(&d)
			}
			for _, l := range []split.Leaf{leaf, tree.Leaf(d.Arch, uint32(d.Nr))} {
				if l.Kind == split.Static && l.Verdict != got {
					t.Fatalf("static leaf %v, but %v is returned on %+v\n%s", l.Verdict, got, d, text)
				}
			}
			if leaf.Kind == split.Static {
				static++
			} else {
				asked++
			}
		}
	}
	if static < 1000 || asked < 200 {
		t.Errorf("%d static leaves, %d others: too few to mean anything", static, asked)
	}
	t.Logf("%d static leaves, %d others", static, asked)
}

// A call that is ordered first and then pins says both, whatever others do before it.
func TestPinsBehindOrder(t *testing.T) {
	const read = "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = *(u64 *)(r6 +16)\ncall bpf_safe_read_user\nr0 = 0x7fff0000\nexit\n"
	text := "r6 = r1\nr2 = *(u32 *)(r6 +0)\nif r2 != 1 goto others\n" + read + `others:
r1 = 110
r2 = 110
call bpf_wait_syscall
r2 = *(u64 *)(r6 +16)
r0 = 0x7fff0000
if r2 != 0 goto read
exit
read:
` + read
	v, err := verify.Program(program(t, text), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for nr := uint32(0); nr < 3; nr++ {
		if leaf := split.Split(v).Leaf(abi.ArchX86_64, nr); leaf.Kind != split.Trace || !leaf.Pins {
			t.Errorf("call %d: found %+v, expected a traced leaf that may pin", nr, leaf)
		}
	}
}

// A decision that pins for some arguments, and only orders for others, says so.
func TestPinsByArgument(t *testing.T) {
	const wait = "r1 = 110\nr2 = 110\ncall bpf_wait_syscall\nr0 = 0x7fff0000\nexit\n"
	const pin = "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = 16\ncall bpf_safe_read_user\nr0 = 0x7fff0000\nexit\n"
	const begin = "r2 = *(u64 *)(r1 +16)\nr3 = *(u64 *)(r1 +24)\nr0 = 0x7fff0000\nif r2 != 1 goto more\nexit\nmore:\nif r3 == 1 goto second\n"
	for i, text := range []string{begin + wait + "second:\n" + pin, begin + pin + "second:\n" + wait} {
		v, err := verify.Program(program(t, text), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		decision := split.Split(v).Arguments(abi.ArchX86_64, 1)
		for arg := uint64(0); arg < 3; arg++ {
			pins := (arg == 1) == (i == 0)
			leaf := decision.Decide(&abi.SeccompData{Nr: 1, Arch: abi.ArchX86_64, Args: [6]uint64{0, arg}})
			if leaf.Kind != split.Trace || leaf.Pins != pins {
				t.Errorf("program %d, argument %d: found %+v, expected a traced leaf, pins %v", i, arg, leaf, pins)
			}
		}
	}
}
