package object

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// record is the struct whose fields, as setRecord lists them, are those of a ring
// buffer's records.
func (t *typeTable) record(m *prog.Map) (btf.Type, error) {
	r := m.Record
	if r.Size < 0 || r.Size > 1<<30 || r.Name != "" && !isIdentifier(r.Name) {
		return nil, unwritable(m.Name, fmt.Sprintf("records of %d bytes named %s: expected a struct", r.Size, printable(r.Name)), "check the program")
	}
	if len(r.Fields) > maxFields {
		return nil, unwritable(m.Name, fmt.Sprintf("records of more than %d fields", maxFields), "use arrays")
	}
	for _, f := range r.Fields {
		if err := t.checkField(m, f); err != nil {
			return nil, err
		}
	}
	return &btf.Struct{Name: r.Name, Size: uint32(r.Size), Members: t.alternatives(r.Fields, uint32(r.Size))}, nil
}

func (t *typeTable) checkField(m *prog.Map, f prog.Var) error {
	names := strings.Split(f.Name, ".")
	for _, n := range names {
		if !isIdentifier(n) || len(names) > maxDepth {
			return unwritable(m.Name, fmt.Sprintf("a field %s: expected names and dots between them", printable(f.Name)), "rename it")
		}
	}
	size := t.fieldSize(f)
	if f.Offset < 0 || size < 0 || f.Offset > m.Record.Size || size > m.Record.Size-f.Offset {
		return unwritable(m.Name, fmt.Sprintf("field %s lies outside its record, or is of no known form", f.Name), "check the program")
	}
	return nil
}

// fieldSize is how many bytes a field has, -1 if it cannot be one.
func (t *typeTable) fieldSize(f prog.Var) int {
	const most = 1 << 30
	if f.Kind > prog.VarTexts || f.Kind == prog.VarCallSet || f.Size < 0 || f.Count < 0 || f.Size > most || f.Count > most {
		return -1
	}
	if f.Kind == prog.VarOther && f.Count != 1 || t.shaped(f, plainVar) == nil {
		return -1
	}
	return f.Size * f.Count
}

// alternatives are the members that list fields in their order. Fields that begin
// before the end of one in front of them are of a union, whose every alternative is an
// unnamed struct.
func (t *typeTable) alternatives(fields []prog.Var, size uint32) []btf.Member {
	runs := apart(fields)
	switch len(runs) {
	case 0:
		return nil
	case 1:
		return t.members(runs[0], 0)
	}
	union := &btf.Union{Size: size}
	for _, run := range runs {
		union.Members = append(union.Members, btf.Member{Type: &btf.Struct{Size: size, Members: t.members(run, 0)}})
	}
	return []btf.Member{{Type: union}}
}

// apart cuts fields into runs in which none begins before the end of the one in front.
func apart(fields []prog.Var) (runs [][]prog.Var) {
	end := 0
	for _, f := range fields {
		if f.Offset < end || runs == nil {
			runs = append(runs, nil)
		}
		last := len(runs) - 1
		runs[last] = append(runs[last], f)
		end = f.Offset + f.Size*f.Count
	}
	return runs
}

// members makes members of fields that do not overlap: neighbours that are named
// outer.inner become a struct.
func (t *typeTable) members(fields []prog.Var, base int) []btf.Member {
	var all []btf.Member
	for len(fields) > 0 {
		outer, _, nested := strings.Cut(fields[0].Name, ".")
		at := btf.Bits(8 * (fields[0].Offset - base))
		if !nested {
			all = append(all, btf.Member{Name: outer, Type: t.shaped(fields[0], plainVar), Offset: at})
			fields = fields[1:]
			continue
		}
		inner, rest := cutGroup(fields, outer+".")
		last := inner[len(inner)-1]
		all = append(all, btf.Member{Name: outer, Offset: at, Type: &btf.Struct{
			Size:    uint32(last.Offset + last.Size*last.Count - inner[0].Offset),
			Members: t.members(inner, inner[0].Offset),
		}})
		fields = rest
	}
	return all
}

// cutGroup splits off the fields at the begin that have a prefix, which they lose.
func cutGroup(fields []prog.Var, prefix string) (group, rest []prog.Var) {
	for i, f := range fields {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return group, fields[i:]
		}
		f.Name = name
		group = append(group, f)
	}
	return group, nil
}
