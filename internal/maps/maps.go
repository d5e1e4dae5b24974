// Package maps gives eBPF maps the kernel's meaning in user space: an arena of
// bytes that programs address by offset, and the operations of bpf-helpers(7)
// with the kernel's error numbers. A map has no lock of its own: whoever owns
// the programs that share it evaluates one at a time.
package maps

import (
	"fmt"

	"portcullis/internal/prog"
)

// Errno is an error number of the kernel, positive; 0 is success.
type Errno int

// The error numbers that map operations return (errno(3)).
const (
	OK     Errno = 0
	ENOENT Errno = 2
	E2BIG  Errno = 7
	EAGAIN Errno = 11
	EFAULT Errno = 14
	EEXIST Errno = 17
	EINVAL Errno = 22
)

// Flags of Update, the kernel's BPF_ANY, BPF_NOEXIST, BPF_EXIST and BPF_F_LOCK.
const (
	Any     = 0
	NoExist = 1
	Exist   = 2
	Lock    = 4
)

// MaxBytes is the most memory that the keys and values of one map may come to
// need, in bytes. The kernel charges a map to its owner's memory cgroup; an
// unprivileged supervisor has nothing of the kind, so the limit is fixed.
const MaxBytes = 256 << 20

// Map is what a program may do to a map. Keys and values are of exactly the
// sizes the map's definition names.
type Map interface {
	// Spec is the definition that the map was made from.
	Spec() *prog.Map
	// Mem is the arena: every byte that programs may address through a
	// pointer to a value. An operation that adds an element may replace it
	// by a longer one; offsets stay valid.
	Mem() []byte
	// Lookup finds the value of a key: its offset into Mem.
	Lookup(key []byte) (off uint32, ok bool)
	// Update stores a value under a key.
	Update(key, value []byte, flags uint64) Errno
	// Delete removes a key.
	Delete(key []byte) Errno
}

// UnsupportedError says that a map's definition is sound but not served here.
type UnsupportedError struct {
	Map    string
	Type   prog.MapType
	Reason string
	Remedy string
}

// Error is one line.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("map %s (%s): %s; %s", e.Map, e.Type, e.Reason, e.Remedy)
}

// SpecError says that the kernel would refuse a map's definition too.
type SpecError struct {
	Map      string
	Type     prog.MapType
	Field    string
	Found    uint64
	Expected string
}

// Error is one line.
func (e *SpecError) Error() string {
	return fmt.Sprintf("map %s (%s): %s is %d: expected %s", e.Map, e.Type, e.Field, e.Found, e.Expected)
}

// New makes an empty map, or one that holds spec.Contents. It refuses with
// *SpecError what the kernel's map_alloc_check would refuse, and with
// *UnsupportedError a type or a size that is not served.
func New(spec *prog.Map) (Map, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	switch spec.Type {
	case prog.Array, prog.PercpuArray:
		return newArray(spec), nil
	case prog.Hash, prog.PercpuHash:
		return newHash(spec), nil
	case prog.LRUHash:
		return newLRU(spec), nil
	case prog.TaskStorage:
		return newStorage(spec), nil
	case prog.RingBuf:
		return newRing(spec), nil
	case prog.ProgArray:
		return &Programs{spec}, nil
	}
	return nil, &UnsupportedError{
		Map: spec.Name, Type: spec.Type, Reason: "not supported by the agent engine yet",
		Remedy: "use another type",
	}
}

// check applies the rules of the kernel's map_alloc_check for the type, and the
// limits of what is served here.
func check(spec *prog.Map) error {
	if spec.Flags&prog.FlagClone != 0 && spec.Type != prog.TaskStorage {
		return wrong(spec, "map_flags", spec.Flags, "no BPF_F_CLONE: only task storage is copied at fork")
	}
	rules := checkKeyed
	switch spec.Type {
	case prog.RingBuf:
		rules = checkRing
	case prog.ProgArray:
		rules = checkPrograms
	case prog.TaskStorage:
		rules = checkStorage
	case prog.Array, prog.PercpuArray:
		rules = checkArray
	}
	if err := rules(spec); err != nil {
		return err
	}
	if need := bytesNeeded(spec); need > MaxBytes {
		return &UnsupportedError{
			Map: spec.Name, Type: spec.Type,
			Reason: fmt.Sprintf("full, it needs %d bytes of keys and values, over the limit of %d", need, MaxBytes),
			Remedy: "lower max_entries or value_size",
		}
	}
	return nil
}

func wrong(spec *prog.Map, field string, found uint32, expected string) error {
	return &SpecError{Map: spec.Name, Type: spec.Type, Field: field, Found: uint64(found), Expected: expected}
}

// maxKey is MAX_BPF_STACK: a key has to fit the stack of a program.
const maxKey = 512

func checkKeyed(spec *prog.Map) error {
	switch {
	case spec.KeySize == 0 || spec.KeySize > maxKey:
		return wrong(spec, "key_size", spec.KeySize, fmt.Sprintf("1 to %d", maxKey))
	case spec.ValueSize == 0:
		return wrong(spec, "value_size", 0, "at least 1")
	case spec.MaxEntries == 0:
		return wrong(spec, "max_entries", 0, "at least 1")
	}
	return nil
}

func checkArray(spec *prog.Map) error {
	switch {
	case spec.KeySize != 4:
		return wrong(spec, "key_size", spec.KeySize, "4, the size of an index")
	case len(spec.Contents) > int(spec.ValueSize):
		return wrong(spec, "value_size", spec.ValueSize, fmt.Sprintf("at least the %d bytes of contents", len(spec.Contents)))
	}
	return checkKeyed(spec)
}

func checkStorage(spec *prog.Map) error {
	switch {
	case spec.KeySize != 4:
		return wrong(spec, "key_size", spec.KeySize, "4, the size of a pidfd")
	case spec.ValueSize == 0:
		return wrong(spec, "value_size", 0, "at least 1")
	case spec.MaxEntries != 0:
		return wrong(spec, "max_entries", spec.MaxEntries, "0: storage is bounded by the tasks there are")
	}
	return nil
}

func checkPrograms(spec *prog.Map) error {
	switch {
	case spec.KeySize != 4:
		return wrong(spec, "key_size", spec.KeySize, "4, the size of an index")
	case spec.ValueSize != 4:
		return wrong(spec, "value_size", spec.ValueSize, "4, the size of a descriptor")
	}
	return checkKeyed(spec)
}

// ringPage is the kernel's page size, of which a ring is a multiple.
const ringPage = 4096

func checkRing(spec *prog.Map) error {
	switch n := spec.MaxEntries; {
	case spec.KeySize != 0:
		return wrong(spec, "key_size", spec.KeySize, "0")
	case spec.ValueSize != 0:
		return wrong(spec, "value_size", spec.ValueSize, "0")
	case n < ringPage || n&(n-1) != 0:
		return wrong(spec, "max_entries", n, fmt.Sprintf("a power of two from %d on: the size in bytes", ringPage))
	}
	return nil
}

// bytesNeeded is what a full map takes; one element for storage.
func bytesNeeded(spec *prog.Map) uint64 {
	n := uint64(spec.MaxEntries)
	switch spec.Type {
	case prog.ProgArray:
		return 0
	case prog.TaskStorage:
		n = 1
	case prog.RingBuf:
		return 2 * n
	}
	return n * (uint64(spec.KeySize) + uint64(stride(spec)))
}

// stride is the distance of two values in the arena; the kernel aligns them to
// eight bytes as well.
func stride(spec *prog.Map) uint32 {
	if spec.ValueSize > MaxBytes {
		return MaxBytes + 8 // refused by check; kept from overflowing
	}
	return (spec.ValueSize + 7) &^ 7
}

// Space tells which of the two key spaces of task storage a key belongs to.
type Space uint8

// The key spaces of task storage.
const (
	Process Space = iota
	Thread
)

// Set holds the maps of the programs of one installation. Programs that refer
// to the same *prog.Map share the map.
type Set map[*prog.Map]Map

// NewSet makes the maps of specs; see Add.
func NewSet(specs []*prog.Map) (Set, error) {
	s := Set{}
	if err := s.Add(specs); err != nil {
		return nil, err
	}
	return s, nil
}

// Add makes a map for each of specs that has none yet.
func (s Set) Add(specs []*prog.Map) error {
	for _, spec := range specs {
		if s[spec] != nil {
			continue
		}
		m, err := New(spec)
		if err != nil {
			return err
		}
		s[spec] = m
	}
	return nil
}

// Forget frees the storage of a process or thread that is gone, in every map.
func (s Set) Forget(space Space, key uint64) {
	for _, m := range s {
		if st, ok := m.(*Storage); ok {
			st.Forget(space, key)
		}
	}
}

// Inherit gives the process child a copy of what maps with BPF_F_CLONE hold for
// parent. It is false where memory is exhausted: then child must not run, for it
// could do again what parent has used up. It must not be called while a program runs.
func (s Set) Inherit(parent, child uint64) bool {
	for _, m := range s {
		st, ok := m.(*Storage)
		if ok && st.spec.Flags&prog.FlagClone != 0 && !st.inherit(parent, child) {
			return false
		}
	}
	return true
}

// Rings are the ring buffers of the set, for the supervisor to drain.
func (s Set) Rings() []*Ring {
	var rings []*Ring
	for _, m := range s {
		if r, ok := m.(*Ring); ok {
			rings = append(rings, r)
		}
	}
	return rings
}
