package pin

import (
	"encoding/binary"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
)

// target is what a pointer points to, in a register or in a copy. Targets that are
// equal are the same thing.
type target struct {
	addr uint64
	// size is how long it is, or the most that it can be.
	size  uint64
	shape args.Shape
	dir   args.Direction
	// data is what is done with the buffers behind it.
	data args.Direction
	// inner is a string behind an array: to look for an address in the middle of one
	// would take a copy of each.
	inner bool
	// own is a string with a limit of its own.
	own bool
	// front is what a Sized is longer than it says.
	front uint32
}

// memory tells whether there is any.
func (t *target) memory() bool { return t.dir != args.NoMemory }

// reaches tells whether addr is within its size.
func (t *target) reaches(addr uint64) bool {
	return t.memory() && addr >= t.addr && addr-t.addr < t.size
}

// covers tells whether addr is in the copy, or can be where there is none.
func (p *piece) covers(addr uint64) bool {
	if p.n == none {
		return addr == p.addr || p.reaches(addr)
	}
	return addr-p.addr < uint64(p.n)
}

// pinned tells whether there is a copy that the call will use.
func (p *piece) pinned() bool { return p.n != none && p.err == 0 }

// learn finds out what the registers point to; false if nobody knows.
func (s *Set) learn() bool {
	if s.known && s.reader != nil {
		return true
	}
	call, ok := args.Of(uint32(s.nr))
	if !ok || s.arch != abi.ArchX86_64 || s.reader == nil {
		s.refused = true
		return false
	}
	for i := range s.targets {
		s.targets[i] = register(call.Arg(i, s.regs), i, s.regs)
	}
	s.known = true
	return true
}

// register is what register i points to.
func register(a args.Arg, i int, regs [6]uint64) target {
	addr := regs[i]
	if a.Dir == args.NoMemory || a.Null && addr == 0 {
		return target{}
	}
	size, _ := a.Bytes(regs)
	t := target{addr: addr, size: size, shape: a.Shape, dir: a.Dir, data: a.Data}
	switch a.Shape {
	case args.String:
		t.own = a.Max != 0
		t.size = limit(a.Max)
	case args.Sized, args.Readable, args.Strings:
		t.front = a.Size
		t.size = limit(a.Max)
	}
	return t
}

func limit(most uint32) uint64 {
	if most == 0 {
		return args.MaxPin
	}
	return uint64(most)
}

// Limits of struct msghdr: __copy_msghdr in net/socket.c.
const (
	maxName  = 128
	maxIovec = 1024
)

// entry is what the k-th address in a copy points to, and where in the copy that is;
// false if it has no more.
func (s *Set) entry(p *piece, k int) (t target, at int, ok bool) {
	b := s.slot[p.off : p.off+p.n]
	switch p.shape {
	case args.Strings:
		at = 8 * k
		if at+8 >= len(b) { // the last is 0
			return t, at, false
		}
		return target{addr: word(b, at), size: args.MaxPin, shape: args.String, dir: args.In, inner: true}, at, true
	case args.Iovec:
		at = 16 * k
		if at+16 > len(b) {
			return t, at, false
		}
		return buffer(word(b, at), word(b, at+8), p.data), at, true
	case args.Msghdr:
		return header(b, k, p.data)
	}
	return t, 0, false
}

// buffer is what an iovec points to.
func buffer(addr, size uint64, data args.Direction) target {
	if data == args.In {
		return target{addr: addr, size: size, shape: args.Array, dir: args.In}
	}
	return target{addr: addr, shape: args.Memory, dir: data}
}

// header is what the k-th address in a struct msghdr points to.
func header(b []byte, k int, data args.Direction) (t target, at int, ok bool) {
	switch k {
	case 0:
		if addr := word(b, 0); addr != 0 { // else no name
			t = buffer(addr, min(uint64(binary.LittleEndian.Uint32(b[8:])), maxName), args.In)
		}
		return t, 0, true
	case 1:
		n := min(word(b, 24), maxIovec)
		return target{addr: word(b, 16), size: 16 * n, shape: args.Iovec, dir: args.In, data: data}, 16, true
	case 2:
		return buffer(word(b, 32), word(b, 40), args.In), 32, true
	}
	return t, 0, false
}

func word(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// cursor goes through everything that the call can be given an address of, as far as
// copies show: six registers, then what is behind the copies that there are.
type cursor struct {
	register int
	// piece and entry are the next address to look at, parent and at where the last
	// one was found: at this offset in the slot, in that piece; none for a register.
	piece, entry int
	parent, at   int
}

// next is the next target. Copies that come about meanwhile are looked into as well.
func (s *Set) next(c *cursor, t *target) bool {
	if c.register < len(s.targets) {
		*t, c.parent, c.at = s.targets[c.register], none, c.register
		c.register++
		return true
	}
	for ; c.piece < s.count; c.piece, c.entry = c.piece+1, 0 {
		p := &s.pieces[c.piece]
		if !p.pinned() { // the call will not get there
			continue
		}
		if found, at, ok := s.entry(p, c.entry); ok {
			*t, c.parent, c.at = found, c.piece, p.off+at
			c.entry++
			return true
		}
	}
	return false
}

// find is the piece of a target, or none.
func (s *Set) find(t *target) int {
	for i := 0; i < s.count; i++ {
		if s.pieces[i].addr == t.addr && s.pieces[i].target == *t {
			return i
		}
	}
	return none
}
