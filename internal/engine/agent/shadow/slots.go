//go:build linux && amd64

package shadow

import "portcullis/internal/sys"

// Slots is Memory that a target has, verified: made only by a Mapping. It is good
// for the address space it was mapped into, until that ends or executes.
type Slots struct {
	memory *Memory
	at     uint64
}

// Len is the number of slots.
func (s *Slots) Len() int { return len(s.memory.used) }

// Put makes a slot hold data, and zeroes behind it, so that a call that reads more
// than was decided on reads nothing that an earlier one left. The caller gives a
// slot to one stopped thread at a time. The error is a *SizeError.
func (s *Slots) Put(slot int, data []byte) error {
	m := s.memory
	if slot < 0 || slot >= len(m.used) || len(data) > SlotSize {
		return &SizeError{slot, len(m.used), len(data)}
	}
	room := m.bytes[slot*SlotSize:][:SlotSize]
	n := copy(room, data)
	for i := n; i < m.used[slot]; i++ {
		room[i] = 0
	}
	m.used[slot] = n
	return nil
}

// Address is where a slot starts in the target.
func (s *Slots) Address(slot int) uint64 { return s.at + uint64(slot)*SlotSize }

// Faulting is an address in the target at which a page starts that always faults.
// The slots end before it.
func (s *Slots) Faulting() uint64 { return s.Address(s.Len()) }

// Contains tells whether an address is in the mapping.
func (s *Slots) Contains(addr uint64) bool { return addr-s.at < s.memory.Size() }

// Sealing says what keeps the mapping in its place.
func (s *Slots) Sealing() Sealing { return s.memory.sealed }

// Arg is the register of argument i, from 0 to 5, of a call by the syscall
// instruction. The kernel leaves all six as they are when the call returns.
func Arg(r *sys.Regs, i int) *uint64 {
	return [...]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[i]
}
