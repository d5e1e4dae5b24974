package maps

import (
	"encoding/binary"

	"portcullis/internal/prog"
)

// Array is BPF_MAP_TYPE_ARRAY, a section of globals, or the one slot of a
// PERCPU_ARRAY. Source: kernel/bpf/arraymap.c.
type Array struct {
	spec   *prog.Map
	stride uint32
	mem    []byte
}

// newArray leaves it to the operating system to back the arena by pages only
// where it is touched.
func newArray(spec *prog.Map) *Array {
	a := &Array{spec: spec, stride: stride(spec)}
	a.mem = make([]byte, uint64(a.stride)*uint64(spec.MaxEntries))
	copy(a.mem, spec.Contents)
	return a
}

// Spec is the map's definition.
func (a *Array) Spec() *prog.Map { return a.spec }

// Mem is the arena: element i at i times the value size rounded up to eight.
func (a *Array) Mem() []byte { return a.mem }

// Lookup finds element key, a 32-bit index.
func (a *Array) Lookup(key []byte) (off uint32, ok bool) {
	i := binary.LittleEndian.Uint32(key)
	if i >= a.spec.MaxEntries {
		return 0, false
	}
	return i * a.stride, true
}

// Update overwrites an element. Every element exists: BPF_NOEXIST is -EEXIST.
func (a *Array) Update(key, value []byte, flags uint64) Errno {
	off, ok := a.Lookup(key)
	switch {
	case flags&^Lock > Exist:
		return EINVAL
	case !ok:
		return E2BIG
	case flags&NoExist != 0:
		return EEXIST
	case flags&Lock != 0 && !lockable(a.spec):
		return EINVAL
	}
	copyValue(a.spec, a.mem[off:off+a.spec.ValueSize], value)
	return OK
}

// Delete is -EINVAL: elements of an array cannot be removed.
func (a *Array) Delete(key []byte) Errno { return EINVAL }
