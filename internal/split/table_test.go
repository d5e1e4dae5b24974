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
