package object

import (
	"fmt"
	"math"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// typeTable makes types, each once.
type typeTable struct {
	made map[string]btf.Type
	defs map[*prog.Map]*btf.Struct
}

// once is the type of that key, which make makes the first time.
func (t *typeTable) once(key string, make func() btf.Type) btf.Type {
	if t.made == nil {
		t.made = map[string]btf.Type{}
	}
	if t.made[key] == nil {
		t.made[key] = make()
	}
	return t.made[key]
}

// integer is C's integer type of a kind and size; nil if there is none.
func (t *typeTable) integer(kind prog.VarKind, size int) btf.Type {
	names, encoding := map[int]string{1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}, btf.Unsigned
	switch kind {
	case prog.VarSigned:
		names, encoding = map[int]string{1: "signed char", 2: "short", 4: "int", 8: "long long"}, btf.Signed
	case prog.VarBool:
		names, encoding = map[int]string{1: "_Bool", 2: "_Bool", 4: "_Bool", 8: "_Bool"}, btf.Bool
	case prog.VarChar:
		names, encoding = map[int]string{1: "char", 2: "char", 4: "char", 8: "char"}, btf.Signed
	case prog.VarOther:
		names = map[int]string{16: "unsigned __int128"}
	}
	if names[size] == "" {
		return nil
	}
	return t.once(fmt.Sprintf("%s %d", names[size], size), func() btf.Type {
		return &btf.Int{Name: names[size], Size: uint32(size), Encoding: encoding}
	})
}

func (t *typeTable) u32() btf.Type { return t.integer(prog.VarUnsigned, 4) }

func (t *typeTable) array(of btf.Type, n int) btf.Type {
	return t.once(fmt.Sprintf("%p[%d]", of, n), func() btf.Type {
		return &btf.Array{Index: t.u32(), Type: of, Nelems: uint32(n)}
	})
}

func (t *typeTable) pointer(to btf.Type) btf.Type {
	return t.once(fmt.Sprintf("%p*", to), func() btf.Type { return &btf.Pointer{Target: to} })
}

// structure is a struct of members that follow one another without padding.
func (t *typeTable) structure(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name}
	for _, m := range members {
		m.Offset = btf.Bits(8 * s.Size)
		size, _ := sizeOf(m.Type)
		s.Size += size
		s.Members = append(s.Members, m)
	}
	return s
}

// qualifier says what the variables of a section are.
type qualifier uint8

const (
	plainVar qualifier = iota
	// constVar is a constant of the compiler's, settableVar a const volatile.
	constVar
	settableVar
)

func (t *typeTable) qualified(of btf.Type, q qualifier) btf.Type {
	if q == plainVar {
		return of
	}
	return t.once(fmt.Sprintf("%p %d", of, q), func() btf.Type {
		if q == settableVar {
			of = &btf.Volatile{Type: of}
		}
		return &btf.Const{Type: of}
	})
}

// lock is struct bpf_spin_lock.
func (t *typeTable) lock() btf.Type {
	return t.once("lock", func() btf.Type { return t.structure("bpf_spin_lock", btf.Member{Name: "val", Type: t.u32()}) })
}

// opaque is n bytes of which nothing is known: no integers, because they could be
// set, and no struct, whose members would be fields of a record.
func (t *typeTable) opaque(n int, q qualifier) btf.Type {
	b := t.once("byte", func() btf.Type {
		return t.structure("portcullis_byte", btf.Member{Name: "byte", Type: t.integer(prog.VarUnsigned, 1)})
	})
	return t.array(t.qualified(b, q), n)
}

// shaped is a type of which shapeOf is v; nil if there is none.
func (t *typeTable) shaped(v prog.Var, q qualifier) btf.Type {
	switch v.Kind {
	case prog.VarOther:
		if wide := t.integer(v.Kind, v.Size); wide != nil && v.Count != 1 {
			return t.array(t.qualified(wide, q), v.Count)
		}
		return t.opaque(v.Size*v.Count, q)
	case prog.VarCallSet, prog.VarPaths, prog.VarEndpoints:
		return t.list(v, q)
	case prog.VarTexts:
		if v.Size < 2 {
			return nil
		}
		return t.array(t.array(t.qualified(t.integer(prog.VarChar, 1), q), v.Size), v.Count)
	case prog.VarUnsigned, prog.VarSigned, prog.VarBool, prog.VarChar:
	default:
		return nil
	}
	element := t.integer(v.Kind, v.Size)
	if element == nil {
		return nil
	}
	element = t.qualified(element, q)
	if v.Count == 1 {
		return element
	}
	return t.array(element, v.Count)
}

// list is a type of include/portcullis.h, for as many elements as v has.
func (t *typeTable) list(v prog.Var, q qualifier) btf.Type {
	if v.Size != elementSize(v.Kind) {
		return nil
	}
	name, member, element := "portcullis_callset", "bits", t.integer(prog.VarUnsigned, v.Size)
	switch v.Kind {
	case prog.VarPaths:
		name, member, element = "portcullis_paths", "path", t.array(t.integer(prog.VarChar, 1), v.Size)
	case prog.VarEndpoints:
		name, member, element = "portcullis_endpoints", "endpoint", t.endpoint()
	}
	list := t.once(fmt.Sprintf("%s %d", name, v.Count), func() btf.Type {
		return &btf.Typedef{Name: name, Type: t.structure("", btf.Member{Name: member, Type: t.array(element, v.Count)})}
	})
	return t.qualified(list, q)
}

// endpoint is an element of portcullis_endpoints.
func (t *typeTable) endpoint() btf.Type {
	return t.once("endpoint", func() btf.Type {
		half, addr := t.integer(prog.VarUnsigned, 2), t.array(t.integer(prog.VarUnsigned, 1), prog.EndpointSize-8)
		return t.structure("", btf.Member{Name: "family", Type: half}, btf.Member{Name: "bits", Type: half},
			btf.Member{Name: "low", Type: half}, btf.Member{Name: "high", Type: half}, btf.Member{Name: "addr", Type: addr})
	})
}

// variable is the type of a variable of m.
func (t *typeTable) variable(m *prog.Map, v prog.Var) (btf.Type, error) {
	q := plainVar
	switch {
	case isLockVar(m, v):
		return t.lock(), nil
	case v.Const:
		q = settableVar
	case m.Frozen:
		q = constVar
	}
	typ := t.shaped(v, q)
	if typ == nil {
		return nil, unwritable(v.Name, fmt.Sprintf("a variable of kind %d with elements of %d bytes, which C has no type for", v.Kind, v.Size),
			"check the program")
	}
	return typ, nil
}

// sized is some type of n bytes.
func (t *typeTable) sized(n uint32) btf.Type {
	if i := t.integer(prog.VarUnsigned, int(n)); i != nil {
		return i
	}
	return t.array(t.integer(prog.VarUnsigned, 1), int(n))
}

// definition is the struct that defines a map as libbpf reads it.
func (t *typeTable) definition(m *prog.Map) (*btf.Struct, error) {
	if def := t.defs[m]; def != nil {
		return def, nil
	}
	value, err := t.value(m)
	if err != nil {
		return nil, err
	}
	def := t.structure("", append(t.numbers(m), value...)...)
	if len(m.Tails) > 0 {
		def.Members = append(def.Members, btf.Member{
			Name: "values", Offset: btf.Bits(8 * def.Size), Type: t.array(t.pointer(t.filter()), 0),
		})
	}
	if t.defs == nil {
		t.defs = map[*prog.Map]*btf.Struct{}
	}
	t.defs[m] = def
	return def, nil
}

// numbers are the members of a definition in front of its value.
func (t *typeTable) numbers(m *prog.Map) []btf.Member {
	members := []btf.Member{t.number("type", uint32(m.Type))}
	if m.MaxEntries != 0 {
		members = append(members, t.number("max_entries", m.MaxEntries))
	}
	if m.Flags != 0 {
		members = append(members, t.number("map_flags", m.Flags))
	}
	if m.KeySize != 0 {
		members = append(members, t.extent("key", m.KeySize))
	}
	return members
}

// number is __uint(name, n): a pointer to an array of n elements.
func (t *typeTable) number(name string, n uint32) btf.Member {
	element := t.integer(prog.VarSigned, 4)
	if n > math.MaxUint32/4 { // the kernel refuses types of 4 GiB
		element = t.integer(prog.VarUnsigned, 1)
	}
	return btf.Member{Name: name, Type: t.pointer(t.array(element, int(n)))}
}

// extent is __type(name, …) for a type of n bytes, and __uint(name_size, n) where no
// type is that large.
func (t *typeTable) extent(name string, n uint32) btf.Member {
	if n > 1<<30 {
		return t.number(name+"_size", n)
	}
	return btf.Member{Name: name, Type: t.pointer(t.sized(n))}
}

// value is the member of a definition that says what its values are.
func (t *typeTable) value(m *prog.Map) ([]btf.Member, error) {
	switch {
	case m.Record != nil:
		record, err := t.record(m)
		return []btf.Member{{Name: "value", Type: t.pointer(record)}}, err
	case m.SpinLock >= 0:
		value := t.locked(m)
		if value == nil {
			return nil, unwritable(m.Name, fmt.Sprintf("a lock at %d of %d bytes", m.SpinLock, m.ValueSize), "check the program")
		}
		return []btf.Member{{Name: "value", Type: t.pointer(value)}}, nil
	case m.ValueSize == 0:
		return nil, nil
	}
	return []btf.Member{t.extent("value", m.ValueSize)}, nil
}

// locked is a value with a lock in it; nil if it has no room for one.
func (t *typeTable) locked(m *prog.Map) btf.Type {
	after := int64(m.ValueSize) - int64(m.SpinLock) - lockSize
	if after < 0 || m.ValueSize > 1<<30 {
		return nil
	}
	var members []btf.Member
	if m.SpinLock > 0 {
		members = append(members, btf.Member{Name: "before", Type: t.sized(uint32(m.SpinLock))})
	}
	members = append(members, btf.Member{Name: "lock", Type: t.lock()})
	if after > 0 {
		members = append(members, btf.Member{Name: "after", Type: t.sized(uint32(after))})
	}
	return t.structure("", members...)
}

// filter is the type of a program.
func (t *typeTable) filter() btf.Type {
	return t.once("filter", func() btf.Type {
		number, word := t.integer(prog.VarSigned, 4), t.integer(prog.VarUnsigned, 8)
		context := t.structure("seccomp_data", btf.Member{Name: "nr", Type: number}, btf.Member{Name: "arch", Type: t.u32()},
			btf.Member{Name: "instruction_pointer", Type: word}, btf.Member{Name: "args", Type: t.array(word, 6)})
		return &btf.FuncProto{
			Return: number, Params: []btf.FuncParam{{Name: "ctx", Type: t.pointer(&btf.Const{Type: context})}},
		}
	})
}

// function is the type of a function of .text: what it takes and returns is not known,
// which C writes as int f().
func (t *typeTable) function() btf.Type {
	return t.once("function", func() btf.Type {
		return &btf.FuncProto{Return: t.integer(prog.VarSigned, 4), Params: []btf.FuncParam{{Type: &btf.Void{}}}}
	})
}

// typeName makes a name that the kernel takes of that of a function.
func typeName(name string) string {
	if isIdentifier(name) {
		return name
	}
	return "_" + strings.Map(func(r rune) rune {
		if isIdentifier("_" + string(r)) {
			return r
		}
		return '_'
	}, name[:min(len(name), maxSymbol-1)])
}
