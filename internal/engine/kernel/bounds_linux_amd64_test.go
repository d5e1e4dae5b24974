package kernel

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// A filter runs with nothing else on its processor: for no longer than the verifier
// has seen, and with no more memory at a step than can be cleared in a moment.

// touches has a helper clear memory of a map's value.
func touches(size int32) *prog.Program {
	m := &prog.Map{Name: "room", Type: prog.Array, KeySize: 4, ValueSize: 1 << 20, MaxEntries: 1, SpinLock: -1}
	return newAssembler().mapTo(1, prog.PseudoMapValue, m).mov(2, size).mov(3, 0).
		call(helper.SafeReadUser).answer(abi.Allow).program("touches")
}

func TestGuestLittleMemoryAtOnce(t *testing.T) {
	inGuest(t)
	l, err := load(plain(touches(65536)))
	if err != nil {
		t.Fatalf("as much as there may be: %v", err)
	}
	l.close()
	refusedFor(t, "65536 bytes", touches(65537)) // a byte more
}

func TestGuestUncountedLoops(t *testing.T) {
	inGuest(t)
	const mayGoto = prog.ClassJMP | 0xe0
	p := newAssembler().op(prog.Insn{Op: mayGoto, Off: 1}).jump(prog.OpJa, 0, 0, "out").label("out").answer(abi.Allow).program("may_goto")
	p.Insns[1].Off = -2
	refusedFor(t, "", p)
}

// Functions that BTF calls global are verified once by others: a filter's are verified
// where they are called, and what they come to is counted.
func TestGuestGlobalFunctions(t *testing.T) {
	inGuest(t)
	for _, c := range []struct {
		loops int32
		want  error
	}{{10, nil}, {400, syscall.E2BIG}} {
		if c.want != nil && (os.Getuid() == 0 || os.Getenv(guest.SlowEnv) != "") {
			continue // the same for everybody, and the verifier needs long to come to it
		}
		insns, starts := nestedLoops(3, c.loops)
		fd, err := confined(func() (int, error) { return loadGlobal(insns, starts) })
		if err != c.want {
			t.Errorf("three functions that loop %d times: %v, expected %v", c.loops, err, c.want)
		}
		if err == nil {
			syscall.Close(fd)
		}
	}
}

// nestedLoops are functions each of which calls the next one so many times, and where
// they start.
func nestedLoops(functions int, times int32) (insns []prog.Insn, starts []int) {
	for i := 0; i < functions; i++ {
		starts = append(starts, len(insns))
		body := []prog.Insn{
			{Op: prog.ClassALU64 | prog.OpMov | prog.SrcK, Dst: 6},
			{Op: prog.ClassALU64 | prog.OpAdd | prog.SrcK, Dst: 6, Imm: 1},
			{Op: prog.ClassJMP | prog.OpJlt | prog.SrcK, Dst: 6, Imm: times, Off: -2},
			{Op: prog.ClassALU | prog.OpMov | prog.SrcK, Imm: int32(abi.Allow)},
			{Op: prog.OpExitInsn},
		}
		if i < functions-1 { // to behind this function's end
			call := prog.Insn{Op: prog.OpCallInsn, Src: 1, Imm: 4}
			body = append(body[:1], append([]prog.Insn{call}, body[1:]...)...)
			body[3].Off = -3
		}
		insns = append(insns, body...)
	}
	return insns, starts
}

// loadGlobal loads a filter of functions that BTF calls global.
func loadGlobal(insns []prog.Insn, starts []int) (int, error) {
	fd, _, err := annotated{typ: sys.ProgTypeSeccomp, insns: insns, starts: starts}.load()
	return fd, err
}

// annotated is a program of any type whose functions BTF calls global.
type annotated struct {
	typ    uint32
	insns  []prog.Insn
	starts []int
	// extends is a program of which it is to replace a function, by its type's number.
	extends  int
	function uint32
}

// functionType is the number of the type of an annotated program's function.
func functionType(function int) uint32 { return uint32(3 + function) }

// describe is BTF of functions without arguments, and where they start.
func describe(starts []int) (btf []byte, info []uint32) {
	const kindFunc, kindFuncProto, global = 12, 13, 1
	w := &btfWriter{strings: []byte{0}}
	integer := w.typ("int", kindInt, 0, 4)
	w.words(1<<24 | 32)
	proto := w.typ("", kindFuncProto, 0, integer)
	for i, at := range starts {
		info = append(info, uint32(at), w.typ(string(rune('f'+i)), kindFunc, global, proto))
	}
	return w.bytes(), info
}

// load is BPF_PROG_LOAD; the log is the verifier's.
func (a annotated) load() (fd int, log string, err error) {
	data, info := describe(a.starts)
	btf, err := sys.BTFLoad(data)
	if err != nil {
		return -1, "", err
	}
	defer syscall.Close(btf)
	code, license, text := prog.Encode(a.insns), []byte("GPL\x00"), make([]byte, 1<<16)
	attr := struct {
		typ, count                  uint32
		insns, license              unsafe.Pointer
		logLevel, logSize           uint32
		log                         unsafe.Pointer
		version, flags              uint32
		name                        [16]byte
		ifindex, attachType         uint32
		btf, infoSize               uint32
		info                        unsafe.Pointer
		infoCount, lineInfoRecSize  uint32
		lineInfo                    uint64
		lineInfoCount, attachBTFID  uint32
		attachProgram, coreRelCount uint32
	}{
		typ: a.typ, count: uint32(len(a.insns)), insns: unsafe.Pointer(&code[0]), license: unsafe.Pointer(&license[0]),
		logLevel: 4, logSize: uint32(len(text)), log: unsafe.Pointer(&text[0]),
		btf: uint32(btf), infoSize: 8, info: unsafe.Pointer(&info[0]), infoCount: uint32(len(a.starts)),
		attachBTFID: a.function, attachProgram: uint32(a.extends),
	}
	const learns = 1
	if a.extends != 0 {
		attr.logLevel = learns // and not only what it has cost
	}
	fd, err = sys.BPF(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return fd, string(bytes.TrimRight(text, "\x00")), err
}
