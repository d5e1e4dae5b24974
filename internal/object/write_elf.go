package object

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"sort"
)

// container is an ELF object that is being put together.
type container struct {
	sections []*outSection
	symbols  []*symbol
	names    map[string]bool // of global symbols
}

// outSection is a section. One of kind SHT_NOBITS has a size and no data.
type outSection struct {
	name       string
	kind       elf.SectionType
	flags      elf.SectionFlag
	data       []byte
	size       uint64
	align      uint64
	entry      uint64
	link, info uint32
	relocs     []outReloc
	index      int
}

// symbol is an entry of the symbol table.
type symbol struct {
	name        string
	kind        elf.SymType
	global      bool
	section     *outSection
	value, size uint64
	index       int
}

// outReloc has an address, or a call, filled in at offset of its section.
type outReloc struct {
	offset uint64
	kind   uint32
	symbol *symbol
}

// add appends a section.
func (c *container) add(s *outSection) *outSection {
	if s.kind != elf.SHT_NOBITS {
		s.size = uint64(len(s.data))
	}
	c.sections = append(c.sections, s)
	return s
}

// symbol appends a symbol. Linkers refuse two global ones of the same name.
func (c *container) symbol(s *symbol) *symbol {
	if c.names == nil {
		c.names = map[string]bool{}
	}
	if s.global {
		c.names[s.name] = true
	}
	c.symbols = append(c.symbols, s)
	return s
}

// sectionSymbol appends the symbol that stands for a section.
func (c *container) sectionSymbol(s *outSection) *symbol {
	return c.symbol(&symbol{kind: elf.STT_SECTION, section: s})
}

// names is a table of NUL-terminated strings, each there once.
type names struct {
	data []byte
	at   map[string]uint32
}

func newNames() *names { return &names{data: []byte{0}, at: map[string]uint32{"": 0}} }

// add is the offset of s.
func (n *names) add(s string) uint32 {
	at, ok := n.at[s]
	if !ok {
		at = uint32(len(n.data))
		n.at[s] = at
		n.data = append(append(n.data, s...), 0)
	}
	return at
}

// encode lays the object out: header, contents of the sections, section headers.
func (c *container) encode() ([]byte, error) {
	strs := newNames()
	symtab := &outSection{name: ".symtab", kind: elf.SHT_SYMTAB, align: 8, entry: symbolSize}
	strtab := &outSection{name: ".strtab", kind: elf.SHT_STRTAB, align: 1}
	c.withRelocations()
	c.sections = append(c.sections, symtab, strtab)
	if n := len(c.sections) + 1; n > MaxSections {
		return nil, unwritable("", fmt.Sprintf("%d sections: expected at most %d", n, MaxSections), "write several objects")
	}
	for i, s := range c.sections {
		s.index = i + 1
		strs.add(s.name)
	}
	symtab.info = c.sortSymbols()
	symtab.data, symtab.link = c.encodeSymbols(strs), uint32(strtab.index)
	strtab.data = strs.data
	c.encodeRelocations(uint32(symtab.index))
	return c.assemble(strs)
}

// withRelocations puts a section of relocations behind each that has some.
func (c *container) withRelocations() {
	var all []*outSection
	for _, s := range c.sections {
		all = append(all, s)
		if len(s.relocs) > 0 {
			all = append(all, &outSection{
				name: ".rel" + s.name, kind: elf.SHT_REL, flags: elf.SHF_INFO_LINK, align: 8, entry: relSize,
				relocs: s.relocs,
			})
		}
	}
	c.sections = all
}

// sortSymbols puts local symbols first, as ELF wants it, and returns the index
// of the first global one.
func (c *container) sortSymbols() uint32 {
	sort.SliceStable(c.symbols, func(i, j int) bool { return !c.symbols[i].global && c.symbols[j].global })
	first := len(c.symbols) + 1
	for i, s := range c.symbols {
		s.index = i + 1
		if s.global && s.index < first {
			first = s.index
		}
	}
	return uint32(first)
}

// encodeSymbols is an empty entry, then one for each symbol.
func (c *container) encodeSymbols(strs *names) []byte {
	le, b := binary.LittleEndian, make([]byte, symbolSize, symbolSize*(len(c.symbols)+1))
	for _, s := range c.symbols {
		bind := elf.STB_LOCAL
		if s.global {
			bind = elf.STB_GLOBAL
		}
		b = le.AppendUint32(b, strs.add(s.name))
		b = append(b, elf.ST_INFO(bind, s.kind), 0)
		b = le.AppendUint16(b, uint16(s.section.index))
		b = le.AppendUint64(le.AppendUint64(b, s.value), s.size)
	}
	return b
}

// encodeRelocations fills the sections of relocations, each behind its section.
func (c *container) encodeRelocations(symtab uint32) {
	for i, s := range c.sections {
		if s.kind != elf.SHT_REL {
			continue
		}
		s.link, s.info = symtab, uint32(c.sections[i-1].index)
		for _, r := range s.relocs {
			s.data = binary.LittleEndian.AppendUint64(s.data, r.offset)
			s.data = binary.LittleEndian.AppendUint64(s.data, uint64(r.symbol.index)<<32|uint64(r.kind))
		}
	}
}

// assemble joins everything.
func (c *container) assemble(strs *names) ([]byte, error) {
	b := make([]byte, headerSize)
	offsets := make([]uint64, len(c.sections))
	for i, s := range c.sections {
		if len(b)+len(s.data) > MaxSize {
			return nil, unwritable("", fmt.Sprintf("an object of more than %d bytes", MaxSize), "make the filter smaller")
		}
		if s.kind != elf.SHT_NOBITS {
			s.size = uint64(len(s.data))
		}
		b = aligned(b, s.align)
		offsets[i] = uint64(len(b))
		b = append(b, s.data...)
	}
	b = aligned(b, 8)
	table := len(b)
	b = append(b, make([]byte, sectionSize)...)
	for i, s := range c.sections {
		b = s.appendHeader(b, strs.add(s.name), offsets[i])
	}
	c.putHeader(b, uint64(table))
	return b, nil
}

// aligned fills b up to a multiple of n bytes.
func aligned(b []byte, n uint64) []byte {
	for uint64(len(b))%n != 0 {
		b = append(b, 0)
	}
	return b
}

// appendHeader appends an Elf64_Shdr.
func (s *outSection) appendHeader(b []byte, name uint32, offset uint64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(b, name), uint32(s.kind))
	b = le.AppendUint64(le.AppendUint64(b, uint64(s.flags)), 0)
	b = le.AppendUint64(le.AppendUint64(b, offset), s.size)
	b = le.AppendUint32(le.AppendUint32(b, s.link), s.info)
	return le.AppendUint64(le.AppendUint64(b, s.align), s.entry)
}

// putHeader writes the Elf64_Ehdr at the begin of b.
func (c *container) putHeader(b []byte, table uint64) {
	le := binary.LittleEndian
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	le.PutUint16(b[16:], uint16(elf.ET_REL))
	le.PutUint16(b[18:], uint16(elf.EM_BPF))
	le.PutUint32(b[20:], uint32(elf.EV_CURRENT))
	le.PutUint64(b[40:], table)
	le.PutUint16(b[52:], headerSize)
	le.PutUint16(b[58:], sectionSize)
	le.PutUint16(b[60:], uint16(len(c.sections)+1))
	le.PutUint16(b[62:], uint16(len(c.sections))) // .strtab is the last one
}
