package maps

import "portcullis/internal/prog"

// Ring is BPF_MAP_TYPE_RINGBUF: records that programs hand to the supervisor,
// in order. Positions and sizes count as in the kernel, headers included, so
// that bpf_ringbuf_query answers the same; but the headers themselves lie
// outside the arena. Source: kernel/bpf/ringbuf.c.
type Ring struct {
	spec       *prog.Map
	size       uint64   // a power of two
	mem        []byte   // twice the size: a record that wraps stays in one piece
	heads      []uint32 // length and state of the record at eight times the index
	prod, cons uint64
	refused    uint64 // records since the last Refused
}

// State of a record, the kernel's BPF_RINGBUF_BUSY_BIT and _DISCARD_BIT.
const (
	busy    = 1 << 31
	discard = 1 << 30
)

// headSize is BPF_RINGBUF_HDR_SZ.
const headSize = 8

// Flags of bpf_ringbuf_query.
const (
	RingAvail   = 0
	RingSize    = 1
	RingConsPos = 2
	RingProdPos = 3
)

func newRing(spec *prog.Map) *Ring {
	size := uint64(spec.MaxEntries)
	return &Ring{spec: spec, size: size, mem: make([]byte, 2*size), heads: make([]uint32, size/headSize)}
}

// Spec is the map's definition.
func (r *Ring) Spec() *prog.Map { return r.spec }

// Mem is the arena.
func (r *Ring) Mem() []byte { return r.mem }

// Lookup finds nothing: a ring has no keys.
func (r *Ring) Lookup(key []byte) (off uint32, ok bool) { return 0, false }

// Update is -EINVAL: a ring has no keys.
func (r *Ring) Update(key, value []byte, flags uint64) Errno { return EINVAL }

// Delete is -EINVAL: a ring has no keys.
func (r *Ring) Delete(key []byte) Errno { return EINVAL }

// span is what a record of n bytes takes up.
func span(n uint64) uint64 { return (n + headSize + 7) &^ 7 }

func (r *Ring) head(pos uint64) *uint32 { return &r.heads[pos&(r.size-1)/headSize] }

// Reserve takes room for a record of n bytes, which is at off in Mem until it
// is submitted or discarded; false when there is no room, which is counted.
func (r *Ring) Reserve(n uint64) (off uint32, ok bool) {
	if n > r.size || r.prod+span(n)-r.cons > r.size-1 {
		r.refused++
		return 0, false
	}
	*r.head(r.prod) = uint32(n) | busy
	off = uint32(r.prod&(r.size-1)) + headSize
	r.prod += span(n)
	return off, true
}

// reserved is the head of the record at off; nil if none is reserved there.
func (r *Ring) reserved(off uint32) *uint32 {
	at := uint64(off) - headSize
	if off < headSize || at >= r.size || at%headSize != 0 {
		return nil
	}
	if h := r.head(at); *h&busy != 0 {
		return h
	}
	return nil
}

// Submit hands over the record at off; false if none is reserved there.
func (r *Ring) Submit(off uint32) bool {
	h := r.reserved(off)
	if h != nil {
		*h &^= busy
	}
	return h != nil
}

// Discard drops the record at off; false if none is reserved there.
func (r *Ring) Discard(off uint32) bool {
	h := r.reserved(off)
	if h != nil {
		*h = *h&^busy | discard
	}
	return h != nil
}

// Output hands over a copy of a record; false when there is no room.
func (r *Ring) Output(record []byte) bool {
	off, ok := r.Reserve(uint64(len(record)))
	if ok {
		copy(r.mem[off:], record)
		r.Submit(off)
	}
	return ok
}

// Query answers bpf_ringbuf_query; 0 for what it does not know.
func (r *Ring) Query(what uint64) uint64 {
	switch what {
	case RingAvail:
		return r.prod - r.cons
	case RingSize:
		return r.size
	case RingConsPos:
		return r.cons
	case RingProdPos:
		return r.prod
	}
	return 0
}

// Empty tells whether there is nothing to drain.
func (r *Ring) Empty() bool { return r.cons == r.prod }

// Refused is how many records have found no room since it was last asked.
func (r *Ring) Refused() uint64 {
	n := r.refused
	r.refused = 0
	return n
}

// Drain passes every submitted record to f, in order, and empties the ring. It
// must not be called while a program runs: a record still reserved then was
// left behind by one that faulted, and is dropped. f must not keep the record.
func (r *Ring) Drain(f func(record []byte)) {
	for r.cons != r.prod {
		h := r.head(r.cons)
		n := uint64(*h &^ (busy | discard))
		if *h&(busy|discard) == 0 {
			at := r.cons&(r.size-1) + headSize
			f(r.mem[at : at+n : at+n])
		}
		*h = 0
		r.cons += span(n)
	}
}
