package asm

import (
	"strings"
	"testing"

	"portcullis/internal/prog"
)

func TestProgram(t *testing.T) {
	var b Builder
	m := &prog.Map{Name: "m"}
	skip, f := b.Label(), b.Label()
	b.Func("main")
	b.At(prog.Line{File: "x.yaml", Line: 3})
	b.Const(R0, 7)
	b.If(prog.OpJeq, R0, 7, skip)
	b.Const(R1, 1<<40)
	b.Map(R2, m)
	b.At(prog.Line{File: "x.yaml", Line: 4})
	b.Value(R3, m, 8)
	b.Bind(skip)
	b.CallFunc(f)
	b.Exit()
	b.Func("f")
	b.Bind(f)
	b.Const(R0, ^uint64(0))
	b.Exit()
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for pc := 0; pc < len(p.Insns); pc++ {
		text = append(text, p.Disasm(pc))
		if p.Insns[pc].IsLoadImm64() {
			pc++
		}
	}
	want := "w0 = 7; if r0 == 7 goto pc+6; r1 = 0x10000000000 ll; r2 = map[m]; r3 = map[m][0]+8; call pc+1; exit; r0 = -1; exit"
	if got := strings.Join(text, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(p.Maps) != 1 || len(p.Funcs) != 2 || p.Funcs[1].Start != 10 {
		t.Errorf("maps %v, functions %v", p.Maps, p.Funcs)
	}
	if l := p.LineOf(6); l.Line != 4 {
		t.Errorf("instruction 6 is of line %d: want 4", l.Line)
	}
	if !b.Used(skip) || !b.Used(f) || b.Used(b.Label()) {
		t.Error("labels that are used, and one that is not")
	}
}

func TestUnboundAndFar(t *testing.T) {
	var b Builder
	b.Jump(b.Label())
	if _, err := b.Program(); err == nil || !strings.Contains(err.Error(), "has no place") {
		t.Errorf("a label without a place: %v", err)
	}
	var far Builder
	end := far.Label()
	far.Jump(end)
	for i := 0; i < 40000; i++ {
		far.Imm(prog.OpMov, R0, 0)
	}
	far.Bind(end)
	far.Exit()
	if _, err := far.Program(); err == nil || !strings.Contains(err.Error(), "reach") {
		t.Errorf("a jump that is too far: %v", err)
	}
}
