package pin

import (
	"bytes"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
)

// call is a call of a name with these registers, whose memory is empty.
func call(t testing.TB, name string, regs ...uint64) (*Set, *reader) {
	t.Helper()
	nr, ok := syscalls.Number(name)
	if !ok {
		t.Fatalf("no call %s", name)
	}
	d := abi.SeccompData{Nr: int32(nr), Arch: abi.ArchX86_64}
	copy(d.Args[:], regs)
	s, r := new(Set), &reader{memory: memory{}}
	s.Reset(&d, r)
	return s, r
}

// text reads a string of at most room bytes.
func (s *Set) text(room int, addr uint64) (string, maps.Errno) {
	b := bytes.Repeat([]byte{0xaa}, room)
	n, e := s.ReadString(b, addr)
	if n > 0 {
		return string(b[:n-1]), e
	}
	return "", e
}

func (s *Set) bytes(n int, addr uint64) (string, maps.Errno) {
	b := bytes.Repeat([]byte{0xaa}, n)
	e := s.Read(b, addr)
	return string(b), e
}

// Addresses of tests.
const (
	here  = 0x10000
	there = 0x20000
	hole  = 0x30000 // nothing is there
)

func path(data string) string { return data + "\x00" }

func TestPathIsRedirected(t *testing.T) {
	s, r := call(t, "openat", 3, here+8, 0, 0)
	r.write(here, []byte(path("12345678/etc/passwd")))
	if got, e := s.text(64, here+8); got != "/etc/passwd" || e != maps.OK {
		t.Fatalf("%q, %d", got, e)
	}
	r.write(here, []byte(path("12345678/etc/shadow")))
	if got, e := s.bytes(6, here+13); got != "passwd" || e != maps.OK {
		t.Errorf("the rest is %q, %d", got, e)
	}
	dst := make([]byte, s.Size())
	n, regs := s.Place(dst, base, faulting)
	if n != 12 || string(dst) != path("/etc/passwd") || regs != (Redirects{Mask: 2, Args: [6]uint64{1: base}}) {
		t.Errorf("placed %d bytes %q, %+v", n, dst, regs)
	}
	if r.reads != 1 || s.Empty() || s.Refused() {
		t.Errorf("%d reads, empty %v, refused %v", r.reads, s.Empty(), s.Refused())
	}
}

func TestWhatNobodyReadsStays(t *testing.T) {
	s, _ := call(t, "openat", 3, here)
	if n, regs := s.Place(nil, base, faulting); !s.Empty() || s.Size() != 0 || n != 0 || regs != (Redirects{}) {
		t.Errorf("%d bytes, %+v", n, regs)
	}
	s, r := call(t, "rename", here, there)
	r.write(here, []byte(path("old")))
	r.write(there, []byte(path("new")))
	if got, e := s.text(8, there); got != "new" || e != maps.OK {
		t.Fatalf("%q, %d", got, e)
	}
	if _, regs := s.Place(make([]byte, SlotBytes), base, faulting); regs.Mask != 2 {
		t.Errorf("%+v", regs)
	}
}

// Registers that point to one place still do.
func TestEqualArgumentsShareACopy(t *testing.T) {
	s, r := call(t, "link", here, here)
	r.write(here, []byte(path("both")))
	s.text(8, here)
	_, regs := s.Place(make([]byte, SlotBytes), base, faulting)
	if regs != (Redirects{Mask: 3, Args: [6]uint64{base, base}}) || r.reads != 1 || s.Size() != 5 {
		t.Errorf("%+v, %d reads, %d bytes", regs, r.reads, s.Size())
	}
}

// redirected are the registers that keep their value (.), point to the slot (s), or
// fault (f).
func redirected(regs Redirects) string {
	b := []byte("......")
	for i, a := range regs.Args {
		switch {
		case regs.Mask&(1<<i) == 0:
		case a == faulting:
			b[i] = 'f'
		default:
			b[i] = 's'
		}
	}
	return strings.TrimRight(string(b), ".")
}

// TestErrors has for each call what the memory holds, reads in order with their errors,
// and what becomes of the registers.
func TestErrors(t *testing.T) {
	type read struct {
		kind string // b for bytes, s for a string
		n    int
		addr uint64
		want maps.Errno
	}
	const notsup = interp.EOPNOTSUPP
	long := strings.Repeat("x", 4096)
	for _, k := range []struct {
		name, call string
		regs       [6]uint64
		memory     string // at here
		reads      []read
		want       string
	}{
		{"no argument", "openat", [6]uint64{3, here}, path("a"), []read{{"s", 9, there, maps.EFAULT}}, "ffffff"},
		{"a number is no argument", "openat", [6]uint64{here, there}, path("a"), []read{{"s", 9, here, maps.EFAULT}}, "ffffff"},
		{"behind the string", "openat", [6]uint64{3, here}, path("a"), []read{{"s", 9, here + 2, maps.EFAULT}}, ".f"},
		{"too long for the filter", "openat", [6]uint64{3, here}, path("abc"), []read{{"s", 3, here, maps.E2BIG}}, ".f"},
		{"no room at all", "openat", [6]uint64{3, here}, path("abc"), []read{{"s", 0, here, maps.E2BIG}}, ".f"},
		{"just fits", "openat", [6]uint64{3, here}, path("abc"), []read{{"s", 4, here, 0}}, ".s"},
		{"failed once", "openat", [6]uint64{3, here}, path("abc"), []read{{"s", 3, here, maps.E2BIG}, {"s", 9, here, maps.E2BIG}}, ".f"},
		{"failed afterwards", "openat", [6]uint64{3, here}, path("abc"), []read{{"s", 9, here, 0}, {"b", 5, here, maps.EFAULT}}, ".f"},
		{"the NUL is read, too", "openat", [6]uint64{3, here}, path("abc"), []read{{"b", 4, here, 0}}, ".s"},
		{"nothing is nothing", "openat", [6]uint64{3, here}, path("abc"), []read{{"b", 0, here, 0}}, ""},
		{"path without an end", "openat", [6]uint64{3, here}, long, []read{{"s", 9, here, maps.E2BIG}, {"s", 8192, here, maps.E2BIG}}, ".s"},
		{"bytes of a path without an end", "openat", [6]uint64{3, here}, long, []read{{"b", 4096, here, 0}, {"b", 4097, here, maps.EFAULT}}, ".s"},
		{"longest path", "openat", [6]uint64{3, here}, path(long[1:]), []read{{"s", 4096, here, 0}}, ".s"},
		{"string that is cut", "prctl", [6]uint64{15, here}, long, []read{{"s", 16, here, 0}, {"b", 15, here, 0}}, ".s"},
		{"string that is cut, and too long for the filter", "prctl", [6]uint64{15, here}, long, []read{{"s", 15, here, maps.E2BIG}}, ".f"},
		{"string that its call refuses", "removexattr", [6]uint64{here, here + 9}, path("/x") + long, []read{{"s", 512, here + 9, maps.E2BIG}}, ".s"},
		{"string that its call refuses, beside another", "removexattr", [6]uint64{here + 191, here}, path(strings.Repeat("n", 190)) + long, []read{{"s", 9, here + 191, maps.E2BIG}, {"s", 256, here, 0}}, "ss"},
		{"buffer as long as all memory", "write", [6]uint64{3, here, 1<<64 - 1}, long, []read{{"b", 1, here - 1, maps.EFAULT}}, "ffffff"},
		{"other string, longest", "prctl", [6]uint64{15, here}, path(long[:14]), []read{{"s", 64, here, 0}}, ".s"},
		{"memory that is not there", "openat", [6]uint64{3, hole}, "", []read{{"s", 9, hole, maps.EFAULT}}, ".f"},
		{"path into memory that is not there", "openat", [6]uint64{3, here + 4094}, long, []read{{"s", 9, here + 4094, maps.EFAULT}}, ".f"},
		{"no path", "futimesat", [6]uint64{3, 0, here}, long, []read{{"s", 9, 0, maps.EFAULT}}, ""},
		{"path at 0", "openat", [6]uint64{3, 0}, "", []read{{"s", 9, 0, maps.EFAULT}}, ".f"},
		{"structure", "nanosleep", [6]uint64{here}, long, []read{{"b", 16, here, 0}, {"b", 8, here + 8, 0}}, "s"},
		{"beyond a structure", "nanosleep", [6]uint64{here}, long, []read{{"b", 16, here, 0}, {"b", 8, here + 9, maps.EFAULT}}, "f"},
		{"read and written at one place", "nanosleep", [6]uint64{here, here}, long, []read{{"b", 16, here, 0}}, "s"},
		{"failed and written at one place", "nanosleep", [6]uint64{here, here}, long, []read{{"b", 17, here, maps.EFAULT}}, "ff"},
		{"what is written", "read", [6]uint64{3, here, 9}, long, []read{{"b", 1, here, notsup}}, ".f"},
		{"behind what is written", "read", [6]uint64{3, here, 9}, long, []read{{"b", 1, here + 1, maps.EFAULT}}, "ffffff"},
		{"behind a null pointer", "sendto", [6]uint64{3, here, 9}, long, []read{{"b", 2, 2, maps.EFAULT}}, ""},
		{"within what is kept", "sendto", [6]uint64{3, here, 64, 0x4000000}, long, []read{{"b", 4, here + 4, maps.EFAULT}}, "ffffff"},
		{"within what is read and written", "bpf", [6]uint64{0, here, 72}, long, []read{{"b", 4, here + 8, maps.EFAULT}}, "ffffff"},
		{"behind an array that is not read", "writev", [6]uint64{3, here, 1}, long, []read{{"b", 4, there, maps.EFAULT}}, "ffffff"},
		{"what is kept", "rseq", [6]uint64{here, 32}, long, []read{{"b", 1, here, notsup}}, "f"},
		{"an address", "futex", [6]uint64{here, 0, 0, there}, long, []read{{"b", 4, here, notsup}}, "f"},
		{"pinned at the place of what is not", "futex", [6]uint64{here, 0, 0, here}, long, []read{{"b", 4, here, notsup}}, "f..f"},
		{"array", "connect", [6]uint64{3, here, 20}, long, []read{{"b", 20, here, 0}, {"b", 2, here, 0}}, ".s"},
		{"beyond an array", "connect", [6]uint64{3, here, 20}, long, []read{{"b", 21, here, maps.EFAULT}}, ".f"},
		{"empty array", "connect", [6]uint64{3, here, 0}, long, []read{{"b", 1, here, maps.EFAULT}}, ".f"},
		{"string in an array", "connect", [6]uint64{3, here, 20}, "ab" + path("/sock") + long, []read{{"s", 64, here + 2, 0}}, ".s"},
		{"string without an end in an array", "connect", [6]uint64{3, here, 20}, long, []read{{"s", 64, here + 2, maps.EFAULT}}, ".f"},
		{"string too long in an array", "connect", [6]uint64{3, here, 20}, long, []read{{"s", 8, here + 2, maps.E2BIG}}, ".f"},
		{"array of more than may be pinned", "write", [6]uint64{3, here, 64<<10 + 1}, long, []read{{"b", 1, here, maps.E2BIG}}, ".f"},
		{"sized", "statmount", [6]uint64{here}, "\x18\x00\x00\x00" + long, []read{{"b", 24, here, 0}}, "s"},
		{"beyond its size", "statmount", [6]uint64{here}, "\x18\x00\x00\x00" + long, []read{{"b", 25, here, maps.EFAULT}}, "f"},
		{"of no size", "statmount", [6]uint64{here}, "\x00\x00\x00\x00" + long, []read{{"b", 4, here, 0}}, "s"},
		{"of a size beyond all", "open_by_handle_at", [6]uint64{3, here}, "\xff\xff\xff\xff" + long, []read{{"b", 136, here, 0}}, ".s"},
		{"size without the rest", "statmount", [6]uint64{here + 4092}, long[:4092] + "\x18\x00\x00\x00", []read{{"b", 4, here + 4092, maps.EFAULT}}, "f"},
		{"readable", "mount", [6]uint64{0, 0, 0, 0, here + 4000}, long, []read{{"b", 4096, here + 4000, 0}}, "....s"},
		{"not readable", "mount", [6]uint64{0, 0, 0, 0, hole}, long, []read{{"b", 1, hole, maps.EFAULT}}, "....f"},
		{"near another string", "rename", [6]uint64{here, here + 4}, path("old") + path("new"), []read{{"s", 9, here + 4, 0}}, ".s"},
		{"within another string", "rename", [6]uint64{here, here + 1}, path("old") + path("new"), []read{{"s", 9, here + 1, 0}}, "ss"},
		{"before another string", "rename", [6]uint64{here, here + 1}, path("old") + path("new"), []read{{"s", 9, here, 0}}, "s"},
		{"two that end alike, one too long", "rename", [6]uint64{here, here + 1}, path("old"), []read{{"s", 3, here, maps.E2BIG}}, "f"},
		{"one beyond the other", "setxattr", [6]uint64{here, there, here + 1, 3}, path("old") + "more", []read{{"b", 3, here + 1, 0}}, "s.s"},
	} {
		t.Run(k.name, func(t *testing.T) {
			s, r := call(t, k.call, k.regs[:]...)
			r.write(here, []byte(k.memory))
			for _, x := range k.reads {
				var e maps.Errno
				if x.kind == "s" {
					_, e = s.text(x.n, x.addr)
				} else {
					_, e = s.bytes(x.n, x.addr)
				}
				if e != x.want {
					t.Errorf("%s of %d bytes at %#x: error %d, want %d", x.kind, x.n, x.addr, e, x.want)
				}
			}
			_, regs := s.Place(make([]byte, SlotBytes), base, faulting)
			if got := redirected(regs); got != k.want {
				t.Errorf("registers %q, want %q", got, k.want)
			}
			if s.Empty() != (k.want == "") {
				t.Errorf("empty: %v", s.Empty())
			}
		})
	}
}

// A failed read leaves zeroes, and a good one zeroes behind a string.
func TestNothingIsLeftBehind(t *testing.T) {
	s, r := call(t, "openat", 3, here)
	r.write(here, []byte(path("abc")))
	b := bytes.Repeat([]byte{1}, 8)
	if _, e := s.ReadString(b, here); e != maps.OK || string(b) != "abc\x00\x00\x00\x00\x00" {
		t.Errorf("%q", b)
	}
	for _, f := range []func([]byte){
		func(b []byte) { s.Read(b, here) },
		func(b []byte) { s.ReadString(b, there) },
	} {
		b := bytes.Repeat([]byte{1}, 8)
		if f(b); !bytes.Equal(b, make([]byte, 8)) {
			t.Errorf("%q", b)
		}
	}
}

func TestCallsOfOtherTablesAreRefused(t *testing.T) {
	for _, d := range []abi.SeccompData{
		{Nr: 5, Arch: abi.ArchI386, Args: [6]uint64{here}},
		{Nr: 2 | abi.X32Bit, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
		{Nr: 420, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
		{Nr: -1, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
	} {
		s, r := new(Set), &reader{memory: memory{}}
		r.write(here, []byte(path("abc")))
		s.Reset(&d, r)
		if !s.Empty() || s.Refused() {
			t.Errorf("call %d: empty %v, refused %v before a read", d.Nr, s.Empty(), s.Refused())
		}
		if _, e := s.text(8, here); e != interp.EOPNOTSUPP || s.Empty() || !s.Refused() {
			t.Errorf("call %d: error %d, empty %v, refused %v", d.Nr, e, s.Empty(), s.Refused())
		}
		if _, regs := s.Place(nil, base, faulting); redirected(regs) != "ffffff" {
			t.Errorf("call %d: %+v", d.Nr, regs)
		}
		s.Reset(&d, r)
		if !s.Empty() || s.Refused() {
			t.Errorf("call %d: it outlives Reset", d.Nr)
		}
	}
}

// Nothing of a call is in the slot of the next.
func TestResetForgets(t *testing.T) {
	s, r := call(t, "setxattr", here, there, here, 4000)
	r.write(here, bytes.Repeat([]byte{7}, 4095))
	r.page(here)[4095] = 0
	s.bytes(4000, here)
	if s.Size() < 8000 {
		t.Fatalf("%d bytes", s.Size())
	}
	s.Reset(&abi.SeccompData{Nr: 86, Arch: abi.ArchX86_64, Args: [6]uint64{there}}, r)
	r.write(there, []byte(path("x")))
	s.text(8, there)
	if s.Size() != 2 || !bytes.Equal(s.slot[2:], make([]byte, SlotBytes-2)) {
		t.Errorf("%d bytes, and more behind", s.Size())
	}
}

// Copies that were not kept leave nothing either.
func TestFailedCopiesLeaveNothing(t *testing.T) {
	s, r := call(t, "mount", here, here+8, here+4000, 0, here+4095)
	r.write(here, bytes.Repeat([]byte("abcdefg\x00"), 512))
	r.page(here)[4095] = 'h'
	s.text(4, here+8)
	s.text(64, here+4000)
	s.text(64, here+4095)
	seen := make([]bool, SlotBytes)
	for _, p := range s.pieces[:s.count] {
		for i := p.off; p.n != none && i < p.off+p.n; i++ {
			seen[i] = true
		}
	}
	for i, b := range s.slot {
		if b != 0 && !seen[i] {
			t.Fatalf("byte %d is %#x", i, b)
		}
	}
}

func TestCloneKeepsItsCopies(t *testing.T) {
	s, r := call(t, "rename", here, there)
	r.write(here, []byte(path("old")))
	r.write(there, []byte(path("new")))
	s.text(8, here)
	c := s.Clone()
	s.Reset(&abi.SeccompData{Nr: 2, Arch: abi.ArchX86_64, Args: [6]uint64{there}}, r)
	s.text(8, there)
	dst := make([]byte, SlotBytes)
	n, regs := c.Place(dst, base, faulting)
	if string(dst[:n]) != path("old") || redirected(regs) != "s" {
		t.Errorf("%q, %+v", dst[:n], regs)
	}
	if _, e := c.text(8, there); e != interp.EOPNOTSUPP || !c.Refused() {
		t.Errorf("a clone still reads: %d, refused: %v", e, c.Refused())
	}
}

// Buffers keep their offset within a page, which direct I/O asks for.
func TestOffsetsWithinAPage(t *testing.T) {
	for _, k := range []struct {
		name string
		regs []uint64
		size uint64
	}{
		{"write", []uint64{3, here + 512, 4096}, 4096},
		{"write", []uint64{3, here + 4095, 65536}, 65536},
		{"pwrite64", []uint64{3, here, 512}, 512},
	} {
		s, r := call(t, k.name, k.regs...)
		for i := uint64(0); i < 18; i++ {
			r.page(here + i*pageSize)
		}
		if _, e := s.bytes(int(k.size), k.regs[1]); e != maps.OK {
			t.Fatalf("%s: error %d", k.name, e)
		}
		_, regs := s.Place(make([]byte, SlotBytes), base, faulting)
		if (regs.Args[1]-k.regs[1])%pageSize != 0 || s.Size() > SlotBytes {
			t.Errorf("%s at %#x is redirected to %#x", k.name, k.regs[1], regs.Args[1])
		}
	}
}

// As much as may be pinned fits a slot, wherever it is and with what has a limit of
// its own before it.
func TestSlotIsLargeEnough(t *testing.T) {
	s, r := call(t, "fsconfig", 3, 2, here, there+4095, args.MaxPin)
	r.write(there, bytes.Repeat([]byte{1}, 18*pageSize))
	r.write(here, []byte(path(strings.Repeat("k", 255))))
	if _, e := s.text(256, here); e != maps.OK {
		t.Errorf("error %d", e)
	}
	if _, e := s.bytes(args.MaxPin, there+4095); e != maps.OK {
		t.Errorf("error %d", e)
	}
	if most := args.MaxPin + 6*(pageSize+align); SlotBytes < most {
		t.Errorf("a slot has %d bytes, want %d", SlotBytes, most)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s, r := call(t, "sendmsg", 3, here)
	msghdr(r.memory, here, there, 16, there+64, 2, there+512, 24)
	r.word(there+64, there+128)
	r.word(there+72, 8)
	d := abi.SeccompData{Nr: s.nr, Arch: s.arch, Args: s.regs}
	b, dst := make([]byte, 64), make([]byte, SlotBytes)
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(&d, r)
		s.Read(b[:56], here)
		s.Read(b[:16], there)
		s.Read(b[:32], there+64)
		s.Read(b[:8], there+128)
		s.ReadString(b, there+512)
		s.Read(b, hole)
		s.Place(dst, base, faulting)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// msghdr writes a struct msghdr.
func msghdr(m memory, at, name uint64, namelen uint32, iov, iovlen, control, controllen uint64) {
	for i, v := range []uint64{name, uint64(namelen), iov, iovlen, control, controllen, 0} {
		m.word(at+8*uint64(i), v)
	}
}
