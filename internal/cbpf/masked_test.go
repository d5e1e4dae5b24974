package cbpf_test

import (
	"math/rand"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

// A field that is tested again under the same mask is not loaded again; under another
// mask, or after something else, it is.
func TestMaskedLoadsAreDropped(t *testing.T) {
	r := rand.New(rand.NewSource(8))
	for _, c := range []struct {
		field, mask uint32
		between     []cbpf.Insn
		shorter     int
	}{
		{field: 16, mask: 6, shorter: 2},
		{field: 16, mask: 4},
		{field: 24, mask: 6},
		{field: 16, mask: 6, between: []cbpf.Insn{{Op: cbpf.AddK, K: 1}}},
		{field: 16, mask: 6, between: []cbpf.Insn{{Op: cbpf.AndK, K: 3}}},
		{field: 16, mask: 6, between: []cbpf.Insn{{Op: cbpf.AndK, K: 7}}, shorter: 2},
	} {
		code := []cbpf.Insn{{Op: cbpf.LdAbs, K: 16}, {Op: cbpf.AndK, K: 6}}
		code = append(code, c.between...)
		code = append(code,
			cbpf.Insn{Op: cbpf.JeqK, K: 2, Jt: 3},
			cbpf.Insn{Op: cbpf.LdAbs, K: c.field}, cbpf.Insn{Op: cbpf.AndK, K: c.mask}, cbpf.Insn{Op: cbpf.JeqK, K: 4, Jf: 1},
			cbpf.Insn{Op: cbpf.RetK, K: uint32(abi.Allow)}, cbpf.Insn{Op: cbpf.RetK, K: uint32(abi.Errno(1))})
		p, err := cbpf.Validate(code)
		if err != nil {
			t.Fatal(err)
		}
		q := cbpf.Optimise(p)
		if got := p.Len() - q.Len(); got != c.shorter {
			t.Errorf("%+v: %d instructions less, expected %d\n%s", c, got, c.shorter, q)
		}
		for i := 0; i < 200; i++ {
			d := abi.SeccompData{Args: [6]uint64{r.Uint64() & 15, r.Uint64() & 15}}
			if got, want := q.Run(&d), p.Run(&d); got != want {
				t.Fatalf("%+v: %v on %+v, expected %v", c, got, d, want)
			}
		}
	}
}
