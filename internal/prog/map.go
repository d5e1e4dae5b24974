package prog

import "sort"

// MapType is the kernel's enum bpf_map_type.
type MapType uint32

// The map types of the filter ABI, with the kernel's numbers.
const (
	Hash        MapType = 1
	Array       MapType = 2
	ProgArray   MapType = 3
	PercpuHash  MapType = 5
	PercpuArray MapType = 6
	LRUHash     MapType = 9
	RingBuf     MapType = 27
	TaskStorage MapType = 29
)

// String is the type's name without the kernel's prefix.
func (t MapType) String() string {
	switch t {
	case Hash:
		return "HASH"
	case Array:
		return "ARRAY"
	case ProgArray:
		return "PROG_ARRAY"
	case PercpuHash:
		return "PERCPU_HASH"
	case PercpuArray:
		return "PERCPU_ARRAY"
	case LRUHash:
		return "LRU_HASH"
	case RingBuf:
		return "RINGBUF"
	case TaskStorage:
		return "TASK_STORAGE"
	}
	return "unknown map type"
}

// Map flags, BPF_F_* of include/uapi/linux/bpf.h.
const (
	FlagNoPrealloc uint32 = 1 << 0
	FlagRdonlyProg uint32 = 1 << 7
	FlagWronlyProg uint32 = 1 << 8
	FlagClone      uint32 = 1 << 9
)

// Map describes a map: a libbpf map definition, or a section of globals, which
// is an ARRAY of one element.
type Map struct {
	Name       string
	Type       MapType
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32
	Flags      uint32
	// Contents is element 0 of a section of globals; nil for other maps.
	Contents []byte
	// Frozen marks .rodata: a constant to verifier and splitter.
	Frozen bool
	// SpinLock is the offset of a struct bpf_spin_lock in the value, or -1.
	SpinLock int
	// Vars are the variables of a section of globals.
	Vars []Var
	// Tails are the programs of a PROG_ARRAY, in ascending order of index. They
	// are of the same object, and never change.
	Tails []Tail
	// Record is the type of what a RINGBUF takes; nil if its author gave none.
	// It is for readers of records: neither verifier nor engine checks it.
	Record *Record
}

// Tail is a program that a tail call can go on in.
type Tail struct {
	Index   uint32
	Program *Program
}

// Tail is the program at an index of a PROG_ARRAY; nil where there is none.
func (m *Map) Tail(index uint32) *Program {
	i := sort.Search(len(m.Tails), func(i int) bool { return m.Tails[i].Index >= index })
	if i == len(m.Tails) || m.Tails[i].Index != index {
		return nil
	}
	return m.Tails[i].Program
}

// Record is the layout of the records of a ring buffer: a C struct.
type Record struct {
	// Name is the struct's, "" if it has none.
	Name string
	// Size is the struct's in bytes; records may be shorter or longer.
	Size int
	// Fields are its members that are no structs themselves, in the order of
	// their declaration; the members of a struct inside are named outer.inner.
	// Those of kind VarOther are Size bytes of no known form. An array at the
	// end with Count 0 is as long as the record.
	Fields []Var
}

// Var is a global variable, typed by the object's BTF.
type Var struct {
	Name   string
	Offset int
	// Size is that of one element in bytes: 1, 2, 4 or 8 for an integer, which the
	// words of a set of calls are.
	Size int
	// Kind says how a value is written.
	Kind VarKind
	// Count is the number of elements; 1 unless an array.
	Count int
	// Const tells whether the variable may be set: a const volatile in .rodata.
	Const bool
}

// CallSetBits is how many system-call numbers the set type of
// include/portcullis.h has room for, from 0 on.
const CallSetBits = 1024

// PathSize is the size in bytes of one path of portcullis_paths in
// include/portcullis.h.
const PathSize = 256

// VarKind is what sort of value a variable takes.
type VarKind uint8

// The kinds of variables that --set understands; others cannot be set.
const (
	VarOther VarKind = iota
	VarUnsigned
	VarSigned
	VarBool
	VarChar
	// VarCallSet is a set of system-call numbers, bit n of the array for call n.
	VarCallSet
	// VarTexts is a list of texts: Count arrays of Size bytes, each with a NUL at
	// its end. The first that is empty ends the list.
	VarTexts
	// VarPaths is VarTexts of absolute paths.
	VarPaths
	// VarEndpoints is a list of socket addresses: Count of EndpointSize bytes each.
	// The first of family 0 ends the list.
	VarEndpoints
)
