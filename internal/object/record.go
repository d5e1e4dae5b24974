package object

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// maxFields is how many fields of a record are read, and maxMembers how many
// members of its structs are looked at for them: those of a hostile object may
// share their structs, so that there are more than anybody can count.
const (
	maxFields  = 256
	maxMembers = 4096
)

// setRecord takes __type(value, struct …) of a ring buffer for the type of its
// records. The kernel wants a ring buffer's value_size to be 0, and libbpf
// knows no such convention: the type is for who reads the records.
func (o *object) setRecord(m *prog.Map, def *btf.Struct) error {
	for _, member := range def.Members {
		if member.Name != "value" {
			continue
		}
		p, ok := btf.UnderlyingType(member.Type).(*btf.Pointer)
		if !ok {
			continue // setMember refused it
		}
		s, ok := btf.UnderlyingType(p.Target).(*btf.Struct)
		if !ok {
			return o.failAt(mapsSection, m.Name, "the records of a ring buffer: expected a struct",
				"write __type(value, struct …) or leave it out")
		}
		l := &layout{object: o, m: m, record: &prog.Record{Name: s.Name, Size: int(m.ValueSize)}}
		if err := l.add("", 0, s.Members, 0); err != nil {
			return err
		}
		m.Record, m.ValueSize, m.SpinLock = l.record, 0, -1
	}
	return nil
}

// layout lists the fields of a record.
type layout struct {
	*object
	m      *prog.Map
	record *prog.Record
	seen   int // members, of all structs
}

// add lists members, which are at base. Bit-fields are left out.
func (l *layout) add(prefix string, base int, members []btf.Member, depth int) error {
	for _, member := range members {
		if l.seen++; l.seen > maxMembers {
			return l.failAt(mapsSection, l.m.Name, fmt.Sprintf("records of more than %d members", maxMembers), "use arrays")
		}
		if member.BitfieldSize != 0 {
			continue
		}
		name, at := prefix+member.Name, base+int(member.Offset.Bytes())
		if inner := membersOf(member.Type); inner != nil && depth < maxDepth {
			if member.Name != "" {
				name += "."
			}
			if err := l.add(name, at, inner, depth+1); err != nil {
				return err
			}
			continue
		}
		if err := l.field(name, at, member.Type); err != nil {
			return err
		}
	}
	return nil
}

func membersOf(t btf.Type) []btf.Member {
	switch v := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return v.Members
	case *btf.Union:
		return v.Members
	}
	return nil
}

func (l *layout) field(name string, at int, t btf.Type) error {
	if err := l.checkName(mapsSection, name); err != nil {
		return err
	}
	if len(l.record.Fields) == maxFields {
		return l.failAt(mapsSection, l.m.Name, fmt.Sprintf("records of more than %d fields", maxFields), "use arrays")
	}
	size, ok := sizeOf(t)
	if !ok || at < 0 || at > l.record.Size || int(size) > l.record.Size-at {
		return l.failAt(mapsSection, l.m.Name, fmt.Sprintf("field %s lies outside its record", name), damaged)
	}
	v := shapeOf(t)
	if v.Kind == prog.VarOther || v.Kind >= prog.VarCallSet || v.Size*v.Count != int(size) {
		v = prog.Var{Kind: prog.VarOther, Size: int(size), Count: 1}
	}
	v.Name, v.Offset = name, at
	l.record.Fields = append(l.record.Fields, v)
	return nil
}
