package object

import (
	"debug/elf"
	"fmt"
	"sort"

	"portcullis/internal/prog"
)

// code is one section of instructions.
type code struct {
	name  string
	insns []prog.Insn
	// funcs are its functions in ascending order; they do not overlap.
	funcs  []*function
	relocs map[int]relocation // by instruction slot
	lines  []prog.Line        // in ascending order of Insn, a slot of the section
}

// function is one function of a section, in slots.
type function struct {
	code       *code
	name       string
	start, end int
	global     bool
}

// readCode decodes every section of instructions.
func (o *object) readCode() error {
	o.code, o.named = map[elf.SectionIndex]*code{}, map[string]*code{}
	for i, s := range o.sections {
		if s.kind != elf.SHT_PROGBITS || s.flags&elf.SHF_EXECINSTR == 0 || s.size == 0 {
			continue
		}
		raw, err := o.contents(s)
		if err != nil {
			return err
		}
		insns, err := prog.Decode(raw)
		if err != nil {
			return &Error{
				Path: o.path, Section: s.name, Reason: "not instructions", Err: err,
				Remedy: damaged,
			}
		}
		c := &code{name: s.name, insns: insns, relocs: map[int]relocation{}}
		o.code[elf.SectionIndex(i)], o.named[s.name] = c, c
	}
	return o.readFunctions()
}

// readFunctions finds the functions of each section by their symbols.
func (o *object) readFunctions() error {
	for _, s := range o.symbols {
		c := o.code[s.Section]
		if c == nil || elf.ST_TYPE(s.Info) != elf.STT_FUNC {
			continue
		}
		size := uint64(len(c.insns)) * prog.Size
		if s.Value%prog.Size != 0 || s.Size%prog.Size != 0 || s.Size == 0 || s.Value > size || s.Size > size-s.Value {
			return o.failAt(c.name, s.Name, "a function that is not whole instructions of its section",
				damaged)
		}
		if err := o.checkName(c.name, s.Name); err != nil {
			return err
		}
		c.funcs = append(c.funcs, &function{
			code: c, name: s.Name, global: elf.ST_BIND(s.Info) != elf.STB_LOCAL,
			start: int(s.Value / prog.Size), end: int((s.Value + s.Size) / prog.Size),
		})
	}
	for _, c := range o.code {
		if err := o.sortFunctions(c); err != nil {
			return err
		}
	}
	return nil
}

func (o *object) sortFunctions(c *code) error {
	sort.SliceStable(c.funcs, func(i, j int) bool { return c.funcs[i].start < c.funcs[j].start })
	for i := 1; i < len(c.funcs); i++ {
		if c.funcs[i].start < c.funcs[i-1].end {
			return o.failAt(c.name, c.funcs[i].name, fmt.Sprintf("overlaps function %s", printable(c.funcs[i-1].name)),
				"function aliases are not supported")
		}
	}
	return nil
}

// at is the function that starts in slot pc; nil if none does.
func (c *code) at(pc int) *function {
	i := sort.Search(len(c.funcs), func(i int) bool { return c.funcs[i].start >= pc })
	if i == len(c.funcs) || c.funcs[i].start != pc {
		return nil
	}
	return c.funcs[i]
}

// readRelocations files the relocations of each section under their slot.
func (o *object) readRelocations() error {
	for i, c := range o.code {
		rels, err := o.relocations(i)
		if err != nil {
			return err
		}
		for _, r := range rels {
			if r.offset%prog.Size != 0 || r.offset/prog.Size >= uint64(len(c.insns)) {
				return o.failIn(c.name, fmt.Sprintf("a relocation at offset %#x: expected that of an instruction", r.offset),
					damaged)
			}
			c.relocs[int(r.offset/prog.Size)] = r
		}
	}
	return nil
}
