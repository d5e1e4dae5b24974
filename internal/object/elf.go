package object

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// errPanic is the cause of an error where a reader of the standard library or
// of cilium/ebpf gave up with a panic.
var errPanic = errors.New("the reader panicked")

// shielded runs a third-party reader over untrusted bytes.
func shielded(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return read()
}

// open reads the ELF headers and checks that this is an object for eBPF.
func (o *object) open(data []byte) error {
	if len(data) > MaxSize {
		return o.fail(fmt.Sprintf("%d bytes: expected at most %d", len(data), MaxSize),
			"strip it with llvm-strip -g", nil)
	}
	err := shielded(func() (err error) {
		o.elf, err = elf.NewFile(bytes.NewReader(data))
		return err
	})
	if err != nil {
		return o.fail("not a readable ELF object", "compile it with clang -target bpf -g -O2 -c", err)
	}
	return o.checkHeader()
}

func (o *object) checkHeader() error {
	h := o.elf.FileHeader
	switch {
	case h.Machine != elf.EM_BPF:
		return o.fail(fmt.Sprintf("an ELF object for %v: expected EM_BPF", h.Machine),
			"compile it with clang -target bpf", nil)
	case h.Class != elf.ELFCLASS64 || h.Data != elf.ELFDATA2LSB:
		return o.fail(fmt.Sprintf("%v %v: expected a 64-bit little-endian object", h.Class, h.Data),
			"compile it with clang -target bpfel", nil)
	case h.Type != elf.ET_REL:
		return o.fail(fmt.Sprintf("an ELF file of type %v: expected ET_REL", h.Type),
			"compile it with clang -c and do not link it", nil)
	case len(o.elf.Sections) > MaxSections:
		return o.fail(fmt.Sprintf("%d sections: expected at most %d", len(o.elf.Sections), MaxSections),
			"split the object", nil)
	}
	return nil
}

// section finds a section by name.
func (o *object) section(name string) (elf.SectionIndex, *elf.Section) {
	for i, s := range o.elf.Sections {
		if s.Name == name {
			return elf.SectionIndex(i), s
		}
	}
	return 0, nil
}

// contents reads a section within the object's budget: sections of a hostile
// object may overlap, or be compressed to a thousandth of their size.
func (o *object) contents(s *elf.Section) ([]byte, error) {
	if s.Flags&elf.SHF_COMPRESSED != 0 {
		return nil, o.failIn(s.Name, "compressed", "compile it without -gz")
	}
	if s.Size > uint64(o.budget) {
		return nil, o.failIn(s.Name, fmt.Sprintf("claims %d bytes: more than the object can hold", s.Size),
			"the object is damaged: compile it again")
	}
	o.budget -= int64(s.Size)
	var data []byte
	err := shielded(func() (err error) {
		data, err = s.Data()
		return err
	})
	if err != nil {
		return nil, &Error{Path: o.path, Section: s.Name, Reason: "cannot be read", Err: err,
			Remedy: "the object is damaged: compile it again"}
	}
	return data, nil
}

// readSymbols reads the symbol table, in which index 0 is restored so that
// relocations can index it directly.
func (o *object) readSymbols() error {
	err := shielded(func() (err error) {
		o.symbols, err = o.elf.Symbols()
		return err
	})
	if err != nil {
		return o.fail("no readable symbol table", "do not strip it with more than llvm-strip -g", err)
	}
	o.symbols = append([]elf.Symbol{{}}, o.symbols...)
	o.vars = map[varKey]elf.Symbol{}
	for _, s := range o.symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_OBJECT {
			o.vars[varKey{s.Section, s.Name}] = s
		}
	}
	return nil
}

// relocations reads the REL entries that apply to section i.
func (o *object) relocations(i elf.SectionIndex) ([]relocation, error) {
	var all []relocation
	for _, s := range o.elf.Sections {
		if s.Info != uint32(i) || s.Type != elf.SHT_REL && s.Type != elf.SHT_RELA {
			continue
		}
		if s.Type == elf.SHT_RELA {
			return nil, o.failIn(s.Name, "relocations with addends: expected SHT_REL as clang emits",
				"compile it with clang -target bpf")
		}
		raw, err := o.contents(s)
		if err != nil {
			return nil, err
		}
		rels, err := o.parseRelocations(s.Name, raw)
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

func (o *object) parseRelocations(section string, raw []byte) ([]relocation, error) {
	const size = 16
	if len(raw)%size != 0 {
		return nil, o.failIn(section, "not a whole number of relocations", "the object is damaged: compile it again")
	}
	rels := make([]relocation, 0, len(raw)/size)
	for ; len(raw) > 0; raw = raw[size:] {
		info := o.elf.ByteOrder.Uint64(raw[8:])
		if info>>32 >= uint64(len(o.symbols)) {
			return nil, o.failIn(section, fmt.Sprintf("refers to symbol %d of %d", info>>32, len(o.symbols)),
				"the object is damaged: compile it again")
		}
		rels = append(rels, relocation{
			offset: o.elf.ByteOrder.Uint64(raw),
			kind:   uint32(info),
			symbol: o.symbols[info>>32],
		})
	}
	return rels, nil
}

// nameOf is the name of a symbol, or of the section that a section symbol
// stands for.
func (o *object) nameOf(s elf.Symbol) string {
	if s.Name == "" && int(s.Section) < len(o.elf.Sections) {
		return o.elf.Sections[s.Section].Name
	}
	return s.Name
}
