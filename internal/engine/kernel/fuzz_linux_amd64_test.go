package kernel

import (
	"flag"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// How often the tests of this file and of storms do their work. The defaults are
// those of ./test; soaks give more.
var (
	draws = flag.Int("draws", 60, "programs that each fuzzing test draws on a processor")
	first = flag.Int64("seed", 1, "the seed of the first of them")
)

// drawsEnv has TestSoakFuzz draw so many programs.
const drawsEnv = "PORTCULLIS_DRAWS"

// TestSoakFuzz is what TestPatch runs of this file, for long.
func TestSoakFuzz(t *testing.T) {
	n := os.Getenv(drawsEnv)
	if n == "" {
		t.Skip("runs where " + drawsEnv + " says how many programs to draw")
	}
	seed := strconv.FormatInt(time.Now().UnixNano(), 10)
	t.Logf("-draws=%s -seed=%s", n, seed)
	cfg := guest.Config{CPUs: 2, Timeout: 4 * time.Hour}
	guest.TestIn(t, cfg, guest.Nobody, "-test.run=^TestGuestFuzz", "-test.timeout=4h", "-draws="+n, "-seed="+seed)
}

// asNobody is the first line of a test that is about those without privilege.
func asNobody(t *testing.T) {
	t.Helper()
	inGuest(t)
	if os.Getuid() == 0 {
		t.Skip("runs as nobody")
	}
}

// onBothProcessors runs f twice at once, on threads without privilege.
func onBothProcessors(t *testing.T, f func(r *rand.Rand)) {
	var wg sync.WaitGroup
	for i := int64(0); i < 2; i++ {
		wg.Add(1)
		go func(seed int64) {
			defer wg.Done()
			if _, err := confined(func() (bool, error) { f(rand.New(rand.NewSource(seed))); return true, nil }); err != nil {
				t.Error(err)
			}
		}(*first + i)
	}
	wg.Wait()
}

// tally counts what came of programs.
type tally struct {
	sync.Mutex
	drawn, loaded, compared int
}

func (n *tally) add(loaded, compared bool) {
	n.Lock()
	defer n.Unlock()
	n.drawn++
	if loaded {
		n.loaded++
	}
	if compared {
		n.compared++
	}
}

// Whatever is loaded, the kernel takes it or refuses it, and what it takes answers.
// Where our verifier takes a program too, our interpreter gives the kernel's answer.
func TestGuestFuzzedPrograms(t *testing.T) {
	asNobody(t)
	var n tally
	onBothProcessors(t, func(r *rand.Rand) {
		for i := 0; i < *draws; i++ {
			p := bpfgen.Program(r, bpfgen.Options{Statements: 1 + r.Intn(14), Wild: r.Intn(4)})
			n.add(n.try(t, r, p))
		}
	})
	t.Logf("of %d programs %d were loaded, and %d answered as they do here", n.drawn, n.loaded, n.compared)
	if n.loaded == 0 || n.compared == 0 {
		t.Error("nothing was loaded, or nothing compared: expected some")
	}
}

// The built-in filters with some bits changed: other maps and helpers, full size.
func TestGuestFuzzedFilters(t *testing.T) {
	asNobody(t)
	originals := builtins(t)
	var n tally
	onBothProcessors(t, func(r *rand.Rand) {
		for i := 0; i < *draws/4; i++ {
			n.add(n.try(t, r, damaged(r, originals[r.Intn(len(originals))])))
		}
	})
	t.Logf("of %d programs %d were loaded, and %d answered as they do here", n.drawn, n.loaded, n.compared)
	if n.loaded == 0 || n.loaded == n.drawn {
		t.Errorf("%d of %d were loaded: expected some", n.loaded, n.drawn)
	}
}

// builtins are the programs of the built-in filters. The longest take a second to be
// refused, so they are for those who draw many.
func builtins(t *testing.T) []*prog.Program {
	t.Helper()
	var all []*prog.Program
	for _, name := range filters.Names() {
		data, _ := filters.Object(name)
		programs, err := object.Read(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range programs {
			if supported(p) == nil && len(p.Insns) <= 5**draws {
				all = append(all, p)
			}
		}
	}
	return all
}

// damaged is a copy of p of which some fields are others.
func damaged(r *rand.Rand, p *prog.Program) *prog.Program {
	other := *p
	other.Insns = append([]prog.Insn(nil), p.Insns...)
	for n := r.Intn(4); n > 0; n-- {
		in := &other.Insns[r.Intn(len(other.Insns))]
		switch r.Intn(5) {
		case 0:
			in.Op ^= 1 << r.Intn(8)
		case 1:
			in.Dst = uint8(r.Intn(16))
		case 2:
			in.Src = uint8(r.Intn(16))
		case 3:
			in.Off = int16(r.Uint32() >> r.Intn(32))
		case 4:
			in.Imm = int32(r.Uint32() >> r.Intn(32))
		}
	}
	return &other
}

// refer has what refers to maps refer to those that there are: others are not ours to
// load.
func refer(p *prog.Program) {
	for i, in := range p.Insns {
		switch {
		case !in.IsLoadImm64() || in.Src != prog.PseudoMapFD && in.Src != prog.PseudoMapValue:
		case len(p.Maps) == 0:
			p.Insns[i].Src = 0
		default:
			p.Insns[i].Imm = int32(uint32(in.Imm) % uint32(len(p.Maps)))
		}
	}
}

// asked is how often a program that was loaded is asked.
const asked = 4

// try loads a program; what the kernel takes it runs, and compares where that can be.
func (n *tally) try(t *testing.T, r *rand.Rand, p *prog.Program) (taken, compared bool) {
	refer(p)
	l, err := added(p)
	defer l.close()
	if err != nil {
		return false, false
	}
	here := interpreter(p)
	for i := 0; i < asked; i++ {
		d := drawn(r)
		got, err := testRun(l.progs[0], d)
		if err != nil {
			t.Errorf("%v: %v", p.Insns, err)
			return true, false
		}
		if here == nil {
			continue
		}
		if want := here.Run(bpfgen.Env{R: r}, d); want.Fault != nil || want.Ret != got {
			t.Errorf("%v\nof %+v: %#x here (%v), %#x in the kernel", p.Insns, *d, want.Ret, want.Fault, got)
		}
	}
	return true, here != nil
}

// interpreter is p's, or nil where it is not to be compared: what our verifier
// refuses, and answers that depend on who asks and when.
func interpreter(p *prog.Program) *interp.Machine {
	v, err := verify.Program(p, verify.Options{})
	if err != nil || !repeatable(p) {
		return nil
	}
	set := maps.Set{}
	if set.Add(p.Maps) != nil {
		return nil
	}
	m, err := interp.New(v, set)
	if err != nil {
		return nil
	}
	return m
}

// repeatable tells whether a program calls nothing but maps.
func repeatable(p *prog.Program) bool {
	for _, in := range p.Insns {
		if in.Op != prog.OpCallInsn || in.Src != 0 {
			continue
		}
		switch helper.ID(in.Imm) {
		case helper.MapLookupElem, helper.MapUpdateElem, helper.MapDeleteElem:
		default:
			return false
		}
	}
	return true
}

// drawn is a call that nobody makes.
func drawn(r *rand.Rand) *abi.SeccompData {
	d := &abi.SeccompData{Nr: int32(r.Intn(470)), Arch: abi.ArchX86_64, InstructionPointer: r.Uint64()}
	if r.Intn(8) == 0 {
		d.Nr, d.Arch = int32(r.Uint32()), abi.Arch(r.Uint32())
	}
	for i := range d.Args {
		d.Args[i] = r.Uint64() >> r.Intn(64)
	}
	return d
}

// testRun is BPF_PROG_TEST_RUN.
func testRun(fd int, d *abi.SeccompData) (uint32, error) {
	ctx := new([abi.DataSize]byte)
	*ctx = d.Bytes()
	attr := struct {
		fd, ret, sizeIn, sizeOut uint32
		in, out                  uint64
		repeat, duration         uint32
		ctxSizeIn, ctxSizeOut    uint32
		ctxIn                    unsafe.Pointer
		ctxOut                   uint64
		flags, cpu, batch, _     uint32
	}{fd: uint32(fd), ctxSizeIn: uint32(len(ctx)), ctxIn: unsafe.Pointer(&ctx[0])}
	_, err := sys.BPF(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return attr.ret, err
}

// Bytes that are no program.
func TestGuestFuzzedBytes(t *testing.T) {
	asNobody(t)
	onBothProcessors(t, func(r *rand.Rand) {
		for i := 0; i < *draws; i++ {
			insns := make([]byte, 8*(1+r.Intn(40)))
			r.Read(insns)
			if r.Intn(2) == 0 { // more of it passes the first look
				for at := 0; at < len(insns); at += 8 {
					insns[at] &= 0x7f
					insns[at+1] &= 0x77
				}
			}
			copy(insns[len(insns)-8:], prog.Encode([]prog.Insn{{Op: prog.OpExitInsn}}))
			attr := sys.ProgAttr{Type: sys.ProgTypeSeccomp, Insns: insns, License: "GPL", Log: make([]byte, 1<<12)}
			if fd, err := sys.ProgLoad(attr); err == nil {
				syscall.Close(fd)
			}
		}
	})
}

// Attributes of an installation, each on a thread of its own: it is installed or not.
func TestGuestFuzzedInstalls(t *testing.T) {
	asNobody(t)
	l, err := load(plain(constant("allow", abi.Allow)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	installed := make([]int, 2)
	r := rand.New(rand.NewSource(*first))
	for i := 0; i < *draws; i++ {
		words, bits, flags := drawnAttr(r, l.progs[0])
		ok := filtered(t, func() bool {
			const seccomp, setFilter = 317, 1
			listener, _, errno := syscall.RawSyscall(seccomp, setFilter, uintptr(flags), uintptr(unsafe.Pointer(&words[0])))
			runtime.KeepAlive(bits) // words hold its address as a number
			if errno == 0 && listener != 0 {
				syscall.Close(int(listener))
			}
			return errno == 0
		})
		if ok {
			installed[0]++
		} else {
			installed[1]++
		}
	}
	t.Logf("%d were installed, %d refused", installed[0], installed[1])
	if installed[0] == 0 || installed[1] == 0 {
		t.Error("expected some of both")
	}
}

// drawnAttr is struct seccomp_extended_attr with some words that it should not have,
// what its bitmaps are, and flags that leave other threads alone.
func drawnAttr(r *rand.Rand, fd int) (words []uint32, bits []byte, flags uint32) {
	words = make([]uint32, 1024) // a size below a page is backed
	attr := (*sys.ExtendedAttr)(unsafe.Pointer(&words[0]))
	*attr = sys.NewExtendedAttr(fd, 0)
	bits = make([]byte, 256)
	r.Read(bits)
	if r.Intn(2) == 0 {
		attr.Allow(bits[:r.Intn(len(bits))], bits[:r.Intn(len(bits))])
	}
	for n := r.Intn(3); n > 0; n-- {
		words[r.Intn(10)] = r.Uint32() >> r.Intn(32)
	}
	if r.Intn(4) == 0 {
		words[10+r.Intn(16)] = r.Uint32() >> r.Intn(32)
	}
	flags = sys.FlagExtended
	if r.Intn(4) == 0 {
		flags |= r.Uint32() & 0x3e // all but TSYNC
	}
	return words, bits, flags
}
