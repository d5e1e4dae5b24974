package kernel

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// What the kernel gives to programs of root, filters get for everybody. Here are programs, maps
// and types of those who would make use of that.

// After a tail call in a function its caller would go on with a number that nobody verified,
// such as the size of what a helper writes to the stack.
func TestGuestTailCallInAFunction(t *testing.T) {
	inGuest(t)
	array, err := confined(func() (int, error) {
		return createMap(&prog.Map{Name: "tails", Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 1, SpinLock: -1})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(array)
	a := newAssembler().into(1).exit()
	function := len(a.insns)
	a.op(prog.Insn{Op: prog.OpLoadImm64, Dst: 2, Src: prog.PseudoMapFD, Imm: int32(array)}, prog.Insn{}).
		mov(3, 0).call(helper.TailCall).answer(8)
	_, err = confined(func() (int, error) {
		fd, log, err := annotated{typ: sys.ProgTypeSeccomp, insns: a.insns, starts: []int{0, function}}.load()
		if err == nil {
			syscall.Close(fd)
		} else if !strings.Contains(log, "tail call in a function") {
			t.Errorf("refused for another reason:\n%s", log)
		}
		return fd, err
	})
	if err != syscall.EINVAL {
		t.Errorf("%v, expected EINVAL", err)
	}
}

// Seven functions that call the next one sixteen times each are called in 16^7 ways, by
// code that is never run.
func TestGuestManyWaysToCall(t *testing.T) {
	inGuest(t)
	const functions, times = 8, 16
	a := newAssembler().mov(0, 0).op(prog.Insn{Op: prog.ClassJMP | prog.OpJeq | prog.SrcK, Off: times})
	for f := 0; f < functions; f++ {
		for i := int32(0); i < times && f < functions-1; i++ {
			a.into(times - i + 1) // behind the others and what answers
		}
		a.answer(abi.Allow)
	}
	refusedFor(t, "too many ways", a.program("ways"))
}

// refusedFor has a program refused by the kernel's verifier.
func refusedFor(t *testing.T, reason string, p *prog.Program) {
	t.Helper()
	l, err := load(plain(p))
	if err == nil {
		l.close()
	}
	saysWhy(t, p, err, reason)
}

// saysWhy expects of an error that the kernel's verifier refused a program for a reason.
func saysWhy(t *testing.T, p *prog.Program, err error, reason string) {
	t.Helper()
	var le *LoadError
	if !errors.As(err, &le) || !strings.Contains(le.Reason, reason) {
		t.Errorf("%s: %v: expected a LoadError that says %q", p.Name, err, reason)
	}
}

// A function that is called under a lock may call others, for as long as the verifier follows.
func TestGuestCallUnderALock(t *testing.T) {
	inGuest(t)
	m := &prog.Map{Name: "locked", Type: prog.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, SpinLock: 0}
	a := newAssembler().store64(10, -8, 0).mapTo(1, prog.PseudoMapFD, m).copy(2, 10).add(2, -8).call(helper.MapLookupElem).
		jump(prog.OpJeq, 0, 0, "none").copy(6, 0).copy(1, 0).call(helper.SpinLock).into(4).
		copy(1, 6).call(helper.SpinUnlock).label("none").answer(abi.Allow).answer(abi.Allow)
	refusedFor(t, "call no functions under a bpf_spin_lock", a.program("locked"))
}

// Types in types, all of them in the same place, are followed in 16^8 ways.
func TestGuestManyMembers(t *testing.T) {
	inGuest(t)
	const depth, times = 8, 16
	w := &btfWriter{strings: []byte{0}}
	word := w.typ("int", kindInt, 0, 4)
	w.words(32)
	spin := w.typ("bpf_spin_lock", kindStruct, 1, lockSize)
	w.words(w.name("val"), word, 0)
	inner := word
	for i := 0; i < depth; i++ {
		outer := w.typ("nest", kindStruct, times, 4)
		for j := 0; j < times; j++ {
			w.words(w.name("m"), inner, 0)
		}
		inner = outer
	}
	w.typ("value", kindStruct, 2, 8)
	w.words(w.name("lock"), spin, 0)
	w.words(w.name("nest"), inner, 8*lockSize)
	_, err := confined(func() (int, error) { return sys.BTFLoad(w.bytes()) })
	if err != syscall.E2BIG {
		t.Errorf("%v, expected E2BIG", err)
	}
}

// A value under a lock is copied with interrupts off, for BPF_F_LOCK: all of it.
func TestGuestLargeValueUnderALock(t *testing.T) {
	inGuest(t)
	if os.Getuid() == 0 {
		t.Skip("runs as nobody: root may")
	}
	for _, c := range []struct {
		size uint32
		is   bool
	}{{1 << 16, true}, {1<<16 + 8, false}} {
		m := &prog.Map{Name: "locked", Type: prog.Array, KeySize: 4, ValueSize: c.size, MaxEntries: 1, SpinLock: 0}
		fd, err := confined(func() (int, error) { return createMap(m) })
		if err == nil {
			syscall.Close(fd)
		}
		if (err == nil) != c.is {
			t.Errorf("%d bytes: %v", c.size, err)
		}
	}
}

// What helpers do counts: a key of 64 KiB takes as long to look up as thousands of instructions
// take to run.
func TestGuestHelpersCount(t *testing.T) {
	inGuest(t)
	const size = 1 << 16
	key := &prog.Map{Name: "key", Type: prog.Array, KeySize: 4, ValueSize: size, MaxEntries: 1, SpinLock: -1}
	m := &prog.Map{Name: "table", Type: prog.Hash, KeySize: size, ValueSize: 8, MaxEntries: 1, SpinLock: -1}
	lookups := func(n int32) *prog.Program {
		return newAssembler().mov(6, 0).label("again").
			mapTo(1, prog.PseudoMapFD, m).mapTo(2, prog.PseudoMapValue, key).call(helper.MapLookupElem).
			add(6, 1).jump(prog.OpJlt, 6, n, "again").answer(abi.Allow).program("lookups")
	}
	l, err := load(plain(lookups(100)))
	if err != nil {
		t.Fatal(err)
	}
	l.close()
	refusedFor(t, "too large", lookups(200))
	const bytes, times = 60000, 200
	storage := &prog.Map{Name: "storage", Type: prog.TaskStorage, KeySize: 4, ValueSize: bytes, Flags: prog.FlagNoPrealloc, SpinLock: -1}
	refusedFor(t, "too large", newAssembler().mov(6, 0).label("again").storage(storage, 0).
		add(6, 1).jump(prog.OpJlt, 6, times, "again").answer(abi.Allow).program("created"))
}
