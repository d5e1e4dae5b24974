package pin

import (
	"bytes"

	"portcullis/internal/abi/args"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
)

// Read fills dst from a pinned argument: all of it, or an error and zeroes. The errors
// are EFAULT, E2BIG and interp.EOPNOTSUPP.
func (s *Set) Read(dst []byte, addr uint64) maps.Errno {
	if len(dst) == 0 {
		return maps.OK
	}
	b, _, e := s.look(addr)
	if e == maps.OK && len(b) < len(dst) {
		e = maps.EFAULT
	}
	if e != maps.OK {
		clear(dst)
		s.fail(addr, e)
		return e
	}
	copy(dst, b)
	return maps.OK
}

// ReadString reads a pinned string: n is its length with the NUL, and what is left of
// dst is zeroed. It has the errors of Read: E2BIG for a string that does not fit dst
// or is longer than its argument may be.
func (s *Set) ReadString(dst []byte, addr uint64) (n int, e maps.Errno) {
	b, p, e := s.look(addr)
	refused := false
	if e == maps.OK {
		n, e = text(b, p, len(dst))
		refused = p.long && n == 0 // by the kernel, whatever else the call is about
	}
	if e != maps.OK {
		clear(dst)
		if !refused {
			s.fail(addr, e)
		}
		return 0, e
	}
	clear(dst[copy(dst[:n], b):])
	return n, maps.OK
}

// text is the length of the string at the start of b, which is the rest of p, with its
// NUL, if that is not more than room.
func text(b []byte, p *piece, room int) (int, maps.Errno) {
	n := bytes.IndexByte(b, 0) + 1
	if n == 0 && p.cut {
		n = len(b) + 1
	}
	switch {
	case n > 0 && n <= room:
		return n, maps.OK
	case n > 0 || p.long || len(b) >= room:
		return 0, maps.E2BIG
	}
	return 0, maps.EFAULT // it goes on behind the argument
}

// look pins all that contains addr and returns the bytes from there to the end of
// what reaches furthest, and what that is.
func (s *Set) look(addr uint64) (b []byte, longest *piece, e maps.Errno) {
	if !s.learn() {
		return nil, nil, interp.EOPNOTSUPP
	}
	var t target
	missed := maps.EFAULT
	for c := (cursor{}); s.next(&c, &t); {
		i, err := s.pin(&t, addr)
		switch {
		case err != maps.OK:
			e = err
		case i != none:
			p := &s.pieces[i]
			if rest := s.slot[:p.off+p.n][p.off+int(addr-p.addr):]; len(rest) > len(b) {
				b, longest = rest, p
			}
		case t.dir == args.Out && t.addr == addr:
			missed = interp.EOPNOTSUPP
		}
	}
	if e == maps.OK && b == nil {
		e = missed
	}
	return b, longest, e
}

// pin makes t pinned if it contains addr, and returns which piece it is; none if it
// does not. Memory that the kernel only writes is not in the way of pinning what is
// read from the same place.
func (s *Set) pin(t *target, addr uint64) (int, maps.Errno) {
	if i := s.find(t); i != none {
		if p := &s.pieces[i]; p.covers(addr) {
			return i, p.err
		}
		return none, maps.OK
	}
	switch {
	case t.dir == args.In && t.reaches(addr) && (!t.inner || t.addr == addr):
		return s.add(t, addr)
	case t.memory() && t.dir != args.In && t.dir != args.Out && t.addr == addr:
		return none, interp.EOPNOTSUPP
	}
	return none, maps.OK
}

// add copies t and keeps the copy if it contains addr.
func (s *Set) add(t *target, addr uint64) (int, maps.Errno) {
	p := piece{target: *t}
	if s.full(t) {
		return none, maps.E2BIG
	}
	if e := s.copy(&p); e != maps.OK {
		return none, e
	}
	if !p.covers(addr) {
		clear(s.slot[p.off : p.off+p.n])
		return none, maps.OK
	}
	p.err = s.agree(&p)
	s.keep(&p)
	return s.count - 1, p.err
}

// full tells whether there is no room for another piece. Registers always have some.
func (s *Set) full(t *target) bool {
	for i := range s.targets {
		if s.targets[i] == *t {
			return false
		}
	}
	return s.count >= maxPieces-len(s.targets)
}

func (s *Set) keep(p *piece) {
	s.pieces[s.count] = *p
	s.count++
	s.used = p.off + p.n
	if !p.own {
		s.counted += p.n
	}
}

// agree compares a copy with those that overlap it, those that have failed among them:
// a filter may have read from one before. Two that differ have both failed.
func (s *Set) agree(p *piece) (e maps.Errno) {
	for i := 0; i < s.count; i++ {
		if q := &s.pieces[i]; q.n != none && !s.same(p, q) {
			q.err, e = maps.EFAULT, maps.EFAULT
		}
	}
	return e
}

// same tells whether two copies have the same bytes where they overlap.
func (s *Set) same(p, q *piece) bool {
	if p.addr > q.addr {
		p, q = q, p
	}
	gap := q.addr - p.addr
	if gap >= uint64(p.n) {
		return true
	}
	a := s.slot[p.off : p.off+p.n][gap:]
	b := s.slot[q.off : q.off+q.n]
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

// fail makes everything fail that addr is in, or can be in. Where that is nothing, such as
// in the midst of what cannot be pinned, or behind an array that nobody read, the whole
// call has failed; but not for what follows a null pointer.
func (s *Set) fail(addr uint64, e maps.Errno) {
	if s.refused {
		return
	}
	var t target
	found := addr < pageSize
	for c := (cursor{}); s.next(&c, &t); {
		if i := s.find(&t); i != none {
			found = s.pieces[i].fail(addr, e) || found
		} else if t.memory() && (t.addr == addr || t.reaches(addr)) {
			s.lose(&t, c.parent, e)
			found = true
		}
	}
	s.refused = s.refused || !found
}

// fail tells whether addr is in p. It leaves a string without an end alone: the kernel
// refuses it.
func (p *piece) fail(addr uint64, e maps.Errno) bool {
	if !p.covers(addr) {
		return false
	}
	if p.err == maps.OK && !p.long {
		p.err = e
	}
	return true
}

// lose notes that what was not copied has failed. Where there is no room for that, all
// that its parent holds has.
func (s *Set) lose(t *target, parent int, e maps.Errno) {
	if s.full(t) {
		s.pieces[parent].err = maps.E2BIG
		return
	}
	s.pieces[s.count] = piece{target: *t, n: none, err: e}
	s.count++
}
