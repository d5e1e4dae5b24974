package maps_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// The desk is element 0 of an array through which a program is told what to do
// with the map under test, and says what came of it. Programs do it, because
// bpf(2) checks flags in another order than the helpers.
const (
	deskOp     = 0
	deskFlags  = 8
	deskResult = 16
	deskKey    = 24
	deskValue  = 40
	deskFound  = 72
	deskSize   = 104
)

const (
	opLookup = iota
	opUpdate
	opDelete
	opAcross // look up, update, and read through the pointer from before
	opAdd    // add one to the last word, under the lock
	ops
)

const operator = `
	map desk ARRAY key 4 value 104 entries 1
	%s
	*(u32 *)(r10 -4) = 0
	r1 = map[desk]
	r2 = r10
	r2 += -4
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r9 = r0
	*(u64 *)(r9 +16) = 0
	r6 = *(u64 *)(r9 +0)
	r1 = map[m]
	r2 = r9
	r2 += 24
	r3 = r9
	r3 += 40
	r4 = *(u64 *)(r9 +8)
	if r6 == 1 goto update
	if r6 == 2 goto delete
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r7 = r0
	if r6 == 3 goto across
	%s
	r0 = 1
	goto read
	across:
	r1 = map[m]
	r2 = r9
	r2 += 24
	r3 = r9
	r3 += 40
	r4 = *(u64 *)(r9 +8)
	call bpf_map_update_elem
	read:
	%s
	goto done
	update:
	call bpf_map_update_elem
	goto done
	delete:
	call bpf_map_delete_elem
	done:
	*(u64 *)(r9 +16) = r0
	out:
	r0 = 0
	exit
`

const locked = `
	if r6 != 4 goto unlocked
	r1 = r7
	r1 += %[1]d
	call bpf_spin_lock
	r8 = *(u32 *)(r7 +%[2]d)
	r8 += 1
	*(u32 *)(r7 +%[2]d) = r8
	r1 = r7
	r1 += %[1]d
	call bpf_spin_unlock
	unlocked:
`

// subject is a map under test.
type subject struct {
	kind                string
	key, value, entries int
	lock                int // offset, or -1
}

func (s subject) String() string {
	return fmt.Sprintf("%s key %d value %d entries %d lock %d", s.kind, s.key, s.value, s.entries, s.lock)
}

// program is the operator of a map.
func (s subject) program(t *testing.T) *prog.Program {
	t.Helper()
	declared := fmt.Sprintf("map m %s key %d value %d entries %d", s.kind, s.key, s.value, s.entries)
	section := ""
	if s.lock >= 0 {
		declared += fmt.Sprintf(" lock %d", s.lock)
		section = fmt.Sprintf(locked, s.lock, s.value-4)
	}
	var read strings.Builder
	for at := 0; at < s.value; at += 4 {
		if at != s.lock {
			fmt.Fprintf(&read, "r1 = *(u32 *)(r7 +%d)\n*(u32 *)(r9 +%d) = r1\n", at, deskFound+at)
		}
	}
	p, err := bpfasm.Assemble("operator", fmt.Sprintf(operator, declared, section, read.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// order is one thing to do.
type order struct {
	op, flags  uint64
	key, value []byte
}

func (o *order) desk() []byte {
	d := make([]byte, deskSize)
	binary.LittleEndian.PutUint64(d[deskOp:], o.op)
	binary.LittleEndian.PutUint64(d[deskFlags:], o.flags)
	copy(d[deskKey:deskValue], o.key)
	copy(d[deskValue:deskFound], o.value)
	return d
}

// answer is what came of it: what the helper returned, and the value found.
type answer struct {
	result int64
	found  [deskSize - deskFound]byte
}

func read(desk []byte) (a answer) {
	a.result = int64(binary.LittleEndian.Uint64(desk[deskResult:]))
	copy(a.found[:], desk[deskFound:])
	return a
}

// side does what it is told to a map: here, or in the kernel.
type side func(o *order) answer

// machine is ready to run p, and its maps.
func machine(t *testing.T, p *prog.Program) (*interp.Machine, maps.Set) {
	t.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	return m, set
}

func here(t *testing.T, p *prog.Program) side {
	t.Helper()
	m, set := machine(t, p)
	desk := set[p.Maps[0]].Mem()
	return func(o *order) answer {
		copy(desk, o.desk())
		if r := m.RunRaw(nil, make([]byte, 64)); r.Fault != nil {
			t.Fatal(r.Fault)
		}
		return read(desk)
	}
}

// kernel is the operator's side in the kernel.
func kernel(t *testing.T, p *prog.Program) side {
	t.Helper()
	fds, run := loaded(t, p)
	desk, zero := make([]byte, deskSize), make([]byte, 4)
	return func(o *order) answer {
		err := sys.MapUpdate(fds[0], zero, o.desk(), 0)
		if err == nil {
			err = run()
		}
		if err == nil {
			err = sys.MapLookup(fds[0], zero, desk)
		}
		if err != nil {
			t.Fatal(err)
		}
		return read(desk)
	}
}

// loaded has the kernel make a program's maps and load it, as a traffic
// classifier, which may use locks.
func loaded(t *testing.T, p *prog.Program) (fds []int, run func() error) {
	t.Helper()
	for _, m := range p.Maps {
		fds = append(fds, create(t, m))
	}
	insns := append([]prog.Insn(nil), p.Insns...)
	for i, in := range insns {
		if in.IsLoadImm64() && in.Src != 0 {
			insns[i].Imm = int32(fds[in.Imm])
		}
	}
	text := make([]byte, 1<<20)
	fd, err := sys.ProgLoad(sys.ProgAttr{Type: unix.BPF_PROG_TYPE_SCHED_CLS, Insns: prog.Encode(insns), License: "GPL", Log: text})
	if err != nil {
		t.Fatalf("the kernel refuses the program: %v\n%s", err, bytes.TrimRight(text, "\x00"))
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fds, func() error { return testRun(fd) }
}

// create makes a map in the kernel, with type information where it has a lock.
func create(t *testing.T, m *prog.Map) int {
	t.Helper()
	attr := sys.MapAttr{Type: uint32(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries}
	if m.SpinLock >= 0 {
		attr.BTF, attr.BTFKey, attr.BTFValue = lockBTF(t, m)
	}
	fd, err := sys.MapCreate(attr)
	permitted(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// permitted skips the test where bpf(2) is not allowed, and fails it otherwise.
func permitted(t *testing.T, err error) {
	t.Helper()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS):
		t.Skipf("needs bpf(2): %v", err)
	case err != nil:
		t.Fatal(err)
	}
}

// lockBTF describes a value of words, one of which is a lock.
func lockBTF(t *testing.T, m *prog.Map) (fd int, key, value uint32) {
	t.Helper()
	word := &btf.Int{Name: "unsigned int", Size: 4}
	lock := &btf.Struct{Name: "bpf_spin_lock", Size: 4, Members: []btf.Member{{Name: "val", Type: word}}}
	whole := &btf.Struct{Name: "value", Size: m.ValueSize}
	for at := 0; at < int(m.ValueSize); at += 4 {
		member := btf.Member{Name: fmt.Sprint("word", at), Type: word, Offset: btf.Bits(8 * at)}
		if at == m.SpinLock {
			member.Type = lock
		}
		whole.Members = append(whole.Members, member)
	}
	var name btf.Type = word // as an array insists on
	if m.KeySize != 4 {
		name = &btf.Struct{Name: "key", Size: m.KeySize}
	}
	b, err := btf.NewBuilder([]btf.Type{word, name, whole})
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	keyID, err := b.Add(name)
	if err != nil {
		t.Fatal(err)
	}
	valueID, err := b.Add(whole)
	if err != nil {
		t.Fatal(err)
	}
	fd, err = sys.BTFLoad(data)
	permitted(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd, uint32(keyID), uint32(valueID)
}

// testRun is BPF_PROG_TEST_RUN.
func testRun(fd int) error {
	var data [64]byte
	attr := struct {
		fd, ret, sizeIn, sizeOut uint32
		in, out                  unsafe.Pointer
		repeat, duration         uint32
	}{fd: uint32(fd), sizeIn: uint32(len(data)), in: unsafe.Pointer(&data), repeat: 1}
	_, err := sys.BPF(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// pin keeps the test on one processor, so that it sees one slot of per-CPU maps.
func pin(t *testing.T) {
	t.Helper()
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

// orders makes random orders for a map, with a little more keys than entries.
type orders struct {
	s   subject
	rnd *rand.Rand
}

func (g *orders) next() *order {
	op := uint64(g.rnd.Intn(ops))
	if op == opAdd && g.s.lock < 0 {
		op = opLookup
	}
	o := &order{op: op, key: make([]byte, g.s.key), value: make([]byte, g.s.value)}
	if op == opUpdate || op == opAcross {
		o.flags = []uint64{0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 1 << 32, 1 << 63}[g.rnd.Intn(14)]
	}
	n := uint32(g.rnd.Intn(g.s.entries + 1 + g.s.entries/4))
	if g.rnd.Intn(40) == 0 {
		n = g.rnd.Uint32()
	}
	binary.LittleEndian.PutUint32(o.key, n)
	g.rnd.Read(o.value)
	return o
}

// TestLikeTheKernels gives the same orders here and to the kernel.
func TestLikeTheKernels(t *testing.T) {
	for i, s := range []subject{
		{"ARRAY", 4, 8, 5, -1},
		{"ARRAY", 4, 12, 1, -1},
		{"ARRAY", 4, 16, 4, 4},
		{"ARRAY", 4, 8, 3, 0},
		{"HASH", 4, 8, 6, -1},
		{"HASH", 16, 20, 40, -1},
		{"HASH", 8, 4, 1, -1},
		{"HASH", 4, 12, 5, 0},
		{"HASH", 12, 32, 9, 8},
		{"PERCPU_ARRAY", 4, 8, 5, -1},
		{"PERCPU_ARRAY", 4, 20, 2, -1},
		{"PERCPU_HASH", 4, 8, 6, -1},
		{"PERCPU_HASH", 16, 24, 30, -1},
	} {
		i, s := i, s
		t.Run(s.String(), func(t *testing.T) {
			pin(t)
			p := s.program(t)
			ours, theirs := here(t, p), kernel(t, p)
			g := orders{s, rand.New(rand.NewSource(int64(i)))}
			for step := 0; step < 4000; step++ {
				o := g.next()
				if a, b := ours(o), theirs(o); a != b {
					t.Fatalf("step %d, %+v: here %d %x, in the kernel %d %x", step, *o, a.result, a.found, b.result, b.found)
				}
			}
		})
	}
}

// TestPromisesOfLRU holds both to what is promised of a map that drops what was
// not used lately. Which key it drops, and how early, is not: the kernel keeps
// lists for each processor and drops several at once.
func TestPromisesOfLRU(t *testing.T) {
	for i, s := range []subject{
		{"LRU_HASH", 4, 8, 300, -1}, {"LRU_HASH", 8, 12, 20, -1}, {"LRU_HASH", 16, 4, 64, -1},
	} {
		i, s := i, s
		t.Run(s.String(), func(t *testing.T) {
			pin(t)
			p := s.program(t)
			for name, do := range map[string]side{"here": here(t, p), "in the kernel": kernel(t, p)} {
				l := lru{s: s, do: do, last: map[uint32][]byte{}}
				g := orders{s, rand.New(rand.NewSource(int64(i)))}
				for step := 0; step < 6000; step++ {
					if wrong := l.check(g.next()); wrong != "" {
						t.Fatalf("%s, step %d: %s", name, step, wrong)
					}
				}
				if n := l.count(); n > s.entries || n < s.entries/4 {
					t.Errorf("%s: %d keys after many updates, of at most %d", name, n, s.entries)
				}
			}
		})
	}
}

// lru knows what was stored last under each key, but not what is left.
type lru struct {
	s    subject
	do   side
	last map[uint32][]byte
}

func (l *lru) lookup(key []byte) (value []byte, there bool) {
	a := l.do(&order{op: opLookup, key: key})
	return a.found[:l.s.value], a.result == 1
}

// check gives an order and says what of the answer breaks a promise.
func (l *lru) check(o *order) string {
	name := binary.LittleEndian.Uint32(o.key)
	value, there := l.lookup(o.key)
	if there && !bytes.Equal(value, l.last[name]) {
		return fmt.Sprintf("key %d holds %x, stored was %x", name, value, l.last[name])
	}
	if o.op == opLookup || o.op == opAcross {
		return ""
	}
	want := l.expected(o, there)
	if a := l.do(o); a.result != want {
		return fmt.Sprintf("%+v, key there %v: %d, expected %d", *o, there, a.result, want)
	}
	if want == 0 && o.op == opUpdate {
		l.last[name] = o.value
	}
	return l.after(o, want == 0, there)
}

// after looks whether what was stored last is there, and what was deleted is not.
func (l *lru) after(o *order, done, before bool) string {
	value, there := l.lookup(o.key)
	switch {
	case o.op == opUpdate && done && (!there || !bytes.Equal(value, o.value)):
		return fmt.Sprintf("the key just stored is there %v, with %x, expected %x", there, value, o.value)
	case o.op == opDelete && there, o.op == opUpdate && !done && there != before:
		return fmt.Sprintf("%+v: key there %v, %v before", *o, there, before)
	}
	return ""
}

// expected is the error number, negative, that an order on an LRU_HASH is due.
func (l *lru) expected(o *order, there bool) int64 {
	switch {
	case o.op == opDelete && !there, o.flags == maps.Exist && !there:
		return -int64(maps.ENOENT)
	case o.flags > maps.Exist:
		return -int64(maps.EINVAL)
	case o.flags == maps.NoExist && there:
		return -int64(maps.EEXIST)
	}
	return 0
}

// count looks for every key that was ever stored.
func (l *lru) count() (n int) {
	for name := range l.last {
		key := make([]byte, l.s.key)
		binary.LittleEndian.PutUint32(key, name)
		if _, there := l.lookup(key); there {
			n++
		}
	}
	return n
}
