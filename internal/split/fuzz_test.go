package split_test

import (
	"math/rand"
	"testing"

	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// FuzzSound runs whatever the verifier accepts of any bytes: it must not fault,
// and its leaves must hold.
func FuzzSound(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for i := 0; i < 60; i++ {
		f.Add(prog.Encode(bpfgen.Program(r, bpfgen.Options{Statements: 1 + i%12}).Insns), int64(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed int64) {
		insns, err := prog.Decode(raw[:len(raw)/prog.Size*prog.Size])
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewSource(seed))
		p := &prog.Program{Name: "fuzz", Insns: insns, Maps: bpfgen.Maps(r)}
		if v, err := verify.Program(p, verify.Options{Budget: 10000}); err == nil {
			sound(t, r, v)
		}
	})
}
