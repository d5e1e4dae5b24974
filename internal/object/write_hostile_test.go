package object_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/internal/object"
	"portcullis/internal/prog"
)

// tiny is the smallest program: it allows everything.
func tiny() *prog.Program {
	return &prog.Program{
		Name: "tiny", Funcs: []prog.Func{{Name: "tiny"}},
		Insns: []prog.Insn{
			{Op: prog.ClassALU | prog.OpMov, Imm: 0x7fff0000},
			{Op: prog.OpExitInsn},
		},
	}
}

// loading is a program that loads the address of a map, or of a variable.
func loading(m *prog.Map, src uint8, offset int32) *prog.Program {
	p := tiny()
	p.Maps = []*prog.Map{m}
	p.Insns = append([]prog.Insn{{Op: prog.OpLoadImm64, Dst: 1, Src: src}, {Imm: offset}}, p.Insns...)
	return p
}

// hash is a map, and data a section of variables, of n bytes.
func hash() *prog.Map {
	return &prog.Map{Name: "hash", Type: prog.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1, SpinLock: -1}
}

func data(n int) *prog.Map {
	return &prog.Map{
		Name: ".data", Type: prog.Array, KeySize: 4, ValueSize: uint32(n), MaxEntries: 1, SpinLock: -1,
		Contents: bytes.Repeat([]byte{7}, n),
	}
}

func ring(fields ...prog.Var) *prog.Map {
	return &prog.Map{
		Name: "ring", Type: prog.RingBuf, MaxEntries: 4096, SpinLock: -1,
		Record: &prog.Record{Name: "event", Size: 32, Fields: fields},
	}
}

// tailing is a program with itself in a PROG_ARRAY.
func tailing(index, entries uint32) *prog.Program {
	m := &prog.Map{Name: "tails", Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: entries, SpinLock: -1}
	p := loading(m, prog.PseudoMapFD, 0)
	m.Tails = []prog.Tail{{Index: index, Program: p}}
	return p
}

// many are n maps.
func many(n int) (ms []*prog.Map) {
	for i := 0; i < n; i++ {
		m := hash()
		m.Name = fmt.Sprintf("m%d", i)
		ms = append(ms, m)
	}
	return ms
}

// lined is a program with n long lines.
func lined(n int) *prog.Program {
	p := tiny()
	p.Insns = append(make([]prog.Insn, 0, n), p.Insns...)
	for i := 0; i < n; i++ {
		p.Insns = append(p.Insns, prog.Insn{Op: prog.OpExitInsn})
		p.Lines = append(p.Lines, prog.Line{Insn: i, File: "f", Line: i + 1, Text: fmt.Sprintf("%d%s", i, strings.Repeat("x", 500))})
	}
	return p
}

// changed is a program, or a map in one, with a change.
func changed(change func(*prog.Program)) []*prog.Program {
	p := tiny()
	change(p)
	return []*prog.Program{p}
}

func with(m *prog.Map, change func(*prog.Map)) []*prog.Program {
	change(m)
	src := uint8(prog.PseudoMapFD)
	if m.Contents != nil {
		src = prog.PseudoMapValue
	}
	return []*prog.Program{loading(m, src, 0)}
}

var long = strings.Repeat("x", 200)

func call(imm int32) prog.Insn { return prog.Insn{Op: prog.OpCallInsn, Src: prog.PseudoCall, Imm: imm} }

func TestRefusedPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		ps   []*prog.Program
		want string
	}{
		"no program":       {nil, "0 programs"},
		"no instructions":  {changed(func(p *prog.Program) { p.Insns = nil }), "starts at instruction 0 of 0"},
		"no name":          {changed(func(p *prog.Program) { p.Name = "" }), "not a name"},
		"NUL in name":      {changed(func(p *prog.Program) { p.Name = "a\x00b" }), "not a name"},
		"space in name":    {changed(func(p *prog.Program) { p.Name = "a b" }), "not a name"},
		"no UTF-8 in name": {changed(func(p *prog.Program) { p.Name = "a\xff" }), "not a name"},
		"long name":        {changed(func(p *prog.Program) { p.Name = long }), "not a name"},
		"function's name":  {changed(func(p *prog.Program) { p.Funcs[0].Name = "\n" }), "not a name"},
		"twice":            {[]*prog.Program{tiny(), tiny()}, "a second program"},
		"same function":    {append(changed(func(p *prog.Program) { p.Name = "other" }), tiny()), "the function of two programs"},
		"two licenses":     {append(changed(func(p *prog.Program) { p.Name, p.License = "other", "GPL" }), tiny()), "one for the whole object"},
		"NUL in license":   {changed(func(p *prog.Program) { p.License = "GPL\x00" }), "without NUL"},
		"late function":    {changed(func(p *prog.Program) { p.Funcs[0].Start = 1 }), "out of order"},
		"empty function":   {changed(func(p *prog.Program) { p.Funcs = append(p.Funcs, prog.Func{Name: "f", Start: 2}) }), "out of order"},
		"far line":         {changed(func(p *prog.Program) { p.Lines = []prog.Line{{File: "f", Line: 1 << 22}} }), "line 4194304 of f"},
		"calls itself":     {changed(func(p *prog.Program) { p.Insns[0] = call(-1) }), "calls itself"},
		"calls nothing":    {changed(func(p *prog.Program) { p.Insns[0] = call(0) }), "no function starts"},
		"calls far":        {changed(func(p *prog.Program) { p.Insns[0] = call(-1 << 31) }), "no function starts"},
		"half a load":      {changed(func(p *prog.Program) { p.Insns[1] = prog.Insn{Op: prog.OpLoadImm64} }), "half an instruction"},
		"too long":         {changed(func(p *prog.Program) { p.Insns = make([]prog.Insn, object.MaxInsns+1) }), "more than 65536 instructions"},
		"no such map":      {changed(func(p *prog.Program) { p.Insns = loading(hash(), prog.PseudoMapFD, 0).Insns }), "names map 0 of 0"},
		"function address": {[]*prog.Program{loading(hash(), prog.PseudoFunc, 0)}, "expected a map or a variable"},
		"offset in map":    {[]*prog.Program{loading(hash(), prog.PseudoMapFD, 1)}, "lies outside"},
		"value of map":     {[]*prog.Program{loading(hash(), prog.PseudoMapValue, 0)}, "what it is not"},
		"number of data":   {[]*prog.Program{loading(data(8), prog.PseudoMapFD, 0)}, "what it is not"},
		"offset":           {[]*prog.Program{loading(data(8), prog.PseudoMapValue, 9)}, "lies outside"},
		"negative offset":  {[]*prog.Program{loading(data(8), prog.PseudoMapValue, -1)}, "lies outside"},
		"map's name":       {with(hash(), func(m *prog.Map) { m.Name = "a-b" }), "not the name of a map"},
		"map's long name":  {with(hash(), func(m *prog.Map) { m.Name = long }), "not the name of a map"},
		"no type":          {with(hash(), func(m *prog.Map) { m.Type = 0 }), "without a type"},
		"frozen map":       {with(hash(), func(m *prog.Map) { m.Frozen = true }), "expected contents"},
		"records of hash":  {with(hash(), func(m *prog.Map) { m.Record = &prog.Record{} }), "no ring buffer"},
		"lock outside":     {with(hash(), func(m *prog.Map) { m.SpinLock = 5 }), "a lock at 5 of 8 bytes"},
		"tails of hash":    {with(hash(), func(m *prog.Map) { m.Tails = []prog.Tail{{}} }), "no PROG_ARRAY"},
		"strange tail":     {with(hash(), func(m *prog.Map) { m.Type, m.Tails = prog.ProgArray, []prog.Tail{{Program: tiny()}} }), "not in the object"},
		"far tail":         {[]*prog.Program{tailing(1<<31, 1<<32-1)}, "section .maps has"},
		"tail outside":     {[]*prog.Program{tailing(8, 8)}, "a program at index 8 of 8"},
		"same map":         {changed(func(p *prog.Program) { p.Maps = []*prog.Map{hash(), hash()} }), "the name of two maps"},
		"many maps":        {changed(func(p *prog.Program) { p.Maps = many(object.MaxMaps + 1) }), "257 maps"},
		"large object": {changed(func(p *prog.Program) {
			tails := tailing(1<<21-10, 1<<32-1)
			p.Insns, p.Maps = tails.Insns, append(tails.Maps, data(1<<20))
			tails.Maps[0].Tails[0].Program = p
		}), "an object of more than"},
		"long lines":       {[]*prog.Program{lined(3000)}, "bytes of types, names and lines"},
		"list's size":      {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 8, Count: 1, Kind: prog.VarPaths}} }), "no type for"},
		"texts of nothing": {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 1, Count: 8, Kind: prog.VarTexts}} }), "no type for"},
		"record's name":    {with(ring(), func(m *prog.Map) { m.Record.Name = "a b" }), "expected a struct"},
		"many fields":      {with(ring(make([]prog.Var, 257)...), func(m *prog.Map) {}), "more than 256 fields"},
		"set in record":    {with(ring(prog.Var{Name: "f", Size: 8, Count: 1, Kind: prog.VarCallSet}), func(m *prog.Map) {}), "of no known form"},
		"bytes in record":  {with(ring(prog.Var{Name: "f", Size: 8, Count: 2}), func(m *prog.Map) {}), "of no known form"},
		"section's name":   {with(data(8), func(m *prog.Map) { m.Name = ".text" }), "not a section of variables"},
		"section's size":   {with(data(8), func(m *prog.Map) { m.ValueSize = 9 }), "8 bytes of variables"},
		"empty section":    {with(data(0), func(m *prog.Map) {}), "0 bytes of variables"},
		"frozen data":      {with(data(8), func(m *prog.Map) { m.Frozen = true }), "constant if it is .rodata"},
		"huge rodata":      {with(data(object.MaxGlobals+1), func(m *prog.Map) {}), "bytes of variables"},
		"lock nowhere":     {with(data(8), func(m *prog.Map) { m.SpinLock = 0 }), "no variable of 4 bytes"},
		"far variable":     {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Offset: 1, Size: 8, Count: 1}} }), "1 elements of 8 bytes at 1"},
		"many elements":    {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 8, Count: 1 << 62}} }), "overlap with nothing"},
		"overlap": {with(data(8), func(m *prog.Map) {
			m.Vars = []prog.Var{{Name: "v", Size: 8, Count: 1}, {Name: "w", Offset: 7, Size: 1, Count: 1}}
		}), "overlap with nothing"},
		"constant data":    {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 8, Count: 1, Const: true}} }), "outside .rodata"},
		"variable's name":  {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v v", Size: 8, Count: 1}} }), "not the name of a variable"},
		"variable's kind":  {with(data(8), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 8, Count: 1, Kind: 99}} }), "no type for"},
		"variable's size":  {with(data(9), func(m *prog.Map) { m.Vars = []prog.Var{{Name: "v", Size: 3, Count: 3, Kind: 1}} }), "no type for"},
		"field outside":    {with(ring(prog.Var{Name: "f", Offset: 32, Size: 1, Count: 1}), func(m *prog.Map) {}), "outside its record"},
		"field's name":     {with(ring(prog.Var{Name: "a..b", Size: 1, Count: 1}), func(m *prog.Map) {}), "expected names"},
		"deep field":       {with(ring(prog.Var{Name: strings.Repeat("a.", 40) + "b", Size: 1, Count: 1}), func(m *prog.Map) {}), "expected names"},
		"ring with values": {with(ring(), func(m *prog.Map) { m.ValueSize = 8 }), "a ring buffer with a value size"},
	} {
		_, err := object.Write(c.ps)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v: expected an error with %q", name, err, c.want)
			continue
		}
		checkTyped(t, err)
	}
}

// TestOddPrograms writes what is unusual, and still can be read again.
func TestOddPrograms(t *testing.T) {
	for name, ps := range map[string][]*prog.Program{
		"nothing else":     {tiny()},
		"no function":      changed(func(p *prog.Program) { p.Funcs = nil }),
		"name with dashes": changed(func(p *prog.Program) { p.Name, p.Funcs[0].Name = "a/b-c", "1-2" }),
		"license":          changed(func(p *prog.Program) { p.License = "Dual BSD/GPL" }),
		"line at end":      changed(func(p *prog.Program) { p.Lines = []prog.Line{{Insn: 1, File: "f", Line: 1<<22 - 1, Text: long}} }),
		"line of nothing":  changed(func(p *prog.Program) { p.Lines = []prog.Line{{Line: 3}} }),
		"tail":             {tailing(1000, 1<<32-1)},
		"end of data":      {loading(data(8), prog.PseudoMapValue, 8)},
		"huge data":        {loading(data(object.MaxGlobals), prog.PseudoMapValue, object.MaxGlobals)},
		"huge map":         with(hash(), func(m *prog.Map) { m.ValueSize, m.KeySize, m.MaxEntries, m.Flags = 1<<32-1, 512, 1<<32-1, 1<<31 }),
		"lock in the middle": with(hash(), func(m *prog.Map) {
			m.ValueSize, m.SpinLock = 64, 12
		}),
		"lock in data": with(data(12), func(m *prog.Map) { m.SpinLock, m.Vars = 4, []prog.Var{{Name: "l", Offset: 4, Size: 4, Count: 1}} }),
		"rodata":       with(data(8), func(m *prog.Map) { m.Name, m.Frozen, m.Flags = ".rodata", true, prog.FlagRdonlyProg }),
		"full bss":     with(data(8), func(m *prog.Map) { m.Name = ".bss" }),
		"empty bss":    with(data(8), func(m *prog.Map) { m.Name, m.Contents = ".bss.x", make([]byte, 8) }),
		"wide variable": with(data(64), func(m *prog.Map) {
			m.Vars = []prog.Var{{Name: "w", Size: 16, Count: 2}, {Name: "x", Offset: 32, Size: 31, Count: 1}}
		}),
		"empty record":    with(ring(), func(m *prog.Map) { m.Record.Name = "" }),
		"record of bytes": with(ring(prog.Var{Name: "a", Size: 4, Count: 1}, prog.Var{Name: "rest", Offset: 32, Size: 1, Kind: prog.VarUnsigned}), func(m *prog.Map) {}),
		"union in struct": with(ring(prog.Var{Name: "a.b.c", Size: 4, Count: 1, Kind: prog.VarSigned}, prog.Var{Name: "a.b.d", Size: 1, Count: 3, Kind: prog.VarChar},
			prog.Var{Name: "a.e", Offset: 4, Size: 8, Count: 2, Kind: prog.VarBool}, prog.Var{Name: "f", Offset: 1, Size: 2, Count: 1, Kind: prog.VarUnsigned}), func(m *prog.Map) {}),
	} {
		want := changedFuncs(ps)
		_, again := written(t, name, ps)
		if diff := cmp.Diff(described(want), described(again)); diff != "" {
			t.Errorf("%s: written and read:\n%s", name, diff)
		}
	}
}

// changedFuncs gives programs without functions the one that they are.
func changedFuncs(ps []*prog.Program) []*prog.Program {
	for _, p := range ps {
		if len(p.Funcs) == 0 {
			c := *p
			c.Funcs = []prog.Func{{Name: p.Name}}
			return []*prog.Program{&c}
		}
	}
	return ps
}

// TestLinesAreMadeVisible wants no byte in an object's text that a terminal acts upon.
func TestLinesAreMadeVisible(t *testing.T) {
	p := tiny()
	p.Lines = []prog.Line{
		{Insn: 0, File: "a\x00b\x1b", Line: 1, Text: "\t one\x00two\xff" + strings.Repeat("é", 400)},
		{Insn: 1, File: "", Line: 0, Text: "nobody's"},
		{Insn: 9, File: "far", Line: 1},
	}
	_, again := written(t, "lines", []*prog.Program{p})
	lines := again[0].Lines
	if len(lines) != 1 || lines[0].File != "a?b?" || !strings.HasPrefix(lines[0].Text, "one?two?é") || len(lines[0].Text) > 512 {
		t.Errorf("%+v: expected one line of visible text", lines)
	}
}

// TestSharedFunctionsAreWrittenOnce has two programs call the same function, and a third
// one another of its name.
func TestSharedFunctionsAreWrittenOnce(t *testing.T) {
	calling := func(name string, value int32) *prog.Program {
		p := tiny()
		p.Name = name
		p.Insns = append([]prog.Insn{call(2)}, p.Insns...)
		p.Insns = append(p.Insns, prog.Insn{Op: prog.ClassALU | prog.OpMov, Imm: value}, prog.Insn{Op: prog.OpExitInsn})
		p.Funcs = []prog.Func{{Name: name}, {Name: "callee", Start: 3}}
		return p
	}
	ps := []*prog.Program{calling("a", 1), calling("b", 1), calling("c", 2)}
	out, again := written(t, "shared", ps)
	if diff := cmp.Diff(described(ps), described(again)); diff != "" {
		t.Error(diff)
	}
	if n := len(sectionOf(t, out, ".text")) / prog.Size; n != 4 {
		t.Errorf(".text has %d instructions: expected two functions of two each", n)
	}
}

// TestManyPrograms fills an object to its limit.
func TestManyPrograms(t *testing.T) {
	var ps []*prog.Program
	for i := 0; i <= object.MaxPrograms; i++ {
		p := tiny()
		p.Name += strings.Repeat("x", i%100) + string(rune('a'+i/100))
		p.Funcs = nil
		ps = append(ps, p)
	}
	written(t, "many", ps[:object.MaxPrograms])
	if _, err := object.Write(ps); err == nil {
		t.Error("257 programs were written")
	} else {
		checkTyped(t, err)
	}
}
