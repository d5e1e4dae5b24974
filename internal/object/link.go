package object

import (
	"debug/elf"
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/prog"
)

// link makes a program of each global function of each program section.
func (o *object) link() error {
	names := map[string]bool{}
	o.entryOf = map[*function]*prog.Program{}
	for i := range o.sections {
		c := o.code[elf.SectionIndex(i)]
		if c == nil || !isProgram(c.name) {
			continue
		}
		entries, err := o.entries(c)
		if err != nil {
			return err
		}
		for _, f := range entries {
			if err := o.addProgram(f, programName(f, len(entries)), names); err != nil {
				return err
			}
		}
	}
	if len(o.programs) == 0 {
		return o.fail(o.sectionsFound(), `mark the filter's function with SEC("seccomp")`, nil)
	}
	return nil
}

// entries are the functions of a section that are programs; static ones are
// there to be called.
func (o *object) entries(c *code) ([]*function, error) {
	var entries []*function
	for _, f := range c.funcs {
		if f.global {
			entries = append(entries, f)
		}
	}
	if len(entries) == 0 {
		return nil, o.failIn(c.name, "holds no global function", "do not declare the filter's function static")
	}
	return entries, nil
}

// programName is the part behind the slash of a section that holds one program,
// else the function's name.
func programName(f *function, inSection int) string {
	if _, name, ok := strings.Cut(f.code.name, "/"); ok && name != "" && inSection == 1 {
		return name
	}
	return f.name
}

// sectionsFound says what the object has instead of programs.
func (o *object) sectionsFound() string {
	var found []string
	for _, c := range o.code {
		found = append(found, fmt.Sprintf("%q", c.name))
	}
	if len(found) == 0 {
		return `no code: expected a section "seccomp" or "seccomp/NAME"`
	}
	sort.Strings(found)
	return fmt.Sprintf(`expected a section "seccomp" or "seccomp/NAME", found %s`, strings.Join(found, ", "))
}

func (o *object) addProgram(f *function, name string, names map[string]bool) error {
	if err := o.checkName(f.code.name, name); err != nil {
		return err
	}
	if names[name] {
		return o.failAt(f.code.name, name, "a second program of this name", "rename one of them")
	}
	if len(o.programs) == MaxPrograms {
		return o.fail(fmt.Sprintf("more than %d programs", MaxPrograms), "split the object", nil)
	}
	names[name] = true
	l := &linker{
		object: o, program: &prog.Program{Name: name, Source: o.path, License: o.license},
		starts: map[*function]int{}, maps: map[*prog.Map]int{},
	}
	if err := l.run(f); err != nil {
		return err
	}
	o.programs = append(o.programs, l.program)
	o.entryOf[f] = l.program
	return nil
}

// linker lays out one program: its entry function, then every function it
// calls in the order of the first call.
type linker struct {
	*object
	program *prog.Program
	starts  map[*function]int
	order   []*function
	calls   []call
	maps    map[*prog.Map]int
}

// call is an instruction of the program whose target has yet to be set.
type call struct {
	pc     int
	target *function
}

func (l *linker) run(entry *function) error {
	l.order = []*function{entry}
	l.starts[entry] = 0
	for i := 0; i < len(l.order); i++ {
		if err := l.place(l.order[i]); err != nil {
			return err
		}
	}
	for _, c := range l.calls {
		l.program.Insns[c.pc].Imm = int32(l.starts[c.target] - c.pc - 1)
	}
	return nil
}

// place appends one function with its lines, and resolves what it refers to.
func (l *linker) place(f *function) error {
	start, size := len(l.program.Insns), f.end-f.start
	l.linked += size
	if start+size > MaxInsns || l.linked > MaxTotalInsns {
		return l.failAt(f.code.name, f.name, fmt.Sprintf("more than %d instructions in a program, or %d in all", MaxInsns, MaxTotalInsns),
			"make the filter smaller")
	}
	l.starts[f] = start
	l.program.Insns = append(l.program.Insns, f.code.insns[f.start:f.end]...)
	l.program.Funcs = append(l.program.Funcs, prog.Func{Name: f.name, Start: start})
	l.placeLines(f, start)
	return l.resolve(f, start)
}

func (l *linker) placeLines(f *function, start int) {
	lines := f.code.lines
	i := sort.Search(len(lines), func(i int) bool { return lines[i].Insn >= f.start })
	for ; i < len(lines) && lines[i].Insn < f.end; i++ {
		line := lines[i]
		line.Insn += start - f.start
		l.program.Lines = append(l.program.Lines, line)
	}
}

// resolve rewrites the instructions of f, placed at start, that name a map, a
// variable or a function. No reference survives that did not come from a
// relocation: a number in its place would mean some map of ours.
func (l *linker) resolve(f *function, start int) error {
	for pc := f.start; pc < f.end; pc++ {
		in := l.program.Insns[start+pc-f.start]
		r, relocated := f.code.relocs[pc]
		var err error
		switch {
		case in.IsLoadImm64() && pc+1 == f.end:
			err = l.failAt(f.code.name, f.name, "ends in half an instruction", damaged)
		case in.IsLoadImm64() && relocated:
			err = l.resolveLoad(f, start+pc-f.start, r)
		case in.IsLoadImm64() && in.Src != 0:
			err = l.failAt(f.code.name, f.name, fmt.Sprintf("instruction %d names a map by number", pc-f.start),
				damaged)
		case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
			err = l.resolveCall(f, pc, start+pc-f.start, r, relocated)
		case relocated:
			err = l.refuse(f, pc, r)
		}
		if err != nil {
			return err
		}
		if in.IsLoadImm64() {
			pc++
		}
	}
	return nil
}

// refuse explains a relocation that has no meaning in a filter.
func (l *linker) refuse(f *function, pc int, r relocation) error {
	name := l.nameOf(r.symbol)
	if r.symbol.Section == elf.SHN_UNDEF {
		return l.failAt(f.code.name, name, "not defined in the object",
			"call helpers through include/portcullis.h and define every function; memset and memcpy need constant sizes: use __builtin_memset")
	}
	return l.failAt(f.code.name, f.name, fmt.Sprintf("instruction %d refers to %s in a way that is not supported", pc-f.start, printable(name)),
		damaged)
}

// resolveLoad rewrites a 64-bit load of the address of a map or a variable.
func (l *linker) resolveLoad(f *function, pc int, r relocation) error {
	name := l.nameOf(r.symbol)
	switch {
	case r.symbol.Section == elf.SHN_UNDEF:
		return l.failAt(f.code.name, name, "an extern: a filter has none", "define it, or make it a const volatile to be set")
	case r.kind != relocLoad:
		return l.failAt(f.code.name, name, fmt.Sprintf("a load with a relocation of type %d: expected R_BPF_64_64", r.kind),
			"compile it with clang 14 or newer")
	case l.code[r.symbol.Section] != nil:
		return l.failAt(f.code.name, name, "the address of a function: no helper takes one", "call it directly")
	}
	in := l.program.Insns[pc : pc+2]
	offset := r.symbol.Value + uint64(uint32(in[0].Imm))
	if m, ok := l.object.maps[r.symbol.Section][offset]; ok {
		l.setLoad(in, prog.PseudoMapFD, m, 0)
		return nil
	}
	m := l.globals[r.symbol.Section]
	if m == nil || offset > uint64(m.ValueSize) {
		return l.failAt(f.code.name, name, "the address of something that is neither a map nor a variable",
			"define maps in SEC(\".maps\") and variables in .rodata, .data or .bss")
	}
	l.setLoad(in, prog.PseudoMapValue, m, int32(offset))
	return nil
}

// setLoad writes a reference to a map, which gets an index on its first use.
func (l *linker) setLoad(in []prog.Insn, src uint8, m *prog.Map, offset int32) {
	i, ok := l.maps[m]
	if !ok {
		i = len(l.program.Maps)
		l.maps[m] = i
		l.program.Maps = append(l.program.Maps, m)
	}
	in[0].Src, in[0].Imm, in[1].Imm = src, int32(i), offset
}

// resolveCall notes a call of another function, found by its relocation or,
// within a section, by the distance that the compiler already filled in.
func (l *linker) resolveCall(f *function, pc, at int, r relocation, relocated bool) error {
	c, target := f.code, int64(pc)+1+int64(f.code.insns[pc].Imm)
	if relocated {
		if r.kind != relocCall || l.code[r.symbol.Section] == nil {
			return l.refuse(f, pc, r)
		}
		c = l.code[r.symbol.Section]
		target = int64(r.symbol.Value/prog.Size) + int64(f.code.insns[pc].Imm) + 1
	}
	callee := c.at(int(target))
	if callee == nil {
		return l.failAt(f.code.name, f.name, fmt.Sprintf("instruction %d calls slot %d of section %q, where no function starts", pc-f.start, target, c.name),
			damaged)
	}
	if _, known := l.starts[callee]; !known {
		l.starts[callee] = -1 // placed later
		l.order = append(l.order, callee)
	}
	l.calls = append(l.calls, call{pc: at, target: callee})
	return nil
}
