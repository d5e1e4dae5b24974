package verify_test

import (
	"errors"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/golden"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// FuzzProgram gives the verifier any bytes: it answers, in one line, and the
// same way twice.
func FuzzProgram(f *testing.F) {
	for _, p := range corpus(f) {
		f.Add(prog.Encode(p.Insns))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		insns, err := prog.Decode(raw[:len(raw)/prog.Size*prog.Size])
		if err != nil {
			t.Fatal(err)
		}
		p := &prog.Program{Name: "fuzz", Insns: insns, Maps: bpfgen.Maps(rand.New(rand.NewSource(1)))}
		first := answer(t, p)
		if again := answer(t, p); again != first {
			t.Errorf("first %q, then %q", first, again)
		}
	})
}

func answer(t *testing.T, p *prog.Program) string {
	v, err := verify.Program(p, verify.Options{Budget: 20000})
	var e *verify.Error
	switch {
	case err == nil && v != nil:
		return "accept"
	case !errors.As(err, &e) || v != nil:
		t.Fatalf("found %v and %v: expected a *Verified or an *Error", v, err)
	case e.Reason == "" || strings.Contains(e.Error(), "\n"):
		t.Fatalf("found %q: expected one line", e.Error())
	}
	return e.Error()
}

// corpus is the golden cases and some random programs.
func corpus(t testing.TB) []*prog.Program {
	var ps []*prog.Program
	for _, c := range golden.Programs(t) {
		ps = append(ps, c.Program)
	}
	r := rand.New(rand.NewSource(1))
	for i := 0; i < 50; i++ {
		ps = append(ps, bpfgen.Program(r, bpfgen.Options{Statements: 8}))
	}
	return ps
}

// Whatever is done to an instruction of a program, the verifier answers.
func TestAnyMutationIsAnswered(t *testing.T) {
	r := rand.New(rand.NewSource(rand.Int63()))
	for _, p := range corpus(t) {
		for i := 0; i < 20 && len(p.Insns) > 0; i++ {
			q := *p
			q.Insns = append([]prog.Insn(nil), p.Insns...)
			raw := prog.Encode(q.Insns)
			for n := 1 + r.Intn(3); n > 0; n-- {
				raw[r.Intn(len(raw))] ^= 1 << r.Intn(8)
			}
			q.Insns, _ = prog.Decode(raw)
			answer(t, &q)
		}
	}
}
