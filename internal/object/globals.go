package object

import (
	"debug/elf"
	"fmt"
	"sort"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// readGlobals turns each section of variables into an array of one element.
func (o *object) readGlobals() error {
	o.globals = map[elf.SectionIndex]*prog.Map{}
	left := uint64(MaxGlobals)
	for i, s := range o.sections {
		if !isGlobals(s) {
			continue
		}
		if err := o.checkName(s.name, s.name); err != nil {
			return err
		}
		if s.size > left {
			return o.failIn(s.name, fmt.Sprintf("%d bytes of variables: expected at most %d in all", s.size, MaxGlobals),
				"keep large state in a map")
		}
		left -= s.size
		m, err := o.globalsOf(elf.SectionIndex(i), s)
		if err != nil {
			return err
		}
		o.globals[elf.SectionIndex(i)] = m
	}
	return nil
}

// isGlobals tells whether a section holds variables: .rodata, .data, .bss, and
// what a compiler derives from them, such as .rodata.str1.1.
func isGlobals(s *section) bool {
	if s.size == 0 || s.flags&elf.SHF_ALLOC == 0 || s.kind != elf.SHT_PROGBITS && s.kind != elf.SHT_NOBITS {
		return false
	}
	for _, base := range []string{".rodata", ".data", ".bss"} {
		if s.name == base || strings.HasPrefix(s.name, base+".") {
			return true
		}
	}
	return false
}

// globalsOf reads one section of variables.
func (o *object) globalsOf(i elf.SectionIndex, s *section) (*prog.Map, error) {
	m := &prog.Map{
		Name: s.name, Type: prog.Array, KeySize: 4, ValueSize: uint32(s.size), MaxEntries: 1,
		SpinLock: -1, Contents: make([]byte, s.size),
		Frozen: strings.HasPrefix(s.name, ".rodata"),
	}
	if m.Frozen {
		m.Flags = prog.FlagRdonlyProg
	}
	if s.kind == elf.SHT_PROGBITS {
		data, err := o.contents(s)
		if err != nil {
			return nil, err
		}
		copy(m.Contents, data)
	}
	if err := o.refuseRelocated(i, s); err != nil {
		return nil, err
	}
	return m, o.addVars(i, m)
}

// refuseRelocated refuses variables that hold addresses: nothing in a filter
// has an address before it runs.
func (o *object) refuseRelocated(i elf.SectionIndex, s *section) error {
	rels, err := o.relocations(i)
	if err != nil {
		return err
	}
	if len(rels) > 0 {
		return o.failAt(s.name, o.nameOf(rels[0].symbol), "its address is stored in a variable",
			"compute it where it is used; compile with -fno-jump-tables")
	}
	return nil
}

// addVars types the variables of a section by its BTF. Sections of string
// literals have none.
func (o *object) addVars(i elf.SectionIndex, m *prog.Map) error {
	ds := o.types.datasec(m.Name)
	if ds == nil {
		if strings.Count(m.Name, ".") == 1 && o.types == nil {
			return o.failIn(m.Name, "no type information for the variables", "compiled without BTF: add -g")
		}
		return nil
	}
	for _, info := range ds.Vars {
		if err := o.addVar(i, m, info); err != nil {
			return err
		}
	}
	sort.Slice(m.Vars, func(a, b int) bool { return m.Vars[a].Offset < m.Vars[b].Offset })
	return nil
}

func (o *object) addVar(i elf.SectionIndex, m *prog.Map, info btf.VarSecinfo) error {
	v, ok := info.Type.(*btf.Var)
	if !ok {
		return nil
	}
	if err := o.checkName(m.Name, v.Name); err != nil {
		return err
	}
	sym, ok := o.vars[varKey{i, v.Name}]
	if !ok {
		return nil // optimised away
	}
	if sym.Value > maxOffset || sym.Size > maxOffset || sym.Value+sym.Size > uint64(m.ValueSize) {
		return o.failAt(m.Name, v.Name, "lies outside its section", damaged)
	}
	if isLock(v.Type) {
		if m.SpinLock >= 0 {
			return o.failAt(m.Name, v.Name, "a second lock in one section", "keep locks in map values")
		}
		m.SpinLock = int(sym.Value)
	}
	shape := shapeOf(v.Type)
	// The compiler may split a variable or narrow it and leave its type as it
	// was: such a variable cannot be set as a whole.
	if size, ok := sizeOf(v.Type); !ok || uint64(size) != sym.Size || shape.Size*shape.Count != int(size) {
		shape = prog.Var{Kind: prog.VarOther, Size: int(sym.Size), Count: 1}
	}
	shape.Name, shape.Offset, shape.Const = v.Name, int(sym.Value), m.Frozen && isVolatile(v.Type)
	m.Vars = append(m.Vars, shape)
	return nil
}

// maxDepth bounds walks over types, which a hostile object may make cyclic.
const maxDepth = 32

// isVolatile tells whether a variable, or the elements of an array, are volatile.
func isVolatile(t btf.Type) bool {
	for i := 0; i < maxDepth; i++ {
		switch v := t.(type) {
		case *btf.Volatile:
			return true
		case *btf.Const:
			t = v.Type
		case *btf.Typedef:
			t = v.Type
		case *btf.Array:
			t = v.Type
		default:
			return false
		}
	}
	return false
}

// named are the types of include/portcullis.h that say how a value is written.
func named(name string) (prog.VarKind, bool) {
	switch name {
	case "portcullis_callset":
		return prog.VarCallSet, true
	case "portcullis_paths":
		return prog.VarPaths, true
	case "portcullis_endpoints":
		return prog.VarEndpoints, true
	}
	return prog.VarOther, false
}

// namedKind is the kind of a variable that is declared with one of those types.
func namedKind(t btf.Type) (prog.VarKind, bool) {
	for i := 0; i < maxDepth; i++ {
		switch v := t.(type) {
		case *btf.Volatile:
			t = v.Type
		case *btf.Const:
			t = v.Type
		case *btf.Typedef:
			if kind, ok := named(v.Name); ok {
				return kind, true
			}
			t = v.Type
		default:
			return prog.VarOther, false
		}
	}
	return prog.VarOther, false
}

// elementSize is how many bytes an element of such a kind has.
func elementSize(kind prog.VarKind) int {
	switch kind {
	case prog.VarPaths:
		return prog.PathSize
	case prog.VarEndpoints:
		return prog.EndpointSize
	}
	return 8
}

// shapeOf is the kind, element size and count of a variable's type.
func shapeOf(t btf.Type) prog.Var {
	if kind, ok := namedKind(t); ok {
		size := elementSize(kind)
		if n, ok := sizeOf(t); ok && int(n)%size == 0 {
			return prog.Var{Kind: kind, Size: size, Count: int(n) / size}
		}
	}
	count := 1
	if a, ok := btf.UnderlyingType(t).(*btf.Array); ok {
		count, t = int(a.Nelems), a.Type
		if v, ok := textsOf(count, t); ok {
			return v
		}
	}
	kind, size := kindOf(t)
	return prog.Var{Kind: kind, Size: size, Count: count}
}

// textsOf is the shape of an array of arrays of char.
func textsOf(count int, t btf.Type) (prog.Var, bool) {
	inner, ok := btf.UnderlyingType(t).(*btf.Array)
	if !ok || inner.Nelems < 2 {
		return prog.Var{}, false
	}
	kind, _ := kindOf(inner.Type)
	return prog.Var{Kind: prog.VarTexts, Size: int(inner.Nelems), Count: count}, kind == prog.VarChar
}

// kindOf is how one element is written.
func kindOf(t btf.Type) (prog.VarKind, int) {
	switch v := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		return intKind(v), int(v.Size)
	case *btf.Enum:
		if v.Signed {
			return prog.VarSigned, int(v.Size)
		}
		return prog.VarUnsigned, int(v.Size)
	}
	return prog.VarOther, 0
}

func intKind(v *btf.Int) prog.VarKind {
	switch {
	case v.Size != 1 && v.Size != 2 && v.Size != 4 && v.Size != 8:
		return prog.VarOther
	case v.Encoding == btf.Bool:
		return prog.VarBool
	case v.Name == "char":
		return prog.VarChar
	case v.Encoding == btf.Signed:
		return prog.VarSigned
	}
	return prog.VarUnsigned
}
