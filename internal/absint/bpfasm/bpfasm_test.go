package bpfasm_test

import (
	"errors"
	"strings"
	"testing"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/prog"
)

// Whatever Disasm prints as an instruction, Assemble reads back.
func TestAssembleReadsWhatDisasmPrints(t *testing.T) {
	var texts []string
	seen, ops := map[string]bool{}, map[uint8]bool{}
	for _, in := range insns() {
		p := &prog.Program{Insns: []prog.Insn{in, {}}}
		text := p.Disasm(0)
		if seen[text] || strings.HasPrefix(text, "invalid") || strings.Contains(text, "map[") || strings.Contains(text, "func") {
			continue
		}
		seen[text], ops[in.Op] = true, true
		texts = append(texts, text)
	}
	if len(ops) < 100 {
		t.Errorf("only %d opcodes were printed: expected all of RFC 9669", len(ops))
	}
	p, err := bpfasm.Assemble("p", strings.Join(texts, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	pc := 0
	for _, text := range texts {
		if got := p.Disasm(pc); got != text {
			t.Errorf("%s was read as %s", text, got)
		}
		if p.Insns[pc].IsLoadImm64() {
			pc++
		}
		pc++
	}
}

// insns combines every opcode with the values that matter in the other fields.
func insns() (all []prog.Insn) {
	for op := 0; op < 256; op++ {
		for _, off := range []int16{0, 1, 8, 32, -8} {
			for _, imm := range []int32{0, 16, 64, -1, 0x40, 0x50, 0xa0, 0xe1, 0xf1, 0x51} {
				for src := uint8(0); src < 2; src++ {
					all = append(all, prog.Insn{Op: uint8(op), Dst: 3, Src: src, Off: off, Imm: imm})
				}
			}
		}
	}
	return all
}

func TestAssembleSaysWhichLine(t *testing.T) {
	for text, want := range map[string]string{
		"r0 = 0\nr0 ?= 1\nexit":  `line 2, "r0 ?= 1": expected an operation, found ?`,
		"goto nowhere":           `line 1, "nowhere": expected a label that exists`,
		"nonsense":               `line 1, "nonsense": expected an instruction, a label, a function or a map`,
		"r1 = map[m]":            `line 1, "r1 = map[m]": expected a map that is declared before, found m`,
		"map m TABLE key 4":      `line 1, "map m TABLE key 4": expected a type of map such as ARRAY, found TABLE`,
		"r1 = *(u24 *)(r1 +0)":   `line 1, "r1 = *(u24 *)(r1 +0)": expected a width of 8, 16, 32 or 64 bits, found u24`,
		"if r1 <> 3 goto pc+0":   `line 1, "if r1 <> 3 goto pc+0": expected a comparison, found <>`,
		"map m ARRAY colour red": `line 1, "map m ARRAY colour red": expected key, value, entries, flags, lock or frozen, found colour`,
	} {
		_, err := bpfasm.Assemble("p", text)
		var e *bpfasm.Error
		if !errors.As(err, &e) || e.Error() != want {
			t.Errorf("%q: found error %v, expected %s", text, err, want)
		}
	}
}
