package interp

import (
	"encoding/binary"

	"portcullis/internal/verify"
)

// Regions. The one at 0 is empty, so that NULL and small numbers fault.
const (
	regionCtx = iota + 1
	regionStack
	regionMaps // the first map's; the others follow in order
)

// maxMaps is what a verified program has at most.
const maxMaps = verify.MaxMaps

// regions is how many regions a machine has room for.
const regions = regionMaps + maxMaps

// address is a pointer as programs hold it.
func address(region int, off uint32) uint64 { return uint64(region)<<32 | uint64(off) }

// handles are pointers to maps, in a region that no memory can have.
const handles = 1 << 63

// handle is what a program passes to a helper to name map i.
func handle(i int) uint64 { return handles | uint64(i) }

// slice is n bytes of a region at addr; false if they are not all there.
func slice(mem *[regions][]byte, addr, n uint64) ([]byte, bool) {
	region, at := addr>>32, addr&offMask
	if n == 0 {
		return nil, true
	}
	if region >= regions || n > uint64(len(mem[region])) || at > uint64(len(mem[region]))-n {
		return nil, false
	}
	return mem[region][at : at+n : at+n], true
}

// readable and writable are n bytes at addr for a helper to use.
func (m *Machine) readable(addr, n uint64) ([]byte, bool) {
	b, ok := slice(&m.ld, addr, n)
	if !ok {
		m.fault = faultMemory
	}
	return b, ok
}

func (m *Machine) writable(addr, n uint64) ([]byte, bool) {
	b, ok := slice(&m.st, addr, n)
	if !ok {
		m.fault = faultMemory
	}
	return b, ok
}

// atomicAddr is the operand of an atomic instruction (see insn).
func (m *Machine) atomicAddr(w uint64) uint64 {
	return m.r[w>>16&15] + uint64(int64(int16(w>>32)))
}

// atomic32 and atomic64 execute an atomic operation, RFC 9669 section 5.3.
// Evaluations are serialised, so plain memory accesses are atomic enough.
func (m *Machine) atomic32(w uint64) bool {
	mem, ok := slice(&m.st, m.atomicAddr(w), 4)
	if !ok {
		return false
	}
	old := binary.LittleEndian.Uint32(mem)
	next := m.atomic(w, uint64(old), m.r[w>>20&15], uint64(uint32(m.r[0])))
	binary.LittleEndian.PutUint32(mem, uint32(next))
	return true
}

func (m *Machine) atomic64(w uint64) bool {
	mem, ok := slice(&m.st, m.atomicAddr(w), 8)
	if !ok {
		return false
	}
	old := binary.LittleEndian.Uint64(mem)
	binary.LittleEndian.PutUint64(mem, m.atomic(w, old, m.r[w>>20&15], m.r[0]))
	return true
}

// atomic computes what is stored and puts old where the operation fetches it.
func (m *Machine) atomic(w, old, src, expected uint64) (next uint64) {
	kind := w >> 48
	switch kind {
	case kindCmpXchg:
		m.r[0] = old
		if old == expected {
			return src
		}
		return old
	case kindXchg:
		next = src
	default:
		next = combine(kind&^kindFetch, old, src)
	}
	if kind&kindFetch != 0 {
		m.r[w>>20&15] = old
	}
	return next
}

func combine(kind, old, src uint64) uint64 {
	switch kind {
	case kindOr:
		return old | src
	case kindAnd:
		return old & src
	case kindXor:
		return old ^ src
	}
	return old + src
}
