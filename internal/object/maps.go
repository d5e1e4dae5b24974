package object

import (
	"debug/elf"
	"fmt"
	"math"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

const mapsSection = ".maps"

// readMaps reads the map definitions of section .maps, in libbpf's BTF form.
func (o *object) readMaps() error {
	o.maps = map[elf.SectionIndex]map[uint64]*prog.Map{}
	if _, s := o.section("maps"); s != nil {
		return o.failIn("maps", "map definitions in the old form", `define maps in SEC(".maps") with __uint and __type`)
	}
	index, s := o.section(mapsSection)
	if s == nil {
		return nil
	}
	ds := o.types.datasec(mapsSection)
	if ds == nil {
		return o.failIn(mapsSection, "no type information for the map definitions", "compiled without BTF: add -g")
	}
	if len(ds.Vars) > MaxMaps {
		return o.failIn(mapsSection, fmt.Sprintf("%d maps: expected at most %d", len(ds.Vars), MaxMaps), "split the object")
	}
	o.maps[index] = map[uint64]*prog.Map{}
	for _, info := range ds.Vars {
		if err := o.readMap(index, info); err != nil {
			return err
		}
	}
	return nil
}

// readMap adds one definition under the offset its symbol has: BTF itself
// holds no offsets before an object is linked.
func (o *object) readMap(index elf.SectionIndex, info btf.VarSecinfo) error {
	v, ok := info.Type.(*btf.Var)
	if !ok {
		return nil
	}
	sym, ok := o.vars[varKey{index, v.Name}]
	if !ok {
		return o.failAt(mapsSection, v.Name, "has a type but no symbol", damaged)
	}
	if err := o.checkName(mapsSection, v.Name); err != nil {
		return err
	}
	m, err := o.defineMap(v)
	if err != nil {
		return err
	}
	o.maps[index][sym.Value] = m
	o.noteTails(m, v, sym)
	return nil
}

// defineMap interprets the struct behind a map variable.
func (o *object) defineMap(v *btf.Var) (*prog.Map, error) {
	def, ok := btf.UnderlyingType(v.Type).(*btf.Struct)
	if !ok {
		return nil, o.failAt(mapsSection, v.Name, "not a struct of __uint and __type members", "see include/portcullis.h")
	}
	m := &prog.Map{Name: v.Name, SpinLock: -1}
	for _, member := range def.Members {
		if err := o.setMember(m, member); err != nil {
			return nil, err
		}
	}
	switch {
	case m.Type == 0:
		return nil, o.failAt(mapsSection, v.Name, "has no type", "add __uint(type, BPF_MAP_TYPE_…)")
	case m.Type == prog.RingBuf:
		return m, o.setRecord(m, def)
	}
	return m, nil
}

// setMember interprets one member of a map definition.
func (o *object) setMember(m *prog.Map, member btf.Member) error {
	var ok bool
	switch member.Name {
	case "type":
		var t uint32
		t, ok = uintMember(member)
		m.Type = prog.MapType(t)
	case "key_size":
		m.KeySize, ok = uintMember(member)
	case "value_size":
		m.ValueSize, ok = uintMember(member)
	case "max_entries":
		m.MaxEntries, ok = uintMember(member)
	case "map_flags":
		m.Flags, ok = uintMember(member)
	case "key":
		m.KeySize, ok = typeMember(member)
	case "value":
		return o.setValue(m, member)
	case "values":
		if m.ValueSize == 0 { // as libbpf: what the kernel is given are descriptors
			m.ValueSize = 4
		}
		return nil
	default:
		return o.failAt(mapsSection, m.Name, fmt.Sprintf("has a member %q", member.Name),
			"known are type, key, value, key_size, value_size, max_entries and map_flags")
	}
	if !ok {
		return o.failAt(mapsSection, m.Name, fmt.Sprintf("member %q has the wrong form", member.Name),
			"write it with __uint(name, number) or __type(name, type)")
	}
	return nil
}

// setValue interprets the value type of a map and finds its lock.
func (o *object) setValue(m *prog.Map, member btf.Member) error {
	size, ok := typeMember(member)
	if !ok {
		return o.failAt(mapsSection, m.Name, `member "value" has the wrong form`, "write it with __type(value, type)")
	}
	m.ValueSize = size
	value := btf.UnderlyingType(member.Type).(*btf.Pointer).Target
	lock, n := lockOf(value)
	if n > 1 {
		return o.failAt(mapsSection, m.Name, fmt.Sprintf("value has %d locks", n), "one bpf_spin_lock at most")
	}
	m.SpinLock = lock
	return nil
}

// lockOf is the offset of the struct bpf_spin_lock in a value, or -1, and how
// many there are. Like the kernel it looks at the members of the value itself.
func lockOf(value btf.Type) (offset, count int) {
	offset = -1
	s, ok := btf.UnderlyingType(value).(*btf.Struct)
	if !ok {
		return offset, 0
	}
	for _, member := range s.Members {
		if isLock(member.Type) && member.Offset%8 == 0 {
			offset = int(member.Offset / 8)
			count++
		}
	}
	return offset, count
}

func isLock(t btf.Type) bool {
	s, ok := btf.UnderlyingType(t).(*btf.Struct)
	return ok && s.Name == "bpf_spin_lock" && s.Size == 4
}

// uintMember reads __uint(name, n), which is declared int (*name)[n].
func uintMember(m btf.Member) (uint32, bool) {
	p, ok := btf.UnderlyingType(m.Type).(*btf.Pointer)
	if !ok {
		return 0, false
	}
	a, ok := btf.UnderlyingType(p.Target).(*btf.Array)
	if !ok {
		return 0, false
	}
	return a.Nelems, true
}

// typeMember reads the size of __type(name, t), which is declared t *name.
func typeMember(m btf.Member) (uint32, bool) {
	p, ok := btf.UnderlyingType(m.Type).(*btf.Pointer)
	if !ok {
		return 0, false
	}
	return sizeOf(p.Target)
}

// maxOffset bounds offsets into globals, which an instruction holds in 32 bits.
const maxOffset = math.MaxInt32
