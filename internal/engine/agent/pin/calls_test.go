package pin

import (
	"bytes"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/maps"
)

// TestEveryArgument pins each argument that may be of every call, in each of its
// forms, and reads it back as the kernel would.
func TestEveryArgument(t *testing.T) {
	set := new(Set)
	forms, calls := 0, args.All()
	for _, c := range calls {
		for i, a := range c.Args {
			if _, ok := a.Pinnable(); ok {
				every(t, set, c, i, a, nil)
				forms++
			}
		}
		for _, k := range c.Cases() {
			if _, ok := k.Is.Pinnable(); ok {
				every(t, set, c, int(k.Arg), k.Is, k.When)
				forms++
			}
		}
	}
	t.Logf("%d forms of arguments of %d calls", forms, len(calls))
	if forms < 290 || len(calls) < 385 {
		t.Errorf("%d forms of arguments of %d calls: fewer than there were", forms, len(calls))
	}
}

// every pins argument i of c, which is a where the tests hold.
func every(t *testing.T, s *Set, c args.Call, i int, a args.Arg, when []args.When) {
	var regs [6]uint64
	for j := range regs {
		if regs[j] = 39; c.Args[j].Dir != args.NoMemory {
			regs[j] = hole
		}
	}
	if a.Count.Bytes != 0 {
		regs[a.Count.Arg] = 39
	}
	for _, w := range when {
		regs[w.Arg] = w.Value
	}
	regs[i] = here + 8
	if got := c.Arg(i, regs); got != a {
		t.Errorf("%s.%d is %+v with %#x, want %+v", c.Name, i, got, regs, a)
		return
	}
	r := &reader{memory: memory{}}
	r.write(here, bytes.Repeat([]byte{40, 0, 0, 0, 'a', 'b', 'c', 'd'}, 512))
	r.write(here+8+8*39, make([]byte, 8))
	s.Reset(&abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64, Args: regs}, r)
	before := (&kernel{memory: r.memory, regs: regs}).arg(a, regs[i])
	b := make([]byte, len(before.bytes))
	if e := s.Read(b, regs[i]); e != maps.OK || !bytes.Equal(b, before.bytes) {
		t.Errorf("%s.%d: error %d, %d bytes %q, want %q", c.Name, i, e, len(b), b, before.bytes)
		return
	}
	k, redirects := after(s, r.memory)
	r.flip()
	if got := k.arg(a, k.regs[i]); redirects.Mask != 1<<i || k.regs[i]-base >= SlotBytes || !bytes.Equal(got.bytes, before.bytes) || got.fault {
		t.Errorf("%s.%d: registers %+v, bytes %q, want %q", c.Name, i, redirects, got.bytes, before.bytes)
	}
}

// The copies of nested arguments are found by the addresses in the copies.
func TestBehindArrays(t *testing.T) {
	for _, k := range []struct {
		name, call string
		regs       [6]uint64
		memory     func(memory)
		reads      []span // whole; 0 bytes is a string
		want       string // what is read there, in order
	}{
		{
			"argv", "execve",
			[6]uint64{here, there},
			func(m memory) {
				m.write(here, []byte("/bin/sh\x00-c\x00id\x00"))
				m.word(there, here)
				m.word(there+8, here+8)
				m.word(there+16, here+11)
			},
			[]span{{there, 32}, {here + 8, 0}, {here + 11, 0}},
			"-c id ",
		},
		{
			"buffers", "writev",
			[6]uint64{1, there, 2},
			func(m memory) {
				m.write(here, []byte("hello, world"))
				m.word(there, here)
				m.word(there+8, 5)
				m.word(there+16, here+7)
				m.word(there+24, 5)
			},
			[]span{{there, 32}, {here + 7, 5}},
			"world",
		},
		{
			"message", "sendmsg",
			[6]uint64{1, there},
			func(m memory) {
				m.write(here, []byte("name-and-control-and-data"))
				msghdr(m, there, here, 4, there+0x100, 1, here+9, 7)
				m.word(there+0x100, here+21)
				m.word(there+0x108, 4)
			},
			[]span{{there, 56}, {here, 4}, {here + 9, 7}, {there + 0x100, 16}, {here + 21, 4}},
			"namecontroldata",
		},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, r := call(t, k.call, k.regs[:]...)
			k.memory(r.memory)
			got := ""
			for i, x := range k.reads {
				text, e := s.bytes(int(x.n), x.addr)
				if x.n == 0 {
					text, e = s.text(64, x.addr)
					text += " "
				}
				if e != maps.OK {
					t.Fatalf("read %d: error %d", i, e)
				}
				if i > 0 && (k.call != "sendmsg" || x.addr != there+0x100) {
					got += text
				}
			}
			if got != k.want {
				t.Errorf("read %q, want %q", got, k.want)
			}
			kern, _ := after(s, r.memory)
			r.flip()
			a, _ := args.Of(uint32(s.nr))
			if got := pinnedText(kern.arg(a.Arg(1, s.regs), kern.regs[1])); got != k.want {
				t.Errorf("the kernel takes %q, want %q", got, k.want)
			}
		})
	}
}

// pinnedText is what the kernel takes by way of addresses in a slot, in the order of
// those addresses.
func pinnedText(t taken) (text string) {
	for _, at := range []int{0, 8, 16, 32} {
		in, ok := t.inner[at]
		switch {
		case !ok || in.fault || in.at < base || in.at >= faulting:
		case in.inner != nil:
			defer func(in taken) { text += pinnedText(in) }(in)
		case in.bytes[len(in.bytes)-1] == 0:
			text += string(in.bytes[:len(in.bytes)-1]) + " "
		default:
			text += string(in.bytes)
		}
	}
	return text
}

// What fails behind an array is redirected there; what could not be noted fails the
// array.
func TestFailuresBehindArrays(t *testing.T) {
	s, r := call(t, "writev", 1, there, 3)
	r.write(here, []byte("hello"))
	for i, v := range []uint64{here, 5, hole, 5, here, 6} {
		r.word(there+8*uint64(i), v)
	}
	s.bytes(48, there)
	if _, e := s.bytes(5, hole); e != maps.EFAULT {
		t.Errorf("error %d", e)
	}
	if got, e := s.bytes(5, here); e != maps.OK || got != "hello" {
		t.Errorf("%q, error %d", got, e)
	}
	k, _ := after(s, r.memory)
	if a, b, c := word(k.slot, 0), word(k.slot, 16), word(k.slot, 32); a < base || a >= faulting || b != faulting || c < base || c == a || c >= faulting {
		t.Errorf("addresses %#x, %#x, %#x", a, b, c)
	}
	if word(k.slot, 8) != 5 || word(k.slot, 24) != 5 || word(k.slot, 40) != 6 {
		t.Errorf("lengths are changed: %x", k.slot[:48])
	}
}

func TestTooManyFailuresBehindAnArray(t *testing.T) {
	s, r := call(t, "execve", here, there, 0)
	r.write(here, []byte(path("/bin/sh")))
	for i := uint64(0); i < 2*maxPieces; i++ {
		r.word(there+8*i, hole+i)
	}
	r.word(there+16*maxPieces, 0)
	s.text(64, here)
	s.bytes(8, there)
	if _, e := s.text(64, hole+maxPieces*2-1); e != maps.EFAULT {
		t.Errorf("error %d", e)
	}
	if _, regs := s.Place(make([]byte, SlotBytes), base, faulting); redirected(regs) != "sf" || s.count > maxPieces {
		t.Errorf("%+v, %d pieces", regs, s.count)
	}
}

func TestTooManyCopiesBehindAnArray(t *testing.T) {
	s, r := call(t, "execve", here, there, 0)
	r.write(here, []byte(path("/bin/sh")))
	for i := uint64(0); i < 2*maxPieces; i++ {
		r.word(there+8*i, here+0x2000+2*i)
		r.write(here+0x2000+2*i, []byte(path("x")))
	}
	r.word(there+16*maxPieces, 0)
	s.bytes(8, there)
	var e maps.Errno
	n := uint64(0)
	for ; e == maps.OK && n < 2*maxPieces; n++ {
		_, e = s.text(64, here+0x2000+2*n)
	}
	if e != maps.E2BIG || n < maxPieces/2 || s.count > maxPieces {
		t.Errorf("error %d after %d strings, %d pieces", e, n, s.count)
	}
	if _, regs := s.Place(make([]byte, SlotBytes), base, faulting); redirected(regs) != ".f" {
		t.Errorf("%+v", regs)
	}
	if _, e := s.text(64, here); e != maps.OK {
		t.Errorf("the path has no room: %d", e)
	}
}

// What changes between the copies of two arguments that overlap fails both.
func TestCopiesThatDisagree(t *testing.T) {
	s, r := call(t, "rename", here, here+1)
	r.write(here, []byte(path("old")))
	s.text(64, here)
	r.write(here+1, []byte(path("xy")))
	if _, e := s.text(64, here+1); e != maps.EFAULT {
		t.Errorf("error %d", e)
	}
	if _, regs := s.Place(make([]byte, SlotBytes), base, faulting); redirected(regs) != "ff" {
		t.Errorf("%+v", regs)
	}
}

// The length of a copy is the one in it.
func TestLengthIsReadOnce(t *testing.T) {
	s, r := call(t, "statmount", here)
	r.write(here, []byte{24, 0, 0, 0})
	r.before = func() { r.page(here)[0] += 8 }
	if b, e := s.bytes(32, here); e != maps.OK || b[0] != 32 {
		t.Errorf("error %d, length %d", e, b[0])
	}
	if s.Size() != 32 || s.slot[0] != 32 {
		t.Errorf("%d bytes, which say that they are %d", s.Size(), s.slot[0])
	}
}

// What keeps its offset within a page can fill a slot before MaxPin is reached.
func TestBuffersThatFillTheSlot(t *testing.T) {
	s, r := call(t, "writev", 1, there, 32)
	r.write(here, make([]byte, 2*pageSize))
	for i := uint64(0); i < 32; i++ {
		r.word(there+16*i, here+700*(32-i)%pageSize)
		r.word(there+16*i+8, 520)
	}
	s.bytes(16*32, there)
	n := uint64(0)
	var e maps.Errno
	for ; e == maps.OK && n < 32; n++ {
		_, e = s.bytes(1, here+700*(32-n)%pageSize)
	}
	if e != maps.E2BIG || n < 4 || s.Size() > SlotBytes || s.counted > args.MaxPin {
		t.Errorf("error %d after %d buffers, %d bytes", e, n, s.Size())
	}
}
