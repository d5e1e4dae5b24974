package pin

import (
	"bytes"
	"encoding/binary"

	"portcullis/internal/abi/args"
)

// memory is that of a process: pages at addresses that are multiples of their size.
type memory map[uint64]*[pageSize]byte

// page makes the page of an address be there.
func (m memory) page(addr uint64) *[pageSize]byte {
	p := m[addr&^(pageSize-1)]
	if p == nil {
		p = new([pageSize]byte)
		m[addr&^(pageSize-1)] = p
	}
	return p
}

func (m memory) write(addr uint64, data []byte) {
	for len(data) > 0 {
		n := copy(m.page(addr)[addr%pageSize:], data)
		addr, data = addr+uint64(n), data[n:]
	}
}

func (m memory) word(addr, value uint64) {
	m.write(addr, binary.LittleEndian.AppendUint64(nil, value))
}

func (m memory) read(dst []byte, addr uint64) (n int) {
	for n < len(dst) {
		p := m[addr&^(pageSize-1)]
		if p == nil {
			return n
		}
		k := copy(dst[n:], p[addr%pageSize:])
		n, addr = n+k, addr+uint64(k)
	}
	return n
}

// flip changes every byte.
func (m memory) flip() {
	for _, p := range m {
		for i := range p {
			p[i] ^= 0x5a
		}
	}
}

// reader reads memory that somebody changes before every read.
type reader struct {
	memory
	before func()
	reads  int
}

func (r *reader) ReadUser(dst []byte, addr uint64) (int, error) {
	r.reads++
	if r.before != nil {
		r.before()
	}
	return r.read(dst, addr), nil
}

// Where tests have their slot.
const (
	base     = 0x7ffff0000000
	faulting = base + SlotBytes
)

// kernel reads arguments as a kernel would, through the registers and the slot of a
// call that goes on.
type kernel struct {
	memory memory
	slot   []byte
	regs   [6]uint64
}

// after is the kernel that makes the call of s.
func after(s *Set, m memory) (*kernel, Redirects) {
	k := &kernel{memory: m, regs: s.regs, slot: make([]byte, SlotBytes)}
	_, r := s.Place(k.slot, base, faulting)
	for i := range k.regs {
		if r.Mask&(1<<i) != 0 {
			k.regs[i] = r.Args[i]
		}
	}
	return k, r
}

func (k *kernel) copy(addr, n uint64) ([]byte, bool) {
	if n > 1<<20 {
		return nil, false
	}
	b := make([]byte, n)
	return b, k.read(b, addr) == len(b)
}

func (k *kernel) read(dst []byte, addr uint64) int {
	if addr >= base && addr < faulting {
		return copy(dst, k.slot[addr-base:])
	}
	return k.memory.read(dst, addr)
}

// taken is what the kernel got from a pointer: bytes, and what their addresses led to.
type taken struct {
	at    uint64 // where it looked
	fault bool
	bytes []byte
	long  bool // a string that did not end
	// inner is by the offset of the address in bytes.
	inner map[int]taken
}

// arg is what the kernel takes from an argument at addr.
func (k *kernel) arg(a args.Arg, addr uint64) taken {
	switch n, _ := a.Bytes(k.regs); a.Shape {
	case args.String:
		return k.string(addr, uint64(a.Max))
	case args.Sized:
		return k.sized(a, addr)
	case args.Readable:
		b := make([]byte, a.Max)
		return taken{at: addr, fault: k.read(b, addr) == 0, bytes: b}
	case args.Strings:
		return k.strings(addr)
	case args.Iovec:
		return k.iovec(addr, n, a.Data)
	case args.Msghdr:
		return k.msghdr(addr, a.Data)
	default:
		return k.fixed(addr, n)
	}
}

func (k *kernel) fixed(addr, n uint64) taken {
	b, ok := k.copy(addr, n)
	return taken{at: addr, fault: !ok, bytes: b}
}

func (k *kernel) string(addr, most uint64) taken {
	t := taken{at: addr}
	for most == 0 || uint64(len(t.bytes)) < most {
		b, ok := k.copy(addr+uint64(len(t.bytes)), 1)
		if !ok || len(t.bytes) > 1<<18 {
			t.fault = true
			return t
		}
		if t.bytes = append(t.bytes, b...); b[0] == 0 {
			return t
		}
	}
	t.long = true
	return t
}

// sized reads the length twice, as kernels do.
func (k *kernel) sized(a args.Arg, addr uint64) taken {
	front, ok := k.copy(addr, 4)
	if !ok {
		return taken{at: addr, fault: true}
	}
	n := uint64(a.Size) + uint64(binary.LittleEndian.Uint32(front))
	if n = min(n, uint64(a.Max)); n < 4 {
		n = 4
	}
	t := k.fixed(addr, n)
	t.fault = t.fault || !bytes.Equal(t.bytes[:4], front)
	return t
}

func (k *kernel) strings(addr uint64) taken {
	t := taken{at: addr, inner: map[int]taken{}}
	for at := 0; at < 1<<17; at += 8 {
		b, ok := k.copy(addr+uint64(at), 8)
		if !ok {
			break
		}
		t.bytes = append(t.bytes, b...)
		p := binary.LittleEndian.Uint64(b)
		if p == 0 {
			return t
		}
		t.inner[at] = k.string(p, 0)
	}
	t.fault = true
	return t
}

func (k *kernel) iovec(addr, n uint64, data args.Direction) taken {
	t := k.fixed(addr, n)
	t.inner = map[int]taken{}
	for at := 0; !t.fault && at+16 <= len(t.bytes); at += 16 {
		p, size := word(t.bytes, at), word(t.bytes, at+8)
		if data == args.In {
			t.inner[at] = k.fixed(p, size)
		} else {
			t.inner[at] = taken{at: p, fault: p == faulting}
		}
	}
	return t
}

func (k *kernel) msghdr(addr uint64, data args.Direction) taken {
	t := k.fixed(addr, 56)
	if t.fault {
		return t
	}
	b := t.bytes
	t.inner = map[int]taken{
		16: k.iovec(word(b, 16), 16*min(word(b, 24), 1024), data),
		32: k.fixed(word(b, 32), word(b, 40)),
	}
	if name := word(b, 0); name != 0 {
		t.inner[0] = k.fixed(name, min(uint64(binary.LittleEndian.Uint32(b[8:])), 128))
	}
	return t
}
