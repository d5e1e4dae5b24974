package object

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// tailRef is where the initial values of a PROG_ARRAY are in section .maps.
type tailRef struct {
	m          *prog.Map
	start, end uint64
}

// relocAddress is R_BPF_64_ABS64: an address in data.
const relocAddress = 2

// pointerSize is the size of a slot of __array(values, …).
const pointerSize = 8

// noteTails notes the extent of a PROG_ARRAY's __array(values, …), the last
// member of its definition. Its symbol is as long as its initialiser.
func (o *object) noteTails(m *prog.Map, v *btf.Var, sym elf.Symbol) {
	def, ok := btf.UnderlyingType(v.Type).(*btf.Struct)
	if !ok || m.Type != prog.ProgArray || sym.Value+sym.Size < sym.Value {
		return
	}
	for _, member := range def.Members {
		if member.Name == "values" {
			start := sym.Value + uint64(member.Offset.Bytes())
			o.tails = append(o.tails, tailRef{m, start, sym.Value + sym.Size})
		}
	}
}

// readTails fills the PROG_ARRAYs with the programs that they are initialised
// with: libbpf's form, .values = { [1] = &filter }.
func (o *object) readTails() error {
	index, s := o.section(mapsSection)
	if s == nil {
		return nil
	}
	rels, err := o.relocations(index)
	if err != nil || len(rels) == 0 {
		return err
	}
	data, err := o.contents(s)
	if err != nil {
		return err
	}
	for _, r := range rels {
		if err := o.addTail(r, data); err != nil {
			return err
		}
	}
	for _, t := range o.tails {
		sort.Slice(t.m.Tails, func(i, j int) bool { return t.m.Tails[i].Index < t.m.Tails[j].Index })
	}
	return nil
}

func (o *object) addTail(r relocation, data []byte) error {
	t := o.tailAt(r.offset)
	if t == nil || r.kind != relocAddress || (r.offset-t.start)%pointerSize != 0 {
		return o.failIn(mapsSection, "a map with initial values that are no programs of a PROG_ARRAY",
			"initialise .values of a PROG_ARRAY, and no other map")
	}
	i := (r.offset - t.start) / pointerSize
	if i >= uint64(t.m.MaxEntries) {
		return o.failAt(mapsSection, t.m.Name, fmt.Sprintf("a program at index %d of %d", i, t.m.MaxEntries), "raise max_entries")
	}
	p := o.programOf(r, data)
	if p == nil {
		return o.failAt(mapsSection, t.m.Name, fmt.Sprintf("index %d: %s is not a filter", i, printable(o.nameOf(r.symbol))),
			`put a function marked with SEC("seccomp/NAME"), not static`)
	}
	for _, known := range t.m.Tails {
		if known.Index == uint32(i) {
			return o.failAt(mapsSection, t.m.Name, fmt.Sprintf("two programs at index %d", i), damaged)
		}
	}
	if len(t.m.Tails) == MaxPrograms {
		return o.failAt(mapsSection, t.m.Name, fmt.Sprintf("more than %d programs", MaxPrograms), "split the object")
	}
	t.m.Tails = append(t.m.Tails, prog.Tail{Index: uint32(i), Program: p})
	return nil
}

func (o *object) tailAt(offset uint64) *tailRef {
	for i := range o.tails {
		if t := &o.tails[i]; t.start <= offset && offset < t.end {
			return t
		}
	}
	return nil
}

// programOf is the program whose address is stored: the symbol's, and what is
// in its place already, which tells functions of a section apart.
func (o *object) programOf(r relocation, data []byte) *prog.Program {
	c := o.code[r.symbol.Section]
	if c == nil || r.offset+pointerSize > uint64(len(data)) {
		return nil
	}
	at := r.symbol.Value + binary.LittleEndian.Uint64(data[r.offset:])
	if at%prog.Size != 0 || at/prog.Size >= uint64(len(c.insns)) {
		return nil
	}
	return o.entryOf[c.at(int(at/prog.Size))]
}
