// Package bpfasm assembles eBPF from the notation of the kernel's verifier log,
// the one that prog.Program.Disasm prints. Tests are written in it.
//
// A line holds an instruction, a label ("loop:"), a function ("func name:"), a
// map ("map counts HASH key 4 value 8 entries 16"), or nothing; "#" begins a
// comment. Jumps go to a label or to "pc+3", calls to a function, a helper's
// name or a helper's number; "raw 0123456789abcdef" is a slot byte by byte.
package bpfasm

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// Error says which line cannot be assembled.
type Error struct {
	// Line counts from 1.
	Line int
	// Text is the line, Reason what was expected of it.
	Text, Reason string
}

// Error is one line.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, %q: %s", e.Line, e.Text, e.Reason)
}

// Assemble reads a program. Its lines are the program's source lines.
func Assemble(name, text string) (*prog.Program, error) {
	a := &assembler{
		p:      &prog.Program{Name: name, License: "GPL", Funcs: []prog.Func{{Name: name}}},
		labels: map[string]int{}, forms: forms(),
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		a.line++
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.Join(strings.Fields(line), " "); line == "" {
			continue
		}
		if err := a.one(line); err != nil {
			return nil, &Error{a.line, line, err.Error()}
		}
	}
	return a.p, a.link()
}

type fixup struct {
	pc, line int
	label    string
	patch    func(in *prog.Insn, distance int)
}

type assembler struct {
	p      *prog.Program
	line   int
	labels map[string]int
	fixups []fixup
	forms  []form
}

func (a *assembler) one(line string) error {
	switch {
	case strings.HasSuffix(line, ":") && strings.HasPrefix(line, "func "):
		name := strings.TrimSuffix(strings.TrimPrefix(line, "func "), ":")
		a.p.Funcs = append(a.p.Funcs, prog.Func{Name: name, Start: len(a.p.Insns)})
		a.labels[name] = len(a.p.Insns)
		return nil
	case strings.HasSuffix(line, ":"):
		a.labels[strings.TrimSuffix(line, ":")] = len(a.p.Insns)
		return nil
	case strings.HasPrefix(line, "map "):
		return a.mapSpec(strings.Fields(line)[1:])
	}
	for _, f := range a.forms {
		if m := f.pattern.FindStringSubmatch(line); m != nil {
			return f.emit(a, m[1:])
		}
	}
	return fmt.Errorf("expected an instruction, a label, a function or a map")
}

// emit appends an instruction.
func (a *assembler) emit(in prog.Insn) error {
	a.p.Insns = append(a.p.Insns, in)
	return nil
}

// jump appends an instruction that goes to a label or to "pc+3".
func (a *assembler) jump(in prog.Insn, to string, patch func(*prog.Insn, int)) error {
	if rest, ok := strings.CutPrefix(to, "pc"); ok {
		if n, err := strconv.Atoi(rest); err == nil {
			patch(&in, n)
			return a.emit(in)
		}
	}
	a.fixups = append(a.fixups, fixup{len(a.p.Insns), a.line, to, patch})
	return a.emit(in)
}

func byOff(in *prog.Insn, n int) { in.Off = int16(n) }
func byImm(in *prog.Insn, n int) { in.Imm = int32(n) }

func (a *assembler) link() error {
	for _, f := range a.fixups {
		t, ok := a.labels[f.label]
		if !ok {
			return &Error{f.line, f.label, "expected a label that exists"}
		}
		f.patch(&a.p.Insns[f.pc], t-f.pc-1)
	}
	return nil
}

// mapSpec reads "name TYPE key 4 value 8 entries 1 flags 0x1 lock 0 frozen 00ff".
func (a *assembler) mapSpec(words []string) error {
	if len(words) < 2 || len(words)%2 != 0 {
		return fmt.Errorf("expected a name, a type, and words with values")
	}
	m := &prog.Map{Name: words[0], SpinLock: -1, MaxEntries: 1}
	if m.Type = mapType(words[1]); m.Type == 0 {
		return fmt.Errorf("expected a type of map such as ARRAY, found %s", words[1])
	}
	for i := 2; i < len(words); i += 2 {
		if err := mapWord(m, words[i], words[i+1]); err != nil {
			return err
		}
	}
	a.p.Maps = append(a.p.Maps, m)
	return nil
}

func mapType(name string) prog.MapType {
	for t := prog.MapType(1); t < 64; t++ {
		if t.String() == name {
			return t
		}
	}
	return 0
}

func mapWord(m *prog.Map, word, value string) error {
	if word == "frozen" {
		b, err := hex.DecodeString(value)
		m.Contents, m.Frozen, m.ValueSize, m.KeySize = b, true, uint32(len(b)), 4
		return err
	}
	n, err := strconv.ParseUint(value, 0, 32)
	switch word {
	case "key":
		m.KeySize = uint32(n)
	case "value":
		m.ValueSize = uint32(n)
	case "entries":
		m.MaxEntries = uint32(n)
	case "flags":
		m.Flags = uint32(n)
	case "lock":
		m.SpinLock = int(n)
	default:
		return fmt.Errorf("expected key, value, entries, flags, lock or frozen, found %s", word)
	}
	return err
}

func (a *assembler) mapIndex(name string) (int32, error) {
	for i, m := range a.p.Maps {
		if m.Name == name {
			return int32(i), nil
		}
	}
	return 0, fmt.Errorf("expected a map that is declared before, found %s", name)
}

func (a *assembler) call(to string) error {
	in := prog.Insn{Op: prog.OpCallInsn}
	name, _, _ := strings.Cut(to, "#")
	for _, sig := range helper.All() {
		if sig.Name == name {
			in.Imm = int32(sig.ID)
			return a.emit(in)
		}
	}
	if n, err := strconv.ParseInt(to, 0, 32); err == nil {
		in.Imm = int32(n)
		return a.emit(in)
	}
	in.Src = prog.PseudoCall
	return a.jump(in, to, byImm)
}
