package maps

import "portcullis/internal/prog"

// HashMap is BPF_MAP_TYPE_HASH, or the one slot of a PERCPU_HASH. Source:
// kernel/bpf/hashtab.c.
//
// An update of a key that exists writes a new element and drops the old one,
// as in the kernel: a pointer that a program looked up before goes on showing
// the old value. The spare slot plays the part of the kernel's extra elements.
type HashMap struct {
	spec  *prog.Map
	t     table
	spare uint32
	full  uint32 // slots in use by keys at most
	count uint32
}

func newHash(spec *prog.Map) *HashMap {
	h := &HashMap{spec: spec, full: spec.MaxEntries}
	h.t = newTable(spec.KeySize, stride(spec), spec.MaxEntries+1)
	h.spare, _ = h.t.take()
	return h
}

// Spec is the map's definition.
func (h *HashMap) Spec() *prog.Map { return h.spec }

// Mem is the arena.
func (h *HashMap) Mem() []byte { return h.t.vals }

// Len is the number of keys.
func (h *HashMap) Len() int { return int(h.count) }

// Lookup finds the value of key.
func (h *HashMap) Lookup(key []byte) (off uint32, ok bool) {
	slot, ok := h.t.find(key)
	return slot * h.t.stride, ok
}

func (h *HashMap) value(slot uint32) []byte {
	return h.t.vals[uint64(slot)*uint64(h.t.stride):][:h.spec.ValueSize]
}

// Update stores value under key: -E2BIG when the map is full, -EEXIST and
// -ENOENT as BPF_NOEXIST and BPF_EXIST say.
func (h *HashMap) Update(key, value []byte, flags uint64) Errno {
	if flags&^Lock > Exist || flags&Lock != 0 && !lockable(h.spec) {
		return EINVAL
	}
	at, found := h.t.place(key, h.t.hash(key))
	switch {
	case found && flags&^Lock == NoExist:
		return EEXIST
	case !found && flags&^Lock == Exist:
		return ENOENT
	case found:
		h.replace(at, key, value, flags)
		return OK
	}
	return h.insert(key, value)
}

// replace stores the value of a key that exists. Under BPF_F_LOCK the element
// stays where it is, and so it does in a PERCPU_HASH.
func (h *HashMap) replace(at uint32, key, value []byte, flags uint64) {
	slot := h.t.index[at].slot - 1
	if flags&Lock != 0 || h.spec.Type == prog.PercpuHash {
		copyValue(h.spec, h.value(slot), value)
		return
	}
	copyValue(h.spec, h.value(h.spare), value)
	copy(h.t.key(h.spare), key)
	h.t.index[at].slot = h.spare + 1
	h.spare = slot
}

func (h *HashMap) insert(key, value []byte) Errno {
	if h.count == h.full {
		return E2BIG
	}
	slot, ok := h.t.take()
	if !ok {
		return E2BIG
	}
	copyValue(h.spec, h.value(slot), value)
	h.t.bind(key, slot)
	h.count++
	return OK
}

// Delete removes key; -ENOENT if it is absent.
func (h *HashMap) Delete(key []byte) Errno {
	at, found := h.t.place(key, h.t.hash(key))
	if !found {
		return ENOENT
	}
	h.t.release(h.t.unbind(at))
	h.count--
	return OK
}
