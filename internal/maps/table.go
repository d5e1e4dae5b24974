package maps

import "hash/maphash"

// table places keys in numbered slots, each with a value in an arena. It grows
// by doubling up to a limit and never shrinks, so that a map whose population
// is stable allocates nothing.
//
// The index is open addressing with linear probing over cells that repeat the
// hash, so that a probe rarely leaves its cache line. Hashes are seeded per
// table: the caller of a system call often chooses the keys, and must not be
// able to choose which of them collide.
type table struct {
	seed   maphash.Seed
	index  []cell // a power of two, at least twice the slots
	keys   []byte // outside the arena: no program can reach them
	vals   []byte // the arena
	free   []uint32
	keyLen uint32
	stride uint32
	fresh  uint32 // slots from here on were never used
	limit  uint32 // most slots there may be
}

// cell is one place of the index; slot is the slot's number plus one, or 0.
type cell struct{ hash, slot uint32 }

const firstSlots = 16

func newTable(keyLen, stride, limit uint32) table {
	return table{seed: maphash.MakeSeed(), index: make([]cell, 2), keyLen: keyLen, stride: stride, limit: limit}
}

func (t *table) hash(key []byte) uint32 { return uint32(maphash.Bytes(t.seed, key)) }

func (t *table) key(slot uint32) []byte {
	return t.keys[uint64(slot)*uint64(t.keyLen):][:t.keyLen]
}

// place finds the index place that holds key; the first empty one if none does.
func (t *table) place(key []byte, h uint32) (at uint32, found bool) {
	mask := uint32(len(t.index) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		c := t.index[i]
		if c.slot == 0 {
			return i, false
		}
		if c.hash == h && string(t.key(c.slot-1)) == string(key) {
			return i, true
		}
	}
}

// find is the slot of key.
func (t *table) find(key []byte) (slot uint32, ok bool) {
	at, ok := t.place(key, t.hash(key))
	if !ok {
		return 0, false
	}
	return t.index[at].slot - 1, true
}

// take reserves a slot that no key names; false when the limit is reached.
// The one released last comes first, as from the kernel's free list.
func (t *table) take() (slot uint32, ok bool) {
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
		return slot, true
	}
	if t.fresh == t.limit {
		return 0, false
	}
	if uint64(t.fresh)*uint64(t.stride) == uint64(len(t.vals)) {
		t.grow()
	}
	t.fresh++
	return t.fresh - 1, true
}

// grow doubles the slots and rebuilds the index. The free list is given room
// for every slot, so that release never allocates.
func (t *table) grow() {
	n := uint64(2 * t.fresh)
	if n < firstSlots {
		n = firstSlots
	}
	if n > uint64(t.limit) {
		n = uint64(t.limit)
	}
	t.keys = append(make([]byte, 0, n*uint64(t.keyLen)), t.keys...)[:n*uint64(t.keyLen)]
	t.vals = append(make([]byte, 0, n*uint64(t.stride)), t.vals...)[:n*uint64(t.stride)]
	t.free = append(make([]uint32, 0, n), t.free...)
	old := t.index
	size := 2
	for uint64(size) < 2*n {
		size *= 2
	}
	t.index = make([]cell, size)
	for _, c := range old {
		if c.slot != 0 {
			t.put(c)
		}
	}
}

// put enters a cell whose key is not in the index.
func (t *table) put(c cell) {
	mask := uint32(len(t.index) - 1)
	i := c.hash & mask
	for t.index[i].slot != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = c
}

// bind names a reserved slot by a key that is not in the table.
func (t *table) bind(key []byte, slot uint32) {
	copy(t.key(slot), key)
	t.put(cell{t.hash(key), slot + 1})
}

// release takes a slot back.
func (t *table) release(slot uint32) { t.free = append(t.free, slot) }

// unbind removes what is at a place of the index and closes the gap: every
// later cell of the run that would not be found past an empty place moves up.
func (t *table) unbind(at uint32) (slot uint32) {
	mask := uint32(len(t.index) - 1)
	slot = t.index[at].slot - 1
	gap := at
	for i := (at + 1) & mask; t.index[i].slot != 0; i = (i + 1) & mask {
		if home := t.index[i].hash & mask; (i-home)&mask >= (i-gap)&mask {
			t.index[gap] = t.index[i]
			gap = i
		}
	}
	t.index[gap] = cell{}
	return slot
}
