package object_test

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// drawn is a random program as a compiler of policies would give it: with sections of
// variables, their types and lines.
func drawn(r *rand.Rand) *prog.Program {
	p := bpfgen.Program(r, bpfgen.Options{Statements: 12, Wild: r.Intn(2)})
	data, rodata := p.Maps[0], p.Maps[1]
	data.Name, data.Vars = ".data", drawnVars(r, len(data.Contents), false)
	rodata.Name, rodata.Flags, rodata.Vars = ".rodata", prog.FlagRdonlyProg, drawnVars(r, len(rodata.Contents), true)
	for pc := range p.Insns {
		half := pc > 0 && p.Insns[pc-1].IsLoadImm64()
		if r.Intn(3) == 0 && !half {
			n := 1 + r.Intn(1000)
			p.Lines = append(p.Lines, prog.Line{Insn: pc, File: "policy.yaml", Line: n, Text: fmt.Sprintf("- rule: %d # ü", n)})
		}
	}
	return p
}

// drawnVars are variables of every kind, with room between some of them.
func drawnVars(r *rand.Rand, size int, constant bool) (vars []prog.Var) {
	for at := 0; at < size; at += r.Intn(3) {
		v := prog.Var{
			Name: fmt.Sprintf("v%d", at), Offset: at, Size: 1 << r.Intn(4), Count: 1 + r.Intn(3),
			Kind: prog.VarKind(r.Intn(int(prog.VarTexts) + 1)), Const: constant && r.Intn(2) == 0,
		}
		switch v.Kind {
		case prog.VarCallSet:
			v.Size = 8
		case prog.VarTexts:
			v.Size++
		case prog.VarOther:
			v.Count = 1
		}
		if at += v.Size * v.Count; at > size {
			break
		}
		vars = append(vars, v)
	}
	return vars
}

// resolved is a program's code with names in the places of numbers, so that it stays the
// same where maps come in another order.
func resolved(p *prog.Program) string {
	var b strings.Builder
	for pc, in := range p.Insns {
		if in.IsLoadImm64() && in.Src != 0 {
			fmt.Fprintf(&b, "%s ", p.Maps[in.Imm].Name)
			in.Imm = 0
		}
		fmt.Fprintf(&b, "%d %+v\n", pc, in)
	}
	fmt.Fprintf(&b, "%q %+v\n%+v\n", p.Name, p.Funcs, p.Lines)
	return b.String()
}

// used are the maps that instructions name, by name.
func used(p *prog.Program) map[string]string {
	all := map[string]string{}
	for _, in := range p.Insns {
		if in.IsLoadImm64() && in.Src != 0 {
			all[p.Maps[in.Imm].Name] = describedMap(p.Maps[in.Imm], nil)
		}
	}
	return all
}

// checkDrawn writes a random program that verifies, and reads it again.
func checkDrawn(t *testing.T, seed int64) (verified bool) {
	p := drawn(rand.New(rand.NewSource(seed)))
	if _, err := verify.Program(p, verify.Options{}); err != nil {
		if _, err := object.Write([]*prog.Program{p}); err != nil {
			checkTyped(t, err)
		}
		return false
	}
	_, again := written(t, "drawn", []*prog.Program{p})
	if diff := cmp.Diff(resolved(p), resolved(again[0])); diff != "" {
		t.Fatalf("seed %d: written and read:\n%s", seed, diff)
	}
	if diff := cmp.Diff(used(p), used(again[0])); diff != "" {
		t.Fatalf("seed %d: maps written and read:\n%s", seed, diff)
	}
	if _, err := verify.Program(again[0], verify.Options{}); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return true
}

func checkTyped(t *testing.T, err error) {
	t.Helper()
	var e *object.Error
	if !errors.As(err, &e) || e.Remedy == "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%T %v: expected one line of type *object.Error with a remedy", err, err)
	}
}

func TestRandomProgramsSurvive(t *testing.T) {
	verified := 0
	for seed := int64(0); seed < 300; seed++ {
		if checkDrawn(t, seed) {
			verified++
		}
	}
	if verified < 50 {
		t.Errorf("%d of 300 programs verified: expected many", verified)
	}
}

func FuzzWrite(f *testing.F) {
	f.Add(int64(1))
	f.Fuzz(func(t *testing.T, seed int64) { checkDrawn(t, seed) })
}

// FuzzWriteWhatIsRead writes what an object of anybody's holds: an error, or an object in
// which everything is again. Lines that no reader would show are left out.
func FuzzWriteWhatIsRead(f *testing.F) {
	all := objects(f)
	for _, name := range sortedNames(all) {
		f.Add(all[name])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ps, err := object.Read("o", data)
		if err != nil {
			return
		}
		once, err := object.Write(ps)
		if err != nil {
			checkTyped(t, err)
			return
		}
		again, err := object.Read("o", once)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := described(withoutLines(ps)), described(withoutLines(again)); got != want {
			t.Error(cmp.Diff(want, got))
		}
	})
}

func withoutLines(ps []*prog.Program) (rest []*prog.Program) {
	for _, p := range ps {
		p.Lines = nil
		rest = append(rest, p)
	}
	return rest
}
