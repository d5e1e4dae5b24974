package pin

import (
	"encoding/binary"

	"portcullis/internal/maps"
)

func length(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// Redirects are new values of argument registers.
type Redirects struct {
	// Mask has a bit for each register that is changed, the lowest for the first.
	Mask uint8
	// Args are the values, 0 where none is changed.
	Args [6]uint64
}

// Place lays the copies out in dst, which has Size bytes or more, for a slot that
// starts at base in the target, a multiple of a page's size. It returns Size, and what
// the registers must be: faulting is where what has failed is redirected to, an
// address that can never be read or written.
func (s *Set) Place(dst []byte, base, faulting uint64) (n int, regs Redirects) {
	n = copy(dst[:s.used], s.slot[:])
	if s.refused {
		return n, everywhere(faulting)
	}
	if s.count == 0 {
		return n, regs
	}
	var t target
	for c := (cursor{}); s.next(&c, &t); {
		to, ok := s.where(&t, base, faulting)
		switch {
		case !ok:
		case c.parent == none:
			regs.Mask |= 1 << c.at
			regs.Args[c.at] = to
		default:
			binary.LittleEndian.PutUint64(dst[c.at:], to)
		}
	}
	return n, regs
}

// where is where t is redirected to; false if it is not.
func (s *Set) where(t *target, base, faulting uint64) (uint64, bool) {
	i := s.find(t)
	switch {
	case i == none:
		return 0, false
	case s.pieces[i].err != maps.OK:
		return faulting, true
	}
	return base + uint64(s.pieces[i].off), true
}

// everywhere makes a call fail as far as registers can, that must not be made.
func everywhere(addr uint64) (regs Redirects) {
	regs.Mask = 1<<len(regs.Args) - 1
	for i := range regs.Args {
		regs.Args[i] = addr
	}
	return regs
}
