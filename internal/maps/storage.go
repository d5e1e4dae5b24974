package maps

import (
	"encoding/binary"

	"portcullis/internal/prog"
)

// storageEntries bounds the values of one TASK_STORAGE map, which has no
// max_entries: the most tasks a kernel can have (PID_MAX_LIMIT).
const storageEntries = 4 << 20

// Storage is BPF_MAP_TYPE_TASK_STORAGE: a value for each process and one for
// each thread, in key spaces of their own. Source: kernel/bpf/bpf_local_storage.c.
type Storage struct {
	spec  *prog.Map
	t     table
	key   [9]byte
	limbo []uint32 // slots that were removed and that programs may still read
}

func newStorage(spec *prog.Map) *Storage {
	s := &Storage{spec: spec}
	limit := MaxBytes / (uint64(stride(spec)) + uint64(len(s.key)))
	if limit > storageEntries {
		limit = storageEntries
	}
	s.t = newTable(uint32(len(s.key)), stride(spec), uint32(limit))
	return s
}

// Spec is the map's definition.
func (s *Storage) Spec() *prog.Map { return s.spec }

// Mem is the arena.
func (s *Storage) Mem() []byte { return s.t.vals }

// Lookup finds nothing: task storage is reached through Get alone.
func (s *Storage) Lookup(key []byte) (off uint32, ok bool) { return 0, false }

// Update is -EINVAL: task storage is reached through Get alone.
func (s *Storage) Update(key, value []byte, flags uint64) Errno { return EINVAL }

// Delete is -EINVAL: task storage is reached through Remove alone.
func (s *Storage) Delete(key []byte) Errno { return EINVAL }

// name spells a key of a space in s.key, which saves an allocation.
func (s *Storage) name(space Space, key uint64) []byte {
	s.key[0] = byte(space)
	binary.LittleEndian.PutUint64(s.key[1:], key)
	return s.key[:]
}

// Get finds the value of a process or thread.
func (s *Storage) Get(space Space, key uint64) (off uint32, ok bool) {
	slot, ok := s.t.find(s.name(space, key))
	return slot * s.t.stride, ok
}

// Create finds the value of a process or thread, or makes it, with the
// contents init or, if that is nil, zeroes. False when memory is exhausted.
func (s *Storage) Create(space Space, key uint64, init []byte) (off uint32, ok bool) {
	if off, ok := s.Get(space, key); ok {
		return off, true
	}
	slot, ok := s.t.take()
	if !ok {
		return 0, false
	}
	off = slot * s.t.stride
	copyValue(s.spec, s.t.vals[off:off+s.spec.ValueSize], init)
	s.t.bind(s.name(space, key), slot)
	return off, true
}

// Remove drops the value of a process or thread; -ENOENT if there is none. Its
// memory is not used for another value before Settle, because the program that
// removes it may hold a pointer to it.
func (s *Storage) Remove(space Space, key uint64) Errno {
	name := s.name(space, key)
	at, found := s.t.place(name, s.t.hash(name))
	if !found {
		return ENOENT
	}
	s.limbo = append(s.limbo, s.t.unbind(at))
	return OK
}

// Settle makes memory of removed values available again. It must not be called
// while a program runs.
func (s *Storage) Settle() {
	for _, slot := range s.limbo {
		s.t.release(slot)
	}
	s.limbo = s.limbo[:0]
}

// Forget frees the value of a process or thread that is gone, if it had one.
// Its key must not be used again. It must not be called while a program runs.
func (s *Storage) Forget(space Space, key uint64) {
	s.Remove(space, key)
	s.Settle()
}

// inherit copies the value of a process, if it has one, to a new process.
func (s *Storage) inherit(parent, child uint64) bool {
	if _, ok := s.Get(Process, parent); !ok {
		return true
	}
	to, ok := s.Create(Process, child, nil)
	if !ok {
		return false
	}
	from, _ := s.Get(Process, parent) // Create may have moved it
	copyValue(s.spec, s.t.vals[to:to+s.spec.ValueSize], s.t.vals[from:from+s.spec.ValueSize])
	return true
}

// Len is the number of values.
func (s *Storage) Len() int { return int(s.t.fresh) - len(s.t.free) - len(s.limbo) }
