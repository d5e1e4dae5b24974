package pin

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/kit"
	"portcullis/internal/maps"
)

// port is kernel/seccomp_ebpf_pin.c of the kernel engine in a process of its own, that
// reads the memory of a call from here.
type port struct {
	t   testing.TB
	in  *bufio.Writer
	out *bufio.Reader
}

// portFiles are what the process is made of, by their paths in the kernel's source.
var portFiles = []string{"include/linux/seccomp_ebpf_args.h", "kernel/seccomp_ebpf_slot.h", "kernel/seccomp_ebpf_pin.h", "kernel/seccomp_ebpf_pin.c"}

// startPort compiles the port and starts it.
func startPort(t testing.TB) *port {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc: to compile the kernel's C in user space")
	}
	dir := t.TempDir()
	for _, name := range portFiles {
		install(t, filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, "kernel/"))), kernelSource(t, name))
	}
	for _, name := range []string{
		"linux/audit", "linux/bits", "linux/err", "linux/errno", "linux/kernel", "linux/minmax", "linux/mm", "linux/nospec",
		"linux/overflow", "linux/seccomp", "linux/slab", "linux/string", "linux/types", "linux/uaccess", "asm/page", "asm/unistd",
	} {
		install(t, filepath.Join(dir, "include", filepath.FromSlash(name)+".h"), []byte("#include \"shim.h\"\n"))
	}
	bin := filepath.Join(dir, "serve")
	gcc := exec.Command("gcc", "-std=gnu11", "-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover", "-Wall", "-Werror",
		"-I", "testdata/kernel", "-I", filepath.Join(dir, "include"), "-I", dir,
		"-o", bin, "testdata/kernel/serve.c", filepath.Join(dir, "seccomp_ebpf_pin.c"))
	if text, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return serve(t, exec.Command(bin))
}

func serve(t testing.TB, cmd *exec.Cmd) *port {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the port: %v", err)
		}
	})
	return &port{t: t, in: bufio.NewWriterSize(in, 1<<17), out: bufio.NewReaderSize(out, 1<<17)}
}

func install(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// kernelSource is a file that one patch adds.
func kernelSource(t testing.TB, name string) []byte {
	t.Helper()
	text, err := kit.InPatches("../../../..", name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (p *port) put(words ...uint64) {
	for _, w := range words {
		p.in.Write(binary.LittleEndian.AppendUint64(nil, w))
	}
	p.in.Flush()
}

func (p *port) fill(b []byte) {
	if _, err := io.ReadFull(p.out, b); err != nil {
		p.t.Fatalf("the port: %v", err)
	}
}

func (p *port) get() uint64 {
	var b [8]byte
	p.fill(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// everything is SECCOMP_PIN_ALL.
const everything = 1<<18 - 1

// begin has the port copy what mask says, and serves its memory.
func (p *port) begin(d *abi.SeccompData, mask uint64, r Reader) {
	p.put('B', uint64(uint32(d.Nr)), uint64(d.Arch))
	p.put(d.Args[:]...)
	p.put(mask)
	for p.get() == 'M' {
		addr, b := p.get(), []byte(nil)
		if n := p.get(); n <= SlotBytes {
			b = make([]byte, n)
		}
		n, _ := r.ReadUser(b, addr)
		p.put(uint64(n))
		p.in.Write(b[:n])
		p.in.Flush()
	}
	if e := p.get(); e != 0 {
		p.t.Fatalf("begin: %d", int32(e))
	}
}

func (p *port) read(dst []byte, addr uint64) maps.Errno {
	p.put('R', addr, uint64(len(dst)))
	return -maps.Errno(int32(p.result(dst)))
}

func (p *port) readString(dst []byte, addr uint64) (int, maps.Errno) {
	p.put('S', addr, uint64(len(dst)))
	n := int32(p.result(dst))
	if n < 0 {
		return 0, maps.Errno(-n)
	}
	return int(n), maps.OK
}

func (p *port) result(dst []byte) uint64 {
	n := p.get()
	p.fill(dst)
	return n
}

// placed is what the port makes of a call.
type placed struct {
	err              maps.Errno
	refused, touched bool
	Redirects
	slot   []byte
	pieces []portPiece
}

type portPiece struct {
	off     uint64
	n       int32 // none for no copy
	err     uint64
	touched bool
}

func (p *port) place() *placed {
	p.put('P')
	k := &placed{slot: make([]byte, SlotBytes)}
	k.err = maps.Errno(-int32(p.get()))
	k.refused, k.touched, k.Mask = p.get() != 0, p.get() != 0, uint8(p.get())
	for i := range k.Args {
		k.Args[i] = p.get()
	}
	p.fill(k.slot)
	for n := p.get(); n > 0; n-- {
		k.pieces = append(k.pieces, portPiece{p.get(), int32(p.get()), p.get(), p.get() != 0})
	}
	return k
}

// after is the kernel that makes the call with those registers.
func (k *placed) after(m memory, regs [6]uint64) *kernel {
	for i := range regs {
		if k.Mask&(1<<i) != 0 {
			regs[i] = k.Args[i]
		}
		if k.err != maps.OK {
			regs[i] = faulting // it is not made
		}
	}
	return &kernel{memory: m, slot: k.slot, regs: regs}
}

// limited tells that not everything had room, so that it depends on the order of
// copying what has.
func (k *placed) limited() bool {
	for _, p := range k.pieces {
		if p.err == uint64(maps.E2BIG) {
			return true
		}
	}
	return len(k.pieces) == portPieces
}

// portPieces is how many the port has room for: SECCOMP_PIN_REGS and _NESTED.
const portPieces = 6 + 1088

// pair is a Set and its port, which are told the same.
type pair struct {
	t    testing.TB
	set  *Set
	port *port
	call args.Call
	regs [6]uint64
	mem  memory
	// limited is said of the copies, before anything was read.
	limited bool
}

// differs ends a comparison.
var errDiffers = errors.New("differs")

func (y *pair) begin() {
	d := &abi.SeccompData{Nr: int32(y.call.Nr), Arch: abi.ArchX86_64, Args: y.regs}
	y.set.Reset(d, &reader{memory: y.mem})
	y.port.begin(d, everything, &reader{memory: y.mem})
	y.limited = y.port.place().limited() // nothing is touched, so nothing changes
}

// read compares a read of both.
func (y *pair) read(dst []byte, addr uint64, text bool) (n int, e maps.Errno, err error) {
	other := make([]byte, len(dst))
	var m int
	var f maps.Errno
	if text {
		n, e = y.set.ReadString(dst, addr)
		m, f = y.port.readString(other, addr)
	} else {
		n, m = len(dst), len(dst)
		e, f = y.set.Read(dst, addr), y.port.read(other, addr)
	}
	if n != m || e != f || !bytes.Equal(dst, other) {
		if !y.limited {
			y.t.Errorf("%d bytes at %#x (string %v): the Set has %d, error %d; the port %d, error %d; bytes equal: %v",
				len(dst), addr, text, n, e, m, f, bytes.Equal(dst, other))
		}
		return n, e, errDiffers
	}
	return n, e, nil
}

// finish compares what the call gets, where the memory has changed meanwhile.
func (y *pair) finish() error {
	k, r := after(y.set, y.mem)
	p := y.port.place()
	y.mem.flip()
	defer y.mem.flip()
	if p.touched || p.refused {
		if y.set.Empty() {
			y.t.Errorf("the Set is empty, the port is not")
			return errDiffers
		}
	} else if !y.set.Empty() {
		y.t.Errorf("the port is empty, the Set is not")
		return errDiffers
	}
	if p.refused != y.set.Refused() {
		y.t.Errorf("refused: the Set %v, the port %v", y.set.Refused(), p.refused)
		return errDiffers
	}
	if p.refused {
		return nil
	}
	if p.err != maps.OK { // without a slot there is nowhere to redirect to
		if p.err != maps.EFAULT || r.Mask == 0 || y.set.Size() != 0 {
			y.t.Errorf("the port refuses with error %d, the Set has %+v", p.err, r)
			return errDiffers
		}
		return nil
	}
	q := p.after(y.mem, y.regs)
	for i := range y.regs {
		a := y.call.Arg(i, y.regs)
		if r.Mask&(1<<i) != p.Mask&(1<<i) || k.regs[i] == faulting != (q.regs[i] == faulting) {
			y.t.Errorf("register %d is %#x, in the port %#x", i, k.regs[i], q.regs[i])
			return errDiffers
		}
		if a.Dir == args.NoMemory {
			continue
		}
		if err := y.compare(k.arg(a, k.regs[i]), q.arg(a, q.regs[i])); err != nil {
			y.t.Errorf("argument %d differs from the port's", i)
			return err
		}
		if a.Shape == args.Array && p.Mask&(1<<i) != 0 && q.regs[i] != faulting {
			if n, _ := a.Bytes(y.regs); n >= direct && (q.regs[i]-y.regs[i])%pageSize != 0 {
				y.t.Errorf("argument %d at %#x is redirected to %#x", i, y.regs[i], q.regs[i])
			}
		}
	}
	return nil
}

// compare compares what was taken: addresses by where they lead.
func (y *pair) compare(a, b taken) error {
	if slot := func(x uint64) bool { return x >= base && x < faulting }; slot(a.at) != slot(b.at) ||
		!slot(a.at) && a.at != b.at || a.fault != b.fault || a.long != b.long || len(a.bytes) != len(b.bytes) {
		y.t.Errorf("at %#x fault %v long %v, %d bytes; the port: at %#x fault %v long %v, %d bytes",
			a.at, a.fault, a.long, len(a.bytes), b.at, b.fault, b.long, len(b.bytes))
		return errDiffers
	}
	for i := range a.bytes {
		if _, address := a.inner[i&^7]; !address && a.bytes[i] != b.bytes[i] && !a.fault {
			y.t.Errorf("byte %d at %#x is %#x, in the port %#x", i, a.at, a.bytes[i], b.bytes[i])
			return errDiffers
		}
	}
	for at, in := range a.inner {
		if err := y.compare(in, b.inner[at]); err != nil {
			return err
		}
	}
	return nil
}

// TestPortReadsAlike makes random calls, with memory that stays: whatever is read, the
// port answers as a Set does, and gives the call the same.
func TestPortReadsAlike(t *testing.T) {
	p := startPort(t)
	set := new(Set)
	seed, n := env("PORTCULLIS_FUZZ", 1), env("PORTCULLIS_FUZZ_N", 1200)
	limited, tries := 0, n
	for ; n > 0 && !t.Failed(); seed, n = seed+1, n-1 {
		data := make([]byte, 900)
		rand.New(rand.NewSource(seed)).Read(data)
		y := newTry(t, set, data)
		if !alike(t, y, p) {
			limited++
		}
		if t.Failed() {
			t.Logf("seed %d: %s", seed, y)
		}
	}
	t.Logf("%d of %d calls had no room for everything", limited, tries)
	if limited > int(tries)/5 {
		t.Errorf("%d of %d calls had no room for everything", limited, tries)
	}
}

// alike runs a try on a pair; false if they parted for want of room.
func alike(t testing.TB, y *try, p *port) bool {
	c := &pair{t: t, set: y.set, port: p, call: y.call, regs: y.regs, mem: y.mem}
	c.begin()
	for n := y.src.n(16); n >= 0; n-- {
		addr, most, text := y.target()
		b := make([]byte, most)
		text = text != y.src.one(16)
		k, e, err := c.read(b, addr, text)
		if err != nil {
			return !c.limited
		}
		y.note(b, addr, k, e)
	}
	if c.limited {
		return true
	}
	c.finish()
	return true
}

// TestPortEveryArgument reads each argument that may be pinned of every call, in each of
// its forms.
func TestPortEveryArgument(t *testing.T) {
	p := startPort(t)
	set := new(Set)
	for _, c := range args.All() {
		for i, a := range c.Args {
			if _, ok := a.Pinnable(); ok {
				everyAlike(t, set, p, c, i, a, nil)
			}
		}
		for _, k := range c.Cases() {
			if _, ok := k.Is.Pinnable(); ok {
				everyAlike(t, set, p, c, int(k.Arg), k.Is, k.When)
			}
		}
	}
}

func everyAlike(t *testing.T, s *Set, p *port, c args.Call, i int, a args.Arg, when []args.When) {
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
	m := memory{}
	m.write(here, bytes.Repeat([]byte{40, 0, 0, 0, 'a', 'b', 'c', 'd'}, 512))
	m.write(here+8+8*39, make([]byte, 8))
	y := &pair{t: t, set: s, port: p, call: c, regs: regs, mem: m}
	b := make([]byte, len((&kernel{memory: m, regs: regs}).arg(a, regs[i]).bytes))
	y.begin()
	_, e, err := y.read(b, regs[i], false)
	if e != maps.OK || err != nil {
		t.Errorf("%s.%d: error %d of %d bytes, %v", c.Name, i, e, len(b), err)
		return
	}
	if y.finish() != nil {
		t.Errorf("%s.%d", c.Name, i)
	}
}

// TestPortKeepsItsWord makes random calls, with memory that changes between any two
// reads of it: what the port says was read is what the call gets.
func TestPortKeepsItsWord(t *testing.T) {
	p := startPort(t)
	seed, n := env("PORTCULLIS_FUZZ", 1), env("PORTCULLIS_FUZZ_N", 1200)
	good, bad := 0, 0
	for ; n > 0 && !t.Failed(); seed, n = seed+1, n-1 {
		data := make([]byte, 900)
		rand.New(rand.NewSource(seed)).Read(data)
		y := newTry(t, new(Set), data)
		y.changing = true
		keepsItsWord(y, p)
		good, bad = good+len(y.good), bad+len(y.bad)
		if t.Failed() {
			t.Logf("seed %d: %s", seed, y)
		}
	}
	t.Logf("%d reads, %d failed", good, bad)
	if good < bad/4 || bad < good/4 {
		t.Errorf("%d reads, %d failed: expected plenty of each", good, bad)
	}
}

func keepsItsWord(y *try, p *port) {
	r := y.reader()
	p.begin(&abi.SeccompData{Nr: int32(y.call.Nr), Arch: abi.ArchX86_64, Args: y.regs}, everything, r)
	for n := y.src.n(16); n >= 0; n-- {
		addr, most, text := y.target()
		b := make([]byte, most)
		k, e := len(b), maps.OK
		if text != y.src.one(16) {
			k, e = p.readString(b, addr)
		} else {
			e = p.read(b, addr)
		}
		y.note(b, addr, k, e)
	}
	out := p.place()
	y.set = &Set{refused: out.refused || out.err != maps.OK} // what the checks ask
	if out.touched {
		y.set.count = 1
	}
	k := out.after(y.mem, y.regs)
	for i := range y.regs {
		if out.Mask&(1<<i) == 0 && !y.set.refused {
			y.checkUnpinned(k, i)
		}
	}
	y.mem.flip()
	for i := range y.regs {
		y.checkArg(k, out.Redirects, i)
	}
	for _, r := range y.regs {
		if r > 1<<63 { // the check takes what it is about to reach address 0
			return
		}
	}
	y.checkFailed(k)
}

// TestPortCases has what random calls seldom come to.
func TestPortCases(t *testing.T) {
	p := startPort(t)
	long := strings.Repeat("x", 4096)
	type read struct {
		addr uint64
		n    int
		text bool
	}
	for _, k := range []struct {
		name, call string
		regs       [6]uint64
		words      map[uint64]uint64
		text       map[uint64]string
		reads      []read
	}{
		{
			"one string behind two arrays, read before the second", "execve",
			[6]uint64{here, there, there + 64},
			map[uint64]uint64{there: here + 16, there + 8: 0, there + 64: here + 16, there + 72: 0},
			map[uint64]string{here: path("/bin/sh"), here + 16: path("argument")},
			[]read{{there, 16, false}, {here + 16, 64, true}, {there + 64, 16, false}},
		},
		{
			"one array twice", "execve",
			[6]uint64{here, there, there},
			map[uint64]uint64{there: here + 16, there + 8: 0},
			map[uint64]string{here: path("/bin/sh"), here + 16: path("argument")},
			[]read{{there, 16, false}, {here + 16, 64, true}},
		},
		{
			"a path without an end, and behind it", "openat",
			[6]uint64{3, here},
			nil,
			map[uint64]string{here: long},
			[]read{{here, 4096, false}, {here, 4097, false}},
		},
		{
			"a name without an end, and more of it", "removexattr",
			[6]uint64{here, here + 9},
			nil,
			map[uint64]string{here: path("/x"), here + 9: long},
			[]read{{here + 9, 512, true}, {here + 9, 600, false}, {here, 8, true}},
		},
		{
			"a string that is cut", "prctl",
			[6]uint64{15, here},
			nil,
			map[uint64]string{here: long},
			[]read{{here, 16, true}, {here, 15, false}, {here + 3, 40, true}},
		},
		{
			"in the midst of a string behind an array", "execve",
			[6]uint64{here, there, 0},
			map[uint64]uint64{there: here + 16, there + 8: here + 32, there + 16: 0},
			map[uint64]string{here: path("/bin/sh"), here + 16: path("first"), here + 32: path("second")},
			[]read{{there, 24, false}, {here + 16, 64, true}, {here + 18, 64, true}, {here + 35, 64, true}},
		},
		{
			"a message, of which the middle is not there", "sendmsg",
			[6]uint64{1, there},
			map[uint64]uint64{
				there: here, there + 8: 16, there + 16: there + 0x100, there + 24: 2, there + 32: here + 64, there + 40: 8, there + 48: 0,
				there + 0x100: hole, there + 0x108: 8, there + 0x110: here + 128, there + 0x118: 600,
			},
			map[uint64]string{here: strings.Repeat("message", 200)},
			[]read{{there, 56, false}, {here, 16, false}, {there + 0x100, 32, false}, {hole, 8, false}, {here + 128, 600, false}},
		},
		{
			"a message without a name", "sendmsg",
			[6]uint64{1, there},
			map[uint64]uint64{there: 0, there + 16: there + 0x100, there + 24: 0, there + 32: 0, there + 40: 0, there + 48: 0},
			nil,
			[]read{{there, 56, false}, {0, 8, false}, {there + 0x100, 8, false}},
		},
		{"nothing that may be read", "read", [6]uint64{3, here, 9}, nil, map[uint64]string{here: long}, []read{{here, 1, false}}},
		{"no argument", "getpid", [6]uint64{here}, nil, map[uint64]string{here: long}, []read{{here, 1, false}}},
	} {
		t.Run(k.name, func(t *testing.T) {
			y := &pair{t: t, set: new(Set), port: p, call: byName(args.All(), k.call), regs: k.regs, mem: memory{}}
			for at, v := range k.text {
				y.mem.write(at, []byte(v))
			}
			for at, v := range k.words {
				y.mem.word(at, v)
			}
			y.begin()
			for _, r := range k.reads {
				if _, _, err := y.read(make([]byte, r.n), r.addr, r.text); err != nil {
					t.Fatal(err)
				}
			}
			if err := y.finish(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPortOtherTables asks about calls that the table does not know.
func TestPortOtherTables(t *testing.T) {
	p := startPort(t)
	for _, d := range []abi.SeccompData{
		{Nr: 5, Arch: abi.ArchI386, Args: [6]uint64{here}},
		{Nr: 2 | abi.X32Bit, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
		{Nr: 420, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
		{Nr: -1, Arch: abi.ArchX86_64, Args: [6]uint64{here}},
	} {
		p.begin(&d, everything, &reader{memory: memory{}})
		_, e := p.readString(make([]byte, 8), here)
		if out := p.place(); e != 95 || !out.refused || out.err != maps.EFAULT {
			t.Errorf("call %d: error %d, refused %v with %d", d.Nr, e, out.refused, out.err)
		}
	}
}

// TestPortCopiesWhatItIsTold leaves out what the mask does not name, and then fails.
func TestPortCopiesWhatItIsTold(t *testing.T) {
	p := startPort(t)
	m := memory{}
	m.write(here, []byte(path("/bin/sh")))
	m.write(here+16, []byte(path("argument")))
	m.word(there, here+16)
	m.word(there+8, 0)
	for _, k := range []struct {
		name string
		mask uint64
		addr uint64
		want maps.Errno
		regs string
	}{
		{"the path alone", 1, here, maps.OK, "s"},
		{"an array that is not copied", 1, there, 95, ".f"},
		{"nothing", 0, here, 95, ""}, // and no slot to redirect to
		{"the array, not what is behind, nor the path that could reach there", 3, here + 16, maps.E2BIG, "ff"},
		{"the array and what is behind", 3 | 2<<6, here + 16, maps.OK, ".s"},
	} {
		d := abi.SeccompData{Nr: 59, Arch: abi.ArchX86_64, Args: [6]uint64{here, there}}
		p.begin(&d, k.mask, &reader{memory: m})
		if k.addr == here+16 {
			p.read(make([]byte, 16), there)
		}
		_, e := p.readString(make([]byte, 64), k.addr)
		out := p.place()
		if got := redirected(out.Redirects); e != k.want || got != k.regs || (out.err != maps.OK) != (k.regs == "") {
			t.Errorf("%s: error %d, registers %q, refused with %d", k.name, e, got, out.err)
		}
	}
}
