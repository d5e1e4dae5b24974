package object

import (
	"debug/elf"
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/prog"
)

// body is one function as it is written: nothing in it depends on its place in
// a program.
type body struct {
	name  string
	insns []prog.Insn
	refs  []reference
	lines []prog.Line // by slot of the function
	start int         // slot of its section
	entry bool
}

// reference is an instruction that names a map, a variable or a function.
type reference struct {
	at     int // slot of the function
	callee *body
	m      *prog.Map
	value  bool  // of the map's element 0, and not the map
	offset int32 // in it
}

// cutter cuts one program into functions.
type cutter struct {
	*writer
	p     *prog.Program
	funcs []prog.Func
	done  []*body
	open  []bool // functions that are being cut
}

// collectBodies cuts each program into functions. Functions that are the same in
// several programs are written once.
func (w *writer) collectBodies() error {
	symbols := map[string]bool{}
	for _, p := range w.programs {
		b, err := w.cutProgram(p)
		if err != nil {
			return err
		}
		if symbols[b.name] {
			return unwritable(b.name, "the function of two programs", "rename one of them")
		}
		symbols[b.name], b.entry = true, true
		w.entries[p] = b
	}
	return nil
}

// cutProgram is the function in which a program begins.
func (w *writer) cutProgram(p *prog.Program) (*body, error) {
	c := &cutter{writer: w, p: p, funcs: p.Funcs}
	if len(c.funcs) == 0 {
		c.funcs = []prog.Func{{Name: p.Name}}
	}
	if err := c.checkFuncs(); err != nil {
		return nil, err
	}
	c.done, c.open = make([]*body, len(c.funcs)), make([]bool, len(c.funcs))
	return c.cut(0)
}

// checkFuncs wants functions in ascending order that cover the program.
func (c *cutter) checkFuncs() error {
	for i, f := range c.funcs {
		if err := checkPlain(f.Name); err != nil {
			return err
		}
		if i == 0 && f.Start != 0 || i > 0 && f.Start <= c.funcs[i-1].Start || f.Start >= len(c.p.Insns) {
			return c.fail("function %s starts at instruction %d of %d, out of order", printable(f.Name), f.Start, len(c.p.Insns))
		}
	}
	return nil
}

func (c *cutter) fail(format string, args ...any) error {
	return unwritable(c.p.Name, fmt.Sprintf(format, args...), "check the program")
}

// cut is function i, and all that it calls. Callees come first in .text.
func (c *cutter) cut(i int) (*body, error) {
	if c.done[i] != nil {
		return c.done[i], nil
	}
	if c.open[i] {
		return nil, c.fail("function %s calls itself", c.funcs[i].Name)
	}
	c.open[i] = true
	start, end := c.funcs[i].Start, len(c.p.Insns)
	if i+1 < len(c.funcs) {
		end = c.funcs[i+1].Start
	}
	b := &body{name: c.funcs[i].Name, insns: append([]prog.Insn(nil), c.p.Insns[start:end]...)}
	err := c.cutReferences(b, start)
	if err == nil {
		b.lines, err = c.cutLines(start, end)
	}
	if err != nil {
		return nil, err
	}
	if i > 0 {
		b = c.once(b)
	}
	c.done[i] = b
	return b, nil
}

// once is the function of .text that is the same as b.
func (c *cutter) once(b *body) *body {
	key := c.key(b)
	if known := c.known[key]; known != nil {
		return known
	}
	c.known[key] = b
	c.shared = append(c.shared, b)
	return b
}

// key tells functions of .text apart.
func (c *cutter) key(b *body) string {
	var k strings.Builder
	fmt.Fprintf(&k, "%s\n%x\n", b.name, prog.Encode(b.insns))
	for _, r := range b.refs {
		place := -1
		if r.m != nil {
			place = c.place[r.m]
		}
		fmt.Fprintf(&k, "%d %p %d %v %d\n", r.at, r.callee, place, r.value, r.offset)
	}
	for _, l := range b.lines {
		fmt.Fprintf(&k, "%d %q %d %q\n", l.Insn, l.File, l.Line, l.Text)
	}
	return k.String()
}

// cutReferences takes the numbers out of the instructions that name something.
func (c *cutter) cutReferences(b *body, start int) error {
	for at := 0; at < len(b.insns); at++ {
		in := &b.insns[at]
		var err error
		switch {
		case in.IsLoadImm64() && at+1 == len(b.insns):
			err = c.fail("function %s ends in half an instruction", b.name)
		case in.IsLoadImm64():
			err = c.cutLoad(b, at)
			at++
		case in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall:
			err = c.cutCall(b, at, start)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cutLoad notes the map or the variable whose address is loaded.
func (c *cutter) cutLoad(b *body, at int) error {
	lo, hi := &b.insns[at], &b.insns[at+1]
	if lo.Src == 0 {
		return nil
	}
	if lo.Src != prog.PseudoMapFD && lo.Src != prog.PseudoMapValue {
		return c.fail("instruction %d of %s loads an address of kind %d: expected a map or a variable", at, b.name, lo.Src)
	}
	if lo.Imm < 0 || int(lo.Imm) >= len(c.p.Maps) {
		return c.fail("instruction %d of %s names map %d of %d", at, b.name, lo.Imm, len(c.p.Maps))
	}
	r := reference{at: at, m: c.p.Maps[lo.Imm], value: lo.Src == prog.PseudoMapValue, offset: hi.Imm}
	switch {
	case r.value != isSection(r.m):
		return c.fail("instruction %d of %s loads of %s what it is not: expected maps by number and variables by address",
			at, b.name, printable(r.m.Name))
	case r.offset < 0 || r.value && uint32(r.offset) > r.m.ValueSize || !r.value && r.offset != 0:
		return c.fail("instruction %d of %s: offset %d lies outside %s", at, b.name, r.offset, printable(r.m.Name))
	}
	lo.Src, lo.Imm, hi.Imm = 0, 0, 0
	b.refs = append(b.refs, r)
	return nil
}

// cutCall notes the function that is called.
func (c *cutter) cutCall(b *body, at, start int) error {
	target := int64(start+at) + 1 + int64(b.insns[at].Imm)
	i := sort.Search(len(c.funcs), func(i int) bool { return int64(c.funcs[i].Start) >= target })
	if i == len(c.funcs) || int64(c.funcs[i].Start) != target {
		return c.fail("instruction %d of %s calls instruction %d, where no function starts", at, b.name, target)
	}
	callee, err := c.cut(i)
	if err != nil {
		return err
	}
	b.insns[at].Imm = 0
	b.refs = append(b.refs, reference{at: at, callee: callee})
	return nil
}

// maxLine is the largest line number that .BTF.ext has room for.
const maxLine = 1<<22 - 1

// cutLines are the lines of the instructions from start to end, in the form that
// they will be read in, at most one for each instruction.
func (c *cutter) cutLines(start, end int) ([]prog.Line, error) {
	all := c.p.Lines
	i := sort.Search(len(all), func(i int) bool { return all[i].Insn >= start })
	var lines []prog.Line
	for ; i < len(all) && all[i].Insn < end; i++ {
		l := all[i]
		if l.Insn -= start; l.Line > maxLine {
			return nil, c.fail("line %d of %s: expected at most %d", l.Line, printable(l.File), maxLine)
		}
		if n := len(lines); l.Insn < 0 || l.Line <= 0 || n > 0 && lines[n-1].Insn >= l.Insn {
			continue
		}
		l.File, l.Text = visible(l.File), strings.TrimSpace(visible(strings.TrimSpace(l.Text)))
		lines = append(lines, l)
	}
	return lines, nil
}

// addCode adds .text, then a section for each program.
func (w *writer) addCode() error {
	const flags = elf.SHF_ALLOC | elf.SHF_EXECINSTR
	if len(w.shared) > 0 {
		w.text = &outSection{name: ".text", kind: elf.SHT_PROGBITS, flags: flags, align: prog.Size}
		w.addBodies(w.text, w.shared)
	}
	for _, p := range w.programs {
		s := &outSection{name: "seccomp/" + p.Name, kind: elf.SHT_PROGBITS, flags: flags, align: prog.Size}
		w.addBodies(s, []*body{w.entries[p]})
	}
	return nil
}

// addBodies lays functions out in a section. Only programs are global symbols: a
// kernel would verify other global functions by themselves, with arguments that
// nothing is known of.
func (w *writer) addBodies(s *outSection, bodies []*body) {
	w.file.add(s)
	w.code = append(w.code, codeSection{s, bodies})
	n := 0
	for _, b := range bodies {
		b.start = n
		n += len(b.insns)
		w.file.symbol(&symbol{
			name: b.name, kind: elf.STT_FUNC, global: b.entry, section: s,
			value: uint64(b.start) * prog.Size, size: uint64(len(b.insns)) * prog.Size,
		})
	}
}

// addReferences makes a relocation of each reference, as clang does: of calls
// against .text with the function in the instruction, of maps and variables against
// their symbol.
func (w *writer) addReferences() error {
	var text *symbol
	if w.text != nil {
		text = w.file.sectionSymbol(w.text)
	}
	for _, s := range w.code {
		for _, b := range s.bodies {
			for _, r := range b.refs {
				w.addReference(s.outSection, b, r, text)
			}
			s.data = append(s.data, prog.Encode(b.insns)...)
		}
	}
	return nil
}

func (w *writer) addReference(s *outSection, b *body, r reference, text *symbol) {
	in, rel := &b.insns[r.at], outReloc{offset: uint64(b.start+r.at) * prog.Size, kind: relocLoad}
	switch {
	case r.callee != nil:
		rel.kind, rel.symbol = relocCall, text
		in.Imm = int32(r.callee.start) - 1
	case r.value:
		rel.symbol = w.variableAt(r.m, uint64(r.offset))
		in.Imm = int32(uint64(r.offset) - rel.symbol.value)
	default:
		rel.symbol = w.mapAt[r.m]
	}
	s.relocs = append(s.relocs, rel)
}

// variableAt is the variable that holds offset, or the whole section.
func (w *writer) variableAt(m *prog.Map, offset uint64) *symbol {
	vars := w.varsAt[m]
	i := sort.Search(len(vars), func(i int) bool { return vars[i].value > offset }) - 1
	if i >= 0 && offset < vars[i].value+vars[i].size {
		return vars[i]
	}
	if w.whole[m] == nil {
		w.whole[m] = w.file.sectionSymbol(w.sectionOf[m])
	}
	return w.whole[m]
}
