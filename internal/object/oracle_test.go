package object_test

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"portcullis/filters/testdata"
	"portcullis/internal/object"
	"portcullis/internal/prog"
)

// TestAgainstOtherReader compares what is read with what cilium/ebpf reads.
func TestAgainstOtherReader(t *testing.T) {
	for name, data := range map[string][]byte{
		"variables":   bytesOf(t, "variables.o"),
		"conformance": testdata.Conformance,
		"bench":       testdata.Bench,
	} {
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(name, err)
		}
		ps, err := object.Read(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if len(ps) != len(spec.Programs) {
			t.Errorf("%s: %d programs: the other reads %d", name, len(ps), len(spec.Programs))
		}
		for _, p := range ps {
			compareProgram(t, p, spec.Programs[p.Funcs[0].Name])
			compareMaps(t, p, spec.Maps)
		}
	}
}

// compareProgram compares the entry functions: behind them, functions may come
// in another order.
func compareProgram(t *testing.T, p *prog.Program, want *ebpf.ProgramSpec) {
	t.Helper()
	if want == nil || want.License != p.License {
		t.Fatalf("%s: the other reads %v", p.Name, want)
	}
	if slots := want.Instructions.Size() / prog.Size; int(slots) != len(p.Insns) {
		t.Fatalf("%s: %d slots: the other reads %d", p.Name, len(p.Insns), slots)
	}
	pc := 0
	for i, in := range want.Instructions {
		if i > 0 && in.Symbol() != "" {
			return
		}
		compareInsn(t, p, pc, in)
		pc += slots(in)
	}
}

func compareInsn(t *testing.T, p *prog.Program, pc int, want asm.Instruction) {
	t.Helper()
	got := p.Insns[pc]
	// The other keeps references by name where there is an index here, and
	// atomic operations apart.
	same := got.Dst == uint8(want.Dst) && (got.Off == want.Offset || want.Reference() != "")
	switch {
	case got.IsLoadImm64():
		same = got.Dst == uint8(want.Dst) && got.Op == uint8(want.OpCode)
		if got.Src != 0 && p.Maps[got.Imm].Name != want.Reference() {
			same = false
		}
	case got.Op != prog.OpCallInsn && want.OpCode.Class() != asm.StXClass && want.OpCode.JumpOp() != asm.Ja:
		same = same && got.Src == uint8(want.Src) && (int64(got.Imm) == want.Constant || want.Reference() != "")
	}
	if !same {
		t.Errorf("%s: instruction %d is %+v: the other reads %v", p.Name, pc, got, want)
	}
	if source := want.Source(); source != nil {
		if l := p.LineOf(pc); l.Insn != pc {
			t.Errorf("%s: instruction %d has no line: the other reads %v", p.Name, pc, source)
		}
	}
}

func compareMaps(t *testing.T, p *prog.Program, want map[string]*ebpf.MapSpec) {
	t.Helper()
	for _, m := range p.Maps {
		w, size := want[m.Name], m.ValueSize
		if m.Record != nil {
			size = uint32(m.Record.Size) // the other does not know the convention
		}
		if w == nil || uint32(w.Type) != uint32(m.Type) || w.KeySize != m.KeySize || w.ValueSize != size ||
			w.MaxEntries != m.MaxEntries || w.Flags != m.Flags {
			t.Errorf("%s: map %+v: the other reads %+v", p.Name, *m, w)
		}
	}
}

// slots is how many slots an instruction takes.
func slots(in asm.Instruction) int {
	if in.OpCode.IsDWordLoad() {
		return 2
	}
	return 1
}
