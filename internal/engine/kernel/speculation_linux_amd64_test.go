package kernel

import (
	"encoding/binary"
	"math/rand"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/guest"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// Who has no CAP_PERFMON is refused what a processor could be made to do by mistake, but
// for filters: these get barriers before that.

// numbers are the bytes 0 to 15.
func numbers() *prog.Map {
	m := &prog.Map{Name: "numbers", Type: prog.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, SpinLock: -1}
	for i := byte(0); i < 16; i++ {
		m.Contents = append(m.Contents, i)
	}
	return m
}

// byteAt ends the program with a byte of memory as its answer.
func (a *assembler) byteAt(src uint8, off int16) *assembler {
	return a.op(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeB, Dst: 0, Src: src, Off: off}).exit()
}

// indexed has r2 point to what numbers holds and r3 be the lower bits of the first argument.
func indexed(bits int32) *assembler {
	return newAssembler().mapTo(2, prog.PseudoMapValue, numbers()).load64(3, 1, abi.OffArgs).and(3, bits)
}

// onStack has r2 point to eight bytes 1, 0, … on the stack, and r3 be as in indexed.
func onStack() *assembler {
	return newAssembler().store64(10, -8, 1).op(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeW, Dst: 10, Off: -4}).
		load64(3, 1, abi.OffArgs).and(3, 7).copy(2, 10).add(2, -8)
}

// afterStores are what comes behind the stores of onStack, which might not be seen there.
var afterStores = []string{"*(u32 *)(r10 -4) = 0", "r3 = *(u64 *)(r1 +16)"}

// speculative are programs, and before which of their instructions barriers go.
var speculative = []struct {
	name     string
	program  *assembler
	barriers []string
	answer   func(arg uint32) uint32
}{
	{
		"a mask does", indexed(7).alu(prog.OpAdd, 2, 3).byteAt(2, 0), nil,
		func(arg uint32) uint32 { return arg & 7 },
	},
	{
		"constants lead out of it and back", indexed(7).alu(prog.OpAdd, 2, 3).add(2, 100).add(2, -92).byteAt(2, 0), nil,
		func(arg uint32) uint32 { return arg&7 + 8 },
	},
	{
		"from outside", indexed(7).add(3, 8).add(2, -8).alu(prog.OpAdd, 2, 3).byteAt(2, 0),
		[]string{"r2 += r3"},
		func(arg uint32) uint32 { return arg & 7 },
	},
	{
		"to outside", indexed(7).add(3, 12).alu(prog.OpAdd, 2, 3).add(2, -8).byteAt(2, 0),
		[]string{"r2 += r3", "r0 = *(u8 *)(r2 +0)"},
		func(arg uint32) uint32 { return arg&7 + 4 },
	},
	{
		"what a mask makes 0", indexed(7).add(3, 8).alu(prog.OpAdd, 2, 3).byteAt(2, -8),
		[]string{"r0 = *(u8 *)(r2 -8)"},
		func(arg uint32) uint32 { return arg & 7 },
	},
	{
		"different masks", indexed(15).jump(prog.OpJgt, 3, 7, "big").and(3, 3).label("big").alu(prog.OpAdd, 2, 3).byteAt(2, 0),
		[]string{"r2 += r3"},
		func(arg uint32) uint32 {
			if arg&15 > 7 {
				return arg & 15
			}
			return arg & 3
		},
	},
	{
		"somewhere on the stack", onStack().alu(prog.OpAdd, 2, 3).byteAt(2, 0), append(afterStores, "r2 += r3"),
		func(arg uint32) uint32 { return one(arg&7 == 0) },
	},
	{
		"to somewhere on the stack", onStack().alu(prog.OpAdd, 2, 3).op(prog.Insn{Op: prog.ClassST | prog.ModeMem | prog.SizeB, Dst: 2, Imm: 5}).byteAt(10, -8), append(afterStores, "r2 += r3"),
		func(arg uint32) uint32 { return 1 + 4*one(arg&7 == 0) },
	},
	{
		"what only a mistake reads", newAssembler().mov(6, 1).jump(prog.OpJne, 6, 1, "read").mov(5, 9).label("read").copy(0, 5).exit(),
		[]string{"r0 = r5"},
		func(uint32) uint32 { return 9 },
	},
	{
		"a jump back", backByMistake(),
		[]string{"r4 += 1", "if r4 < r5 goto pc-4", "r0 = r4"},
		func(uint32) uint32 { return 5 },
	},
	{
		"what is never run", newAssembler().mov(6, 1).jump(prog.OpJeq, 6, 1, "end").copy(0, 5).label("end").answer(7), nil,
		func(uint32) uint32 { return 7 },
	},
}

func one(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}

// backByMistake comes to a jump back without what that compares, by mistake. Its loop has no
// bound by mistake, neither.
func backByMistake() *assembler {
	a := newAssembler().mov(6, 1).mov(4, 0).jump(prog.OpJne, 6, 1, "jump").mov(5, 5).
		label("back").add(4, 1).label("jump").jump(prog.OpJlt, 4, 0, "back").
		copy(0, 4).exit()
	a.insns[5] = prog.Insn{Op: prog.ClassJMP | prog.OpJlt | prog.SrcX, Dst: 4, Src: 5}
	return a
}

// mitigated tells whether the kernel does anything about speculative execution.
func mitigated(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/sys/devices/system/cpu/vulnerabilities/spectre_v1")
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(string(text), "Mitigation")
}

func TestGuestBarriers(t *testing.T) {
	inGuest(t)
	if !mitigated(t) {
		t.Error("this kernel has no mitigations: expected them, as distributions have")
	}
	for _, c := range speculative {
		p := c.program.program("speculative")
		l, err := unprivileged(func() (*loaded, error) { return added(p) })
		defer l.close()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for arg := uint32(0); arg < 16; arg++ {
			got, err := testRun(l.progs[0], &abi.SeccompData{Arch: abi.ArchX86_64, Args: [6]uint64{uint64(arg)}})
			if want := c.answer(arg); err != nil || got != want {
				t.Errorf("%s: of %d: %d, %v; expected %d", c.name, arg, got, err, want)
			}
		}
		if os.Getuid() != 0 {
			continue // only root may look
		}
		if got := barriers(t, l.progs[0]); !reflect.DeepEqual(got, c.barriers) {
			t.Errorf("%s: barriers before %q, expected %q", c.name, got, c.barriers)
		}
	}
}

// With CAP_PERFMON there is nothing to hide.
func TestGuestNoBarriersForRoot(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root: who is root here")
	}
	for _, c := range speculative {
		l, err := load(plain(c.program.program("speculative")))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := barriers(t, l.progs[0]); got != nil {
			t.Errorf("%s: barriers before %q, expected none", c.name, got)
		}
		l.close()
	}
}

// A barrier is for what is wrong by mistake, not for what is wrong.
func TestGuestBarriersForgiveNothing(t *testing.T) {
	inGuest(t)
	for _, c := range []struct {
		reason string
		wrong  *assembler
	}{
		{"outside of the allowed memory range", indexed(7).add(3, 12).alu(prog.OpAdd, 2, 3).add(2, -3).byteAt(2, 0)},
		{"outside of the allowed memory range", indexed(7).byteAt(2, 24)},
		{"invalid variable-offset read", onStack().add(3, 1).alu(prog.OpAdd, 2, 3).byteAt(2, 0)},
		{"leaks addr", newAssembler().store64(10, -8, 0).store64(10, -16, 0).load64(3, 1, abi.OffArgs).and(3, 8).copy(2, 10).add(2, -16).
			alu(prog.OpAdd, 2, 3).spill(2, 0, 10).byteAt(10, -8)},
		{"!read_ok", newAssembler().load64(3, 1, abi.OffArgs).jump(prog.OpJne, 3, 1, "read").mov(5, 9).label("read").copy(0, 5).exit()},
	} {
		p := c.wrong.program("wrong")
		l, err := unprivileged(func() (*loaded, error) { return added(p) })
		l.close()
		saysWhy(t, p, err, c.reason)
	}
}

// Programs of other types are refused as ever.
func TestGuestNoBarriersForOthers(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root: it lets nobody load programs of other types")
	}
	const socketFilter, path = 1, "/proc/sys/kernel/unprivileged_bpf_disabled"
	set(t, path, "0")
	insns := prog.Encode(newAssembler().store64(10, -8, 1).load32(3, 1, 0).and(3, 7).copy(2, 10).add(2, -8).alu(prog.OpAdd, 2, 3).byteAt(2, 0).insns)
	text := make([]byte, 1<<14)
	fd, err := unprivileged(func() (int, error) {
		return sys.ProgLoad(sys.ProgAttr{Type: socketFilter, Insns: insns, License: "GPL", Log: text})
	})
	if err == nil {
		syscall.Close(fd)
	}
	if err != syscall.EACCES || !strings.Contains(string(text), "variable stack access prohibited for !root") {
		t.Errorf("%v, expected EACCES of\n%s", err, text)
	}
}

// What is loaded without privilege answers as what is loaded with it, whatever barriers it
// has got.
func TestGuestBarriersChangeNothing(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root: who is root here")
	}
	both, with := 0, 0
	r := rand.New(rand.NewSource(*first))
	for i := 0; i < 10**draws && both < *draws; i++ {
		p := bpfgen.Program(r, bpfgen.Options{Statements: 1 + r.Intn(14), Wild: r.Intn(4)})
		if refer(p); !repeatable(p) {
			continue
		}
		ours, errOurs := confined(func() (*loaded, error) { return added(p) })
		theirs, errTheirs := unprivileged(func() (*loaded, error) { return added(p) })
		if errOurs == nil && errTheirs == nil {
			both++
			with += len(barriers(t, theirs.progs[0]))
			sameAnswers(t, r, ours, theirs)
		}
		ours.close()
		theirs.close()
	}
	t.Logf("%d programs were loaded by both, with %d barriers", both, with)
	if with == 0 {
		t.Error("expected some barriers")
	}
}

// added is a program that may have been loaded.
func added(p *prog.Program) (*loaded, error) {
	l := &loaded{maps: map[*prog.Map]int{}}
	return l, l.add(p)
}

// sameAnswers asks two programs about the same calls.
func sameAnswers(t *testing.T, r *rand.Rand, a, b *loaded) {
	t.Helper()
	for i := 0; i < asked; i++ {
		d := drawn(r)
		one, errOne := testRun(a.progs[0], d)
		other, errOther := testRun(b.progs[0], d)
		if errOne != nil || errOther != nil || one != other {
			t.Errorf("%+v: %#x, %v with privilege, %#x, %v without", *d, one, errOne, other, errOther)
		}
	}
}

// unprivileged runs f on a thread that is nobody's. It ends with f.
func unprivileged[T any](f func() (T, error)) (T, error) {
	return confined(func() (value T, err error) {
		if os.Getuid() == 0 {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, guest.Nobody, guest.Nobody, guest.Nobody); errno != 0 {
				return value, errno
			}
		}
		return f()
	})
}

// barriers are the instructions of a loaded program behind barriers.
func barriers(t *testing.T, fd int) (behind []string) {
	t.Helper()
	const barrier = prog.ClassST | 0xc0
	insns, err := prog.Decode(translated(t, fd))
	if err != nil {
		t.Fatal(err)
	}
	p := &prog.Program{Insns: insns}
	for pc := range insns[:len(insns)-1] {
		if insns[pc].Op == barrier {
			behind = append(behind, p.Disasm(pc+1))
		}
	}
	return behind
}

// translated are the instructions of a program as the verifier has left them.
func translated(t *testing.T, fd int) []byte {
	t.Helper()
	const length, address = 20, 32
	info, insns := make([]byte, 80), make([]byte, 1<<16)
	binary.NativeEndian.PutUint32(info[length:], uint32(len(insns)))
	binary.NativeEndian.PutUint64(info[address:], uint64(uintptr(unsafe.Pointer(&insns[0]))))
	attr := struct {
		fd, size uint32
		info     unsafe.Pointer
	}{uint32(fd), uint32(len(info)), unsafe.Pointer(&info[0])}
	_, err := sys.BPF(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(insns)
	if err != nil {
		t.Fatal(err)
	}
	return insns[:binary.NativeEndian.Uint32(info[length:])]
}
