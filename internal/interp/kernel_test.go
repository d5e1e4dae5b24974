//go:build linux && amd64

package interp

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

func kernelMap(m *prog.Map) (int, error) {
	return sys.MapCreate(sys.MapAttr{
		Type: uint32(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries, Flags: m.Flags,
	})
}

// maxCPUs bounds the processors whose slots a per-CPU map has.
const maxCPUs = 8192

// kernelLoad loads p with its maps as a socket filter.
func kernelLoad(p *prog.Program, fds []int) (fd int, log string, err error) {
	insns := append([]prog.Insn(nil), p.Insns...)
	for i, in := range insns {
		if in.IsLoadImm64() && in.Src != 0 {
			insns[i].Imm = int32(fds[in.Imm])
		}
	}
	text := make([]byte, 1<<20)
	fd, err = sys.ProgLoad(sys.ProgAttr{
		Type: unix.BPF_PROG_TYPE_SOCKET_FILTER, Insns: prog.Encode(insns), License: "GPL", Log: text,
	})
	return fd, string(bytes.TrimRight(text, "\x00")), err
}

// kernelRun is BPF_PROG_TEST_RUN.
func kernelRun(fd int) (uint32, error) {
	var data [64]byte
	attr := struct {
		fd, ret, sizeIn, sizeOut uint32
		in, out                  unsafe.Pointer
		repeat, duration         uint32
	}{fd: uint32(fd), sizeIn: uint32(len(data)), in: unsafe.Pointer(&data), repeat: 1}
	_, err := sys.BPF(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return attr.ret, err
}

// kernel is the host's eBPF with the maps of generated programs.
type kernel struct {
	fds        []int
	cons, prod []byte // the ring's position pages
}

func newKernel(t *testing.T) *kernel {
	k := &kernel{}
	for _, m := range genMaps() {
		fd, err := kernelMap(m)
		if err != nil {
			t.Skipf("needs bpf(2): creating a map: %v", err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		k.fds = append(k.fds, fd)
	}
	ring, page := k.fds[2], os.Getpagesize()
	var err, err2 error
	k.cons, err = unix.Mmap(ring, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	k.prod, err2 = unix.Mmap(ring, int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	t.Cleanup(func() { unix.Munmap(k.cons); unix.Munmap(k.prod) })
	return k
}

// reset empties the maps.
func (k *kernel) reset() {
	copy(k.cons[:8], k.prod[:8])
	key, zeroes := make([]byte, 4), make([]byte, 8*maxCPUs)
	_ = sys.MapUpdate(k.fds[0], key, make([]byte, outSize), 0)
	for i := 0; i < hashMax+2; i++ {
		binary.LittleEndian.PutUint32(key, uint32(i))
		for _, m := range keyedMaps { // one of the two does nothing
			_ = sys.MapDelete(k.fds[m], key)
			_ = sys.MapUpdate(k.fds[m], key, zeroes, maps.Exist)
		}
	}
}

func (k *kernel) output(t *testing.T) []byte {
	out := make([]byte, outSize)
	if err := sys.MapLookup(k.fds[0], make([]byte, 4), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// run loads and runs p twice on the same maps.
func (k *kernel) run(t *testing.T, p *prog.Program) (rets [2]uint32, out []byte) {
	k.reset()
	fd, log, err := kernelLoad(p, k.fds)
	if err != nil {
		t.Fatalf("the kernel refuses a generated program: %v\n%s", err, log)
	}
	defer unix.Close(fd)
	for i := range rets {
		if rets[i], err = kernelRun(fd); err != nil {
			t.Fatal(err)
		}
	}
	return rets, k.output(t)
}

// user runs p twice on the same maps here.
func user(t *testing.T, p *prog.Program) (rets [2]uint32, out []byte) {
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(p, set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rets {
		res := m.RunRaw(nil, make([]byte, 64))
		if res.Fault != nil {
			t.Fatal(res.Fault)
		}
		rets[i] = res.Ret
	}
	return rets, set[p.Maps[0]].Mem()[:outSize]
}

// TestAgainstKernel runs generated programs here and in the host's kernel.
// PORTCULLIS_FUZZ is the first seed and PORTCULLIS_FUZZ_N how many follow. The
// default stays small: programs are freed by the kernel in the background, and
// freeing many at once has locked kernels up.
func TestAgainstKernel(t *testing.T) {
	k := newKernel(t)
	pin(t)
	first, n := env("PORTCULLIS_FUZZ", 1), env("PORTCULLIS_FUZZ_N", 100)
	for seed := first; seed < first+n; seed++ {
		p := generate(seed, 24)
		krets, kout := k.run(t, p)
		urets, uout := user(t, p)
		if krets != urets || !bytes.Equal(kout, uout) {
			t.Fatalf("seed %d: the kernel returns %#x, here %#x\nkernel %x\nhere   %x\n%s", seed, krets, urets, kout, uout, listing(p))
		}
	}
}

// pin keeps the test on one processor, so that it sees one slot of per-CPU maps.
func pin(t *testing.T) {
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	})
}
