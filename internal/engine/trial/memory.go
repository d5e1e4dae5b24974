package trial

import (
	"fmt"
	"syscall"
)

// Where the strings of a call are: far from what files usually write.
const (
	textBase = 0x7f0000000000
	textStep = 1 << 24
)

// Limits on what a process holds.
const (
	maxSegments = 4096
	maxMemory   = 16 << 20
)

// memory is what a process has written, the latest last. Segments do not change
// once written, so that copies of the list are copies of the memory.
type memory struct {
	segments []segment
	size     int
}

type segment struct {
	addr uint64
	data string
}

func (m *memory) fork() memory {
	return memory{append([]segment(nil), m.segments...), m.size}
}

func (m *memory) write(addr uint64, data string) error {
	switch {
	case len(m.segments) >= maxSegments || m.size+len(data) > maxMemory:
		return fmt.Errorf("memory: expected at most %d pieces and %d bytes in a process", maxSegments, maxMemory)
	case addr+uint64(len(data)) < addr:
		return fmt.Errorf("memory: %d bytes at %#x: expected them to end below 2^64", len(data), addr)
	}
	// The full slice expression keeps a copy of the list from being written to.
	m.segments = append(m.segments[:len(m.segments):len(m.segments)], segment{addr, data})
	m.size += len(data)
	return nil
}

// read fills dst as far as there is something.
func (m *memory) read(dst []byte, addr uint64) (n int, err error) {
	for n < len(dst) {
		k := m.copy(dst[n:], addr+uint64(n))
		if k == 0 {
			return n, syscall.EFAULT
		}
		n += k
	}
	return n, nil
}

// copy copies from the latest segment at addr, up to where a later one begins.
func (m *memory) copy(dst []byte, addr uint64) int {
	for i := len(m.segments) - 1; i >= 0; i-- {
		s := m.segments[i]
		if addr-s.addr < uint64(len(s.data)) {
			return copy(dst, s.data[addr-s.addr:])
		}
		if gap := s.addr - addr; gap < uint64(len(dst)) && s.data != "" {
			dst = dst[:gap]
		}
	}
	return 0
}
