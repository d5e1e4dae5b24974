package pin

import (
	"math/rand"
	"os"
	"strconv"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/maps"
)

// source is where choices come from: bytes that a fuzzer changes; 0 behind them.
type source []byte

func (s *source) n(most int) int {
	v := 0
	for room := 1; room < most && len(*s) > 0; room <<= 8 {
		v = v<<8 | int((*s)[0])
		*s = (*s)[1:]
	}
	return v % most
}

func (s *source) one(in int) bool { return s.n(in) == in-1 }

// pages is how many there can be from here on: the memory of random calls. Some are
// not there.
const pages = 24

// try is a random call, of which random reads are made.
type try struct {
	t    testing.TB
	src  source
	call args.Call
	regs [6]uint64
	mem  memory
	// changing tells that memory is written while it is read.
	changing bool
	set      *Set
	// seen are the bytes that reads returned, by address.
	seen map[uint64]byte
	good []span
	bad  []uint64
}

type span struct{ addr, n uint64 }

func newTry(t testing.TB, s *Set, data []byte) *try {
	y := &try{t: t, set: s, src: data, seen: map[uint64]byte{}, mem: memory{}}
	all := args.All()
	y.call = all[y.src.n(len(all))]
	if y.src.one(2) { // those that have the most to them
		y.call = byName(all, []string{"sendmsg", "writev", "execve", "execveat", "process_vm_writev", "mount", "rename", "setxattr", "sendto", "vmsplice"}[y.src.n(10)])
	}
	y.changing = y.src.one(2)
	if !pinnable(y.call) {
		y.call = byName(all, "openat")
	}
	y.fill()
	y.registers()
	for i := range y.regs {
		y.build(y.call.Arg(i, y.regs), y.regs[i])
	}
	return y
}

func pinnable(c args.Call) bool {
	for i := range c.Args {
		if _, ok := c.Pinnable(i); ok {
			return true
		}
	}
	return false
}

func byName(all []args.Call, name string) args.Call {
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	panic(name)
}

// fill makes memory: random bytes, and many zeroes.
func (y *try) fill() {
	r := rand.New(rand.NewSource(int64(y.src.n(1 << 16))))
	for i := uint64(0); i < pages; i++ {
		if y.src.one(60) {
			continue
		}
		p := y.mem.page(here + i*pageSize)
		r.Read(p[:])
		for j := 100 + y.src.n(4)*200; j > 0; j-- {
			p[r.Intn(pageSize)] = 0
		}
	}
}

// address is one in memory, as a rule: often near another.
func (y *try) address() uint64 {
	switch y.src.n(32) {
	case 0:
		return y.regs[y.src.n(6)]
	case 1:
		return y.regs[y.src.n(6)] + uint64(y.src.n(40)) - 8
	case 2:
		return here + uint64(y.src.n(pages+1))*pageSize - uint64(y.src.n(64))
	case 3:
		return [...]uint64{0, 0, 1, ^uint64(0) - 7, hole + 1<<20, faulting}[y.src.n(6)]
	}
	return here + uint64(y.src.n(pages*pageSize))
}

// registers chooses arguments: numbers that are counts or options, and addresses.
func (y *try) registers() {
	for i := range y.regs {
		y.regs[i] = y.address()
		if y.call.Args[i].Shape == args.Value {
			y.regs[i] = y.count()
		}
	}
	if cases := y.call.Cases(); len(cases) > 0 && !y.src.one(4) {
		for _, w := range cases[y.src.n(len(cases))].When {
			y.regs[w.Arg] = y.regs[w.Arg]&^w.Mask | w.Value
		}
	}
}

func (y *try) count() uint64 {
	switch y.src.n(128) {
	case 0:
		return uint64(y.src.n(pages * pageSize))
	case 1, 2:
		return uint64(y.src.n(2000))
	case 3:
		return [...]uint64{0, 1 << 32, ^uint64(0), 1<<32 | 3, 65536, 65537, 1024}[y.src.n(7)]
	}
	return uint64(y.src.n(64))
}

// build puts addresses where a call has an array of them.
func (y *try) build(a args.Arg, addr uint64) {
	if y.src.one(8) || y.mem.read(make([]byte, 1024), addr) < 1024 {
		return
	}
	switch a.Shape {
	case args.Strings:
		n := uint64(y.src.n(20))
		for i := uint64(0); i < n; i++ {
			y.mem.word(addr+8*i, y.address())
		}
		y.mem.word(addr+8*n, 0)
	case args.Iovec:
		y.iovec(addr)
	case args.Msghdr:
		iov := here + uint64(y.src.n(pages*pageSize-1024))
		y.iovec(iov)
		msghdr(y.mem, addr, y.address(), uint32(y.count()), iov, uint64(y.src.n(20)), y.address(), y.count())
	}
}

func (y *try) iovec(addr uint64) {
	for i := uint64(0); i < 64; i++ {
		size := uint64(y.src.n(200))
		if i < 2 && y.src.one(16) {
			size = y.count()
		}
		y.mem.word(addr+16*i, y.address())
		y.mem.word(addr+16*i+8, size)
	}
}

// reader reads what, where memory changes, somebody writes meanwhile.
func (y *try) reader() *reader {
	r := &reader{memory: y.mem}
	if y.changing {
		r.before = func() {
			for n := y.src.n(4); n > 0; n-- {
				y.mem.write(y.within(), []byte{byte(y.src.n(256))})
			}
		}
	}
	return r
}

// within is an address at which there is memory, often that of an argument.
func (y *try) within() uint64 {
	a := here + uint64(y.src.n(pages*pageSize))
	if b := y.regs[y.src.n(6)] + uint64(y.src.n(16)); y.src.one(2) && y.mem[b&^(pageSize-1)] != nil {
		return b
	}
	for y.mem[a&^(pageSize-1)] == nil && len(y.mem) > 0 {
		a += pageSize
		if a >= here+pages*pageSize {
			a -= pages * pageSize
		}
	}
	return a
}

// run makes reads, and looks at what the call would then be given.
func (y *try) run() {
	nr := int32(y.call.Nr)
	y.set.Reset(&abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64, Args: y.regs}, y.reader())
	for n := y.src.n(16); n >= 0; n-- {
		y.read()
	}
	k, r := after(y.set, y.mem)
	y.checkSlot()
	for i := range y.regs {
		if r.Mask&(1<<i) == 0 {
			y.checkUnpinned(k, i)
		}
	}
	y.mem.flip()
	for i := range y.regs {
		y.checkArg(k, r, i)
	}
	y.checkFailed(k)
}

func (y *try) read() {
	addr, most, text := y.target()
	b := make([]byte, most)
	n, e := len(b), maps.OK
	if text != y.src.one(16) {
		n, e = y.set.ReadString(b, addr)
	} else {
		e = y.set.Read(b, addr)
	}
	y.note(b, addr, n, e)
}

// target is what to read: of an argument, of what an address that was read leads to,
// or anything.
func (y *try) target() (addr uint64, n int, text bool) {
	if y.src.one(30) {
		return y.address(), y.src.n(70_000), y.src.one(2)
	}
	if y.src.one(2) && len(y.good) > 0 {
		g := y.good[y.src.n(len(y.good))]
		at := g.addr + uint64(y.src.n(4)*8)
		if p, ok := y.pointer(at); ok {
			size, ok := y.pointer(at + 8)
			if !ok || y.src.one(8) {
				return p, 5000, true
			}
			return p, max(int(size%70_000)-y.src.n(2), 1), false
		}
	}
	return y.argument(y.src.n(6))
}

// argument is something of the first argument from i on that may be pinned.
func (y *try) argument(i int) (addr uint64, n int, text bool) {
	for k := i; k < i+6; k++ {
		a := y.call.Arg(k%6, y.regs)
		if a.Dir != args.In || a.Null && y.regs[k%6] == 0 {
			continue
		}
		off := uint64(0)
		if y.src.one(4) {
			off = uint64(y.src.n(16))
		}
		return y.regs[k%6] + off, y.length(a, off), a.Shape == args.String
	}
	return y.address(), 8, false
}

// length is one that can be read of an argument from an offset on.
func (y *try) length(a args.Arg, off uint64) int {
	n, _ := a.Bytes(y.regs)
	switch {
	case a.Shape == args.String:
		return 8192
	case a.Shape == args.Strings:
		return 8
	case n <= off || n > 70_000:
		return 1 + y.src.n(64)
	case y.src.one(3):
		return 1 + y.src.n(int(n-off))
	}
	return int(n - off)
}

// pointer is the address at addr as a filter has read it.
func (y *try) pointer(addr uint64) (p uint64, ok bool) {
	for i := uint64(0); i < 8; i++ {
		b, ok := y.seen[addr+i]
		if !ok {
			return 0, false
		}
		p |= uint64(b) << (8 * i)
	}
	return p, true
}

// note keeps what a read returned, which is what others returned.
func (y *try) note(b []byte, addr uint64, n int, e maps.Errno) {
	if e != maps.OK {
		y.bad = append(y.bad, addr)
		n = 0
	} else {
		y.good = append(y.good, span{addr, uint64(n)})
	}
	for i, c := range b {
		a := addr + uint64(i)
		if old, ok := y.seen[a]; i < n && ok && old != c {
			y.t.Fatalf("%s: the byte at %#x was %#x and is %#x", y, a, old, c)
		}
		if i < n {
			y.seen[a] = c
		} else if c != 0 {
			y.t.Fatalf("%s: %#x behind what was read at %#x", y, c, addr)
		}
	}
}

func (y *try) String() string {
	return y.call.Name + " of " + hex(y.regs[:]) + ", reads " + spans(y.good) + ", failed " + hex(y.bad)
}

func hex(v []uint64) (text string) {
	for _, x := range v {
		text += " 0x" + strconv.FormatUint(x, 16)
	}
	return text
}

func spans(v []span) (text string) {
	for _, x := range v {
		text += hex([]uint64{x.addr}) + "+" + strconv.FormatUint(x.n, 10)
	}
	return text
}

// checkSlot sees that copies keep apart and nothing else is in the slot.
func (y *try) checkSlot() {
	var owner [SlotBytes]int16
	for i, p := range y.set.pieces[:y.set.count] {
		for at := p.off; p.n != none && at < p.off+p.n; at++ {
			if owner[at] != 0 {
				y.t.Fatalf("%s: copies overlap at %d", y, at)
			}
			owner[at] = int16(i + 1)
		}
	}
	for at, b := range y.set.slot {
		if b != 0 && owner[at] == 0 {
			y.t.Fatalf("%s: %#x at %d of the slot is in no copy", y, b, at)
		}
	}
}

// checkArg sees that an argument is what was read of it.
func (y *try) checkArg(k *kernel, r Redirects, i int) {
	a := y.call.Arg(i, y.regs)
	if a.Dir != args.In || a.Null && y.regs[i] == 0 {
		if a.Dir == args.NoMemory && k.regs[i] != y.regs[i] && !y.set.Refused() {
			y.t.Fatalf("%s: number %d is redirected", y, i)
		}
		return
	}
	y.checkTaken(k.arg(a, k.regs[i]), y.regs[i])
}

// checkTaken compares what the kernel took from an argument, that was at addr, with
// the reads that contain its beginning, or begin in it.
func (y *try) checkTaken(got taken, addr uint64) {
	if got.fault {
		return
	}
	pinned := got.at >= base && got.at < faulting
	for _, g := range y.good {
		if off := g.addr - addr; off < uint64(len(got.bytes)) && pinned {
			y.compare(got, addr, g)
		}
	}
	for at, inner := range got.inner {
		if p, ok := y.pointer(addr + uint64(at)); ok {
			y.checkTaken(inner, p)
		}
	}
}

func (y *try) compare(got taken, addr uint64, g span) {
	for x := g.addr; x < g.addr+g.n && x-addr < uint64(len(got.bytes)); x++ {
		off := int(x - addr)
		if in, ok := got.inner[off&^7]; ok && in.at != 0 && (in.at == faulting || in.at >= base && in.at < faulting) {
			continue // an address that was redirected
		}
		if got.bytes[off] != y.seen[x] {
			y.t.Fatalf("%s: the argument at %#x has %#x at %#x, %#x was read", y, addr, got.bytes[off], x, y.seen[x])
		}
	}
}

// checkUnpinned sees that nothing was read of an argument that is not redirected. Where
// memory changes, a string may have ended before what was read.
func (y *try) checkUnpinned(k *kernel, i int) {
	a, addr := y.call.Arg(i, y.regs), y.regs[i]
	if a.Dir != args.In || a.Null && addr == 0 {
		return
	}
	n, _ := a.Bytes(y.regs)
	if !y.changing {
		n = max(n, min(uint64(len(k.arg(a, addr).bytes)), args.MaxPin))
	}
	for _, g := range y.good {
		if g.addr-addr < n {
			y.t.Fatalf("%s: the argument at %#x was read and is not redirected", y, addr)
		}
	}
}

// checkFailed sees that nothing is taken from where a read failed.
func (y *try) checkFailed(k *kernel) {
	for _, addr := range y.bad {
		if addr >= pageSize && y.set.Empty() {
			y.t.Fatalf("%s: the read at %#x failed, and nothing came of it", y, addr)
		}
		for i := range y.regs {
			a := y.call.Arg(i, y.regs)
			if a.Dir == args.NoMemory || a.Null && y.regs[i] == 0 {
				continue
			}
			n, _ := a.Bytes(y.regs)
			if y.regs[i] != addr && (a.Dir != args.In || addr-y.regs[i] >= n) || k.regs[i] == faulting {
				continue
			}
			if got := k.arg(a, k.regs[i]); a.Shape != args.String || !got.long {
				y.t.Fatalf("%s: the read at %#x failed, and argument %d is at %#x", y, addr, i, k.regs[i])
			}
		}
	}
}

// TestReadsAreWhatTheCallGets makes random calls, with memory that stays and with
// memory that changes between any two reads of it.
func TestReadsAreWhatTheCallGets(t *testing.T) {
	seed, n := env("PORTCULLIS_FUZZ", 1), env("PORTCULLIS_FUZZ_N", 1200)
	set := new(Set) // used again and again, as it is meant to be
	good, bad, inner := 0, 0, 0
	for ; n > 0; seed, n = seed+1, n-1 {
		data := make([]byte, 900)
		rand.New(rand.NewSource(seed)).Read(data)
		y := newTry(t, set, data)
		y.run()
		good, bad = good+len(y.good), bad+len(y.bad)
		for _, p := range y.set.pieces[:y.set.count] {
			if p.pinned() && p.addr != y.regs[0] && !contains(y.regs, p.addr) {
				inner++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d reads, %d failed, %d copies behind arrays", good, bad, inner)
	if good < bad/4 || bad < good/4 || inner == 0 {
		t.Errorf("%d reads, %d failed, %d copies behind arrays: expected plenty of each", good, bad, inner)
	}
}

func contains(regs [6]uint64, addr uint64) bool {
	for _, r := range regs {
		if r == addr {
			return true
		}
	}
	return false
}

func env(name string, value int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return value
}

// FuzzSet is the same for a fuzzer.
func FuzzSet(f *testing.F) {
	for seed := int64(1); seed < 30; seed++ {
		data := make([]byte, 300)
		rand.New(rand.NewSource(seed)).Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { newTry(t, new(Set), data).run() })
}
