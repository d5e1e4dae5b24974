package pin

import (
	"bytes"

	"portcullis/internal/abi/args"
	"portcullis/internal/maps"
)

// copy copies what p points to into the slot, and sets off, n and long. After an error
// the slot is as it was.
func (s *Set) copy(p *piece) maps.Errno {
	p.off = s.place(p)
	if p.off > SlotBytes {
		return maps.E2BIG
	}
	room := s.slot[p.off:]
	if most := args.MaxPin - s.counted; !p.own && len(room) > most {
		room = room[:most]
	}
	if uint64(len(room)) > p.size {
		room = room[:p.size]
	}
	n, e := s.fetch(p, room)
	if e != maps.OK {
		clear(room)
		return e
	}
	p.n = n
	return maps.OK
}

// place is where in the slot the copy of p begins.
func (s *Set) place(p *piece) int {
	if p.shape == args.Array && p.size >= direct {
		return s.used + int((p.addr-uint64(s.used))%pageSize)
	}
	return (s.used + align - 1) &^ (align - 1)
}

// fetch copies by shape what fits room, which is not more than the size of p. What it
// does not need of room is zero afterwards unless there is an error.
func (s *Set) fetch(p *piece, room []byte) (int, maps.Errno) {
	switch p.shape {
	case args.String:
		return s.string(p, room)
	case args.Strings:
		return s.addresses(p, room)
	}
	if uint64(len(room)) < p.size {
		return 0, maps.E2BIG
	}
	switch p.shape {
	case args.Sized:
		return s.sized(p, room)
	case args.Readable:
		if s.read(room, p.addr) == 0 {
			return 0, maps.EFAULT
		}
		return len(room), maps.OK
	}
	if s.read(room, p.addr) < len(room) {
		return 0, maps.EFAULT
	}
	return len(room), maps.OK
}

// read reads as far as it can.
func (s *Set) read(dst []byte, addr uint64) int {
	if s.reader == nil {
		return 0
	}
	n, _ := s.reader.ReadUser(dst, addr)
	n = max(min(n, len(dst)), 0)
	clear(dst[n:])
	return n
}

// Chunks in which something of unknown length is read: most strings fit the first.
const (
	firstChunk = 256
	laterChunk = 4096
)

func chunk(at int, room []byte) []byte {
	end := at + laterChunk
	if at == 0 {
		end = firstChunk
	}
	return room[at:min(end, len(room))]
}

// string copies up to the NUL. What has a limit of the call's own may lack one.
func (s *Set) string(p *piece, room []byte) (int, maps.Errno) {
	for at := 0; at < len(room); {
		part := chunk(at, room)
		n := s.read(part, p.addr+uint64(at))
		if end := bytes.IndexByte(part[:n], 0); end >= 0 {
			clear(part[end:])
			return at + end + 1, maps.OK
		}
		if n < len(part) {
			return 0, maps.EFAULT
		}
		at += n
	}
	if !p.own || uint64(len(room)) < p.size {
		return 0, maps.E2BIG
	}
	p.cut = cuts(s.nr)
	p.long = !p.cut
	return len(room), maps.OK
}

// cuts tells whether a kernel takes what fits of a string that is too long, and puts
// a NUL behind it, where other calls fail: strncpy_from_user into an array in
// kernel/sys.c (PR_SET_NAME), kernel/reboot.c and, before 6.12, kernel/module/main.c.
func cuts(nr int32) bool {
	const prctl, reboot, deleteModule = 157, 169, 176
	return nr == prctl || nr == reboot || nr == deleteModule
}

// addresses copies up to the address 0.
func (s *Set) addresses(p *piece, room []byte) (int, maps.Errno) {
	for at := 0; at+8 <= len(room); {
		part := chunk(at, room[:len(room)&^7])
		n := s.read(part, p.addr+uint64(at)) &^ 7
		for i := 0; i < n; i += 8 {
			if word(part, i) == 0 {
				clear(part[i:])
				return at + i + 8, maps.OK
			}
		}
		if n < len(part) {
			return 0, maps.EFAULT
		}
		at += n
	}
	return 0, maps.E2BIG
}

// lengthBytes is how long the length is that a Sized starts with.
const lengthBytes = 4

// sized reads the length once: the copy says what it was made by.
func (s *Set) sized(p *piece, room []byte) (int, maps.Errno) {
	if s.read(room[:lengthBytes], p.addr) < lengthBytes {
		return 0, maps.EFAULT
	}
	n := uint64(p.front) + uint64(length(room))
	n = min(max(n, lengthBytes), uint64(len(room)))
	rest := room[lengthBytes:n]
	if s.read(rest, p.addr+lengthBytes) < len(rest) {
		return 0, maps.EFAULT
	}
	return int(n), maps.OK
}
