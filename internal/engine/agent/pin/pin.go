// Package pin copies the arguments of one call that filters read, so that the call
// can be made with exactly the bytes that were decided on.
//
// # What is copied
//
// A read names an address, not an argument. It pins every argument that contains the
// address: the argument is copied whole, once, and all reads are served from copies.
// What a copy is of, package args says; an argument that it does not call pinnable is
// never copied. Arguments with the same address and shape share a copy. Where copies
// of different arguments overlap they agree on every byte, for a read is served from
// one of them and the call may use another: if they do not, somebody has written
// meanwhile, and both have failed.
//
// Behind an array of addresses (argv, iovec, msghdr) there is more to read. It is
// pinned where it is read, once the array is: a filter reads the array first, and finds
// the original addresses there. A string of argv is read from its beginning first.
//
// # What is redirected
//
// Place lays the copies out for a slot, with the addresses in copied arrays changed to
// those of copies in the slot, and says which argument registers must point there.
// What no filter read stays as it is.
//
// # What has failed
//
// After an error everything that the address could belong to has failed, for good: it
// is redirected to an address that faults, whatever was or will be read; where it belongs
// to nothing that can be told, the call is refused. So a filter that overlooks an error
// cannot let through what it did not see. The one exception is
// a string that is longer than its call allows, for which the kernel has an error of its
// own; or it takes what fits, and that is then what the filter reads.
package pin

import (
	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/maps"
)

const (
	pageSize = 4096
	// align is that of copies which need not keep their offset within a page.
	align = 16
	// direct is the length from which buffers keep that offset: direct I/O asks for
	// alignment, and does not write less.
	direct = 512
)

// SlotBytes is how long a slot must be: it holds MaxPin bytes and for each of six
// registers a string with its own limit or what an offset within a page takes, less
// than a page; two more pages are for alignment, and what lies behind arrays.
const SlotBytes = args.MaxPin + (6+2)*pageSize

// maxPieces is how many copies, or failures, there can be: six registers, and what
// lies behind arrays.
const maxPieces = 256

// Reader reads the memory of a stopped thread's process as it is at this moment.
type Reader interface {
	// ReadUser fills dst as far as memory is readable and returns how far that is.
	ReadUser(dst []byte, addr uint64) (int, error)
}

// Set is what is pinned of one call of one thread. It is large, and meant to be used
// again. Reset comes first.
type Set struct {
	nr      int32
	arch    abi.Arch
	regs    [6]uint64
	reader  Reader
	targets [6]target // of the registers, once known
	known   bool
	refused bool
	count   int // of pieces
	pieces  []piece
	counted int // bytes that count towards MaxPin
	used    int // bytes of the slot
	slot    []byte
}

// piece is what is known about one target.
type piece struct {
	target
	// off is where its copy is in the slot, n how long that is; n is none for no copy.
	off, n int
	// err is why it has failed, OK if it has not.
	err maps.Errno
	// long is a string without an end, which the kernel refuses; cut one that it ends
	// where the copy does.
	long, cut bool
}

// none is the length of no copy.
const none = -1

// Reset makes s the set of another call, of which nothing is pinned. It keeps r
// until the next.
func (s *Set) Reset(d *abi.SeccompData, r Reader) {
	if s.slot == nil {
		s.pieces, s.slot = make([]piece, maxPieces), make([]byte, SlotBytes)
	}
	clear(s.slot[:s.used])
	s.nr, s.arch, s.regs, s.reader = d.Nr, d.Arch, d.Args, r
	s.known, s.refused = false, false
	s.count, s.counted, s.used = 0, 0, 0
}

// Clone is a copy for a call that has to wait, while s serves another. It takes as much
// memory as is pinned, and can be placed, not read.
func (s *Set) Clone() *Set {
	c := *s
	c.reader = nil
	c.pieces = append([]piece(nil), s.pieces[:s.count]...)
	c.slot = append([]byte(nil), s.slot[:s.used]...)
	return &c
}

// Empty tells that nothing is pinned and nothing has failed: the call can be made as
// it is.
func (s *Set) Empty() bool { return s.count == 0 && !s.refused }

// Refused tells that the call must not be made: a read has failed of what cannot be
// redirected. That is all in a call that package args knows nothing of, or one of another
// table than x86-64's, which sees less of a register than an address in a slot takes.
func (s *Set) Refused() bool { return s.refused }

// Size is how many bytes Place needs, at most SlotBytes.
func (s *Set) Size() int { return s.used }
