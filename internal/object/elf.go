package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// Names and tables are read here and not by debug/elf, which copies each name
// for every header that refers to it: an object of 16 MiB can make that
// terabytes.

// damaged is the remedy where no compiler can have written what is there.
const damaged = "the object is damaged: compile it again"

// section is one section header.
type section struct {
	name         string
	kind         elf.SectionType
	flags        elf.SectionFlag
	offset, size uint64
	link, info   uint32
}

// Sizes of the structures of a 64-bit ELF object.
const (
	headerSize  = 64
	sectionSize = 64
	symbolSize  = 24
	relSize     = 16
)

// open reads the ELF headers and checks that this is an object for eBPF.
func (o *object) open(data []byte) error {
	o.data = data
	switch {
	case len(data) > MaxSize:
		return o.fail(fmt.Sprintf("%d bytes: expected at most %d", len(data), MaxSize), "strip it with llvm-strip -g", nil)
	case len(data) < headerSize || !bytes.HasPrefix(data, []byte(elf.ELFMAG)):
		return o.fail("not an ELF object", "compile it with clang -target bpf -g -O2 -c", nil)
	}
	if err := o.checkHeader(); err != nil {
		return err
	}
	return o.readSections()
}

func (o *object) checkHeader() error {
	class, order := elf.Class(o.data[elf.EI_CLASS]), elf.Data(o.data[elf.EI_DATA])
	kind, machine := elf.Type(o.u16(16)), elf.Machine(o.u16(18))
	switch {
	case class != elf.ELFCLASS64 || order != elf.ELFDATA2LSB:
		return o.fail(fmt.Sprintf("%v %v: expected a 64-bit little-endian object", class, order),
			"compile it with clang -target bpfel", nil)
	case machine != elf.EM_BPF:
		return o.fail(fmt.Sprintf("an ELF file for %v: expected EM_BPF", machine), "compile it with clang -target bpf", nil)
	case kind != elf.ET_REL:
		return o.fail(fmt.Sprintf("an ELF file of type %v: expected ET_REL", kind),
			"compile it with clang -c and do not link it", nil)
	}
	return nil
}

// u16, u32 and u64 read the object at an offset that was checked.
func (o *object) u16(at uint64) uint16 { return binary.LittleEndian.Uint16(o.data[at:]) }
func (o *object) u32(at uint64) uint32 { return binary.LittleEndian.Uint32(o.data[at:]) }
func (o *object) u64(at uint64) uint64 { return binary.LittleEndian.Uint64(o.data[at:]) }

// holds tells whether the object has n bytes at an offset.
func (o *object) holds(at, n uint64) bool {
	return at <= uint64(len(o.data)) && n <= uint64(len(o.data))-at
}

// readSections reads the section headers, then their names.
func (o *object) readSections() error {
	table, size, count, names := o.u64(40), o.u16(58), uint64(o.u16(60)), o.u16(62)
	switch {
	case count > MaxSections:
		return o.fail(fmt.Sprintf("%d sections: expected at most %d", count, MaxSections), "split the object", nil)
	case size != sectionSize || count == 0 || !o.holds(table, count*sectionSize) || uint64(names) >= count:
		return o.fail("no readable section headers", damaged, nil)
	}
	nameOffsets := make([]uint32, count)
	for i := range nameOffsets {
		at := table + uint64(i)*sectionSize
		nameOffsets[i] = o.u32(at)
		o.sections = append(o.sections, &section{
			kind: elf.SectionType(o.u32(at + 4)), flags: elf.SectionFlag(o.u64(at + 8)),
			offset: o.u64(at + 24), size: o.u64(at + 32), link: o.u32(at + 40), info: o.u32(at + 44),
		})
	}
	text, err := o.stringTable(uint32(names))
	if err != nil {
		return err
	}
	for i, s := range o.sections {
		s.name = stringAt(text, nameOffsets[i])
	}
	return nil
}

// stringTable is the contents of section i as one string, of which all names
// are parts.
func (o *object) stringTable(i uint32) (string, error) {
	if uint64(i) >= uint64(len(o.sections)) || o.sections[i].kind != elf.SHT_STRTAB {
		return "", o.fail("no readable table of names", damaged, nil)
	}
	data, err := o.contents(o.sections[i])
	return string(data), err
}

// maxName is the length of the longest name or source line that is read.
const maxName = 4096

// stringAt is the NUL-terminated string at off; empty where there is none.
func stringAt(table string, off uint32) string {
	if uint64(off) >= uint64(len(table)) {
		return ""
	}
	s := table[off:]
	if len(s) > maxName {
		s = s[:maxName]
	}
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// section finds a section by name.
func (o *object) section(name string) (elf.SectionIndex, *section) {
	for i, s := range o.sections {
		if s.name == name {
			return elf.SectionIndex(i), s
		}
	}
	return 0, nil
}

// contents is a part of the object that must not be changed. What is read in
// all is bounded, because sections of a hostile object may overlap.
func (o *object) contents(s *section) ([]byte, error) {
	switch {
	case s.flags&elf.SHF_COMPRESSED != 0:
		return nil, o.failIn(s.name, "compressed", "compile it without -gz")
	case s.kind == elf.SHT_NOBITS || !o.holds(s.offset, s.size) || s.size > o.budget:
		return nil, o.failIn(s.name, fmt.Sprintf("claims %d bytes that the object does not hold", s.size), damaged)
	}
	o.budget -= s.size
	return o.data[s.offset : s.offset+s.size], nil
}

// readSymbols reads the symbol table.
func (o *object) readSymbols() error {
	for _, s := range o.sections {
		if s.kind != elf.SHT_SYMTAB {
			continue
		}
		names, err := o.stringTable(s.link)
		if err != nil {
			return err
		}
		raw, err := o.contents(s)
		if err != nil {
			return err
		}
		o.parseSymbols(raw, names)
		return nil
	}
	return o.fail("no symbol table", "do not strip it with more than llvm-strip -g", nil)
}

// parseSymbols reads whole Elf64_Sym entries and files the variables.
func (o *object) parseSymbols(raw []byte, names string) {
	o.vars = map[varKey]elf.Symbol{}
	for ; len(raw) >= symbolSize; raw = raw[symbolSize:] {
		s := elf.Symbol{
			Name: stringAt(names, binary.LittleEndian.Uint32(raw)), Info: raw[4], Other: raw[5],
			Section: elf.SectionIndex(binary.LittleEndian.Uint16(raw[6:])),
			Value:   binary.LittleEndian.Uint64(raw[8:]), Size: binary.LittleEndian.Uint64(raw[16:]),
		}
		o.symbols = append(o.symbols, s)
		if elf.ST_TYPE(s.Info) == elf.STT_OBJECT {
			o.vars[varKey{s.Section, s.Name}] = s
		}
	}
}

// relocations reads the REL entries that apply to section i.
func (o *object) relocations(i elf.SectionIndex) ([]relocation, error) {
	var all []relocation
	for _, s := range o.sections {
		if s.info != uint32(i) || s.kind != elf.SHT_REL && s.kind != elf.SHT_RELA {
			continue
		}
		if s.kind == elf.SHT_RELA {
			return nil, o.failIn(s.name, "relocations with addends: expected SHT_REL as clang emits",
				"compile it with clang -target bpf")
		}
		raw, err := o.contents(s)
		if err != nil {
			return nil, err
		}
		rels, err := o.parseRelocations(s.name, raw)
		if err != nil {
			return nil, err
		}
		all = append(all, rels...)
	}
	return all, nil
}

// relocation is one Elf64_Rel with its symbol looked up.
type relocation struct {
	offset uint64
	kind   uint32
	symbol elf.Symbol
}

// Relocation types of eBPF (llvm/include/llvm/BinaryFormat/ELFRelocs/BPF.def).
const (
	relocLoad = 1  // R_BPF_64_64: a 64-bit immediate load
	relocCall = 10 // R_BPF_64_32: a call
)

func (o *object) parseRelocations(name string, raw []byte) ([]relocation, error) {
	if len(raw)%relSize != 0 {
		return nil, o.failIn(name, "not a whole number of relocations", damaged)
	}
	rels := make([]relocation, 0, len(raw)/relSize)
	for ; len(raw) > 0; raw = raw[relSize:] {
		info := binary.LittleEndian.Uint64(raw[8:])
		if info>>32 >= uint64(len(o.symbols)) {
			return nil, o.failIn(name, fmt.Sprintf("refers to symbol %d of %d", info>>32, len(o.symbols)), damaged)
		}
		rels = append(rels, relocation{
			offset: binary.LittleEndian.Uint64(raw), kind: uint32(info), symbol: o.symbols[info>>32],
		})
	}
	return rels, nil
}

// nameOf is the name of a symbol, or of the section that a section symbol
// stands for.
func (o *object) nameOf(s elf.Symbol) string {
	if s.Name == "" && int(s.Section) < len(o.sections) {
		return o.sections[s.Section].name
	}
	return s.Name
}
