package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// What filters leave in maps is compared with what the agent's interpreter does in its
// own, by the same program for the same calls. A getppid says by its arguments what is
// to be done: 0 to 2 is an update with these flags, 3 a deletion, 4 an addition in place;
// then a key, and a number. It fails with the error that the helper gives.

// keyed does it to a map with values of two words.
const keyed = `
	%s
	r2 = *(u32 *)(r1 +0)
	if r2 != 110 goto allow
	r7 = *(u64 *)(r1 +16)
	r8 = *(u64 *)(r1 +24)
	r9 = *(u64 *)(r1 +32)
	*(u64 *)(r10 -8) = r8
	*(u64 *)(r10 -16) = r9
	*(u64 *)(r10 -24) = r7
	r1 = map[m]
	r2 = r10
	r2 += -8
	if r7 == 3 goto delete
	if r7 > 3 goto add
	r3 = r10
	r3 += -24
	r4 = r7
	call bpf_map_update_elem
	goto answer
	delete:
	call bpf_map_delete_elem
	goto answer
	add:
	call bpf_map_lookup_elem
	if r0 != 0 goto there
	r0 = -2
	goto answer
	there:
	r1 = *(u64 *)(r0 +8)
	r1 += r9
	*(u64 *)(r0 +8) = r1
	allow:
	r0 = 0x7fff0000
	exit
	answer:
	if r0 == 0 goto allow
	r0 = -r0
	r0 &= 4095
	r0 |= 0x50000
	exit
`

// stored does it to task storage: an update makes it where it is not there, and the
// second argument is the flags that say whose it is.
const stored = `
	map m TASK_STORAGE key 4 value 16 entries 0 flags 1
	r2 = *(u32 *)(r1 +0)
	if r2 != 110 goto allow
	r7 = *(u64 *)(r1 +16)
	r8 = *(u64 *)(r1 +24)
	r9 = *(u64 *)(r1 +32)
	r1 = map[m]
	r2 = 0
	if r7 == 3 goto delete
	r3 = 0
	r4 = r8
	if r7 > 3 goto get
	r4 |= 1
	get:
	call bpf_task_storage_get
	if r0 != 0 goto there
	r0 = -2
	goto answer
	there:
	r1 = *(u64 *)(r0 +8)
	r1 += r9
	*(u64 *)(r0 +8) = r1
	*(u64 *)(r0 +0) = r7
	allow:
	r0 = 0x7fff0000
	exit
	delete:
	r3 = r8
	call bpf_task_storage_delete
	answer:
	if r0 == 0 goto allow
	r0 = -r0
	r0 &= 4095
	r0 |= 0x50000
	exit
`

// recorded puts the number into a ring: whole, reserved, or discarded.
const recorded = `
	map m RINGBUF key 0 value 0 entries 4096
	r2 = *(u32 *)(r1 +0)
	if r2 != 110 goto allow
	r7 = *(u64 *)(r1 +16)
	r9 = *(u64 *)(r1 +32)
	*(u64 *)(r10 -8) = r9
	r1 = map[m]
	if r7 > 1 goto reserve
	r2 = r10
	r2 += -8
	r3 = 8
	r4 = 0
	call bpf_ringbuf_output
	goto answer
	reserve:
	r2 = 16
	r3 = 0
	call bpf_ringbuf_reserve
	if r0 == 0 goto allow
	*(u64 *)(r0 +0) = r7
	*(u64 *)(r0 +8) = r9
	r1 = r0
	r2 = 0
	if r7 > 3 goto discard
	call bpf_ringbuf_submit
	goto allow
	discard:
	call bpf_ringbuf_discard
	allow:
	r0 = 0x7fff0000
	exit
	answer:
	if r0 == 0 goto allow
	r0 = -r0
	r0 &= 4095
	r0 |= 0x50000
	exit
`

// contents are keys and values as text.
type contents map[string]string

func (c contents) put(key, value []byte) { c[fmt.Sprintf("%x", key)] = fmt.Sprintf("%x", value) }

// sides are a program with its map here and in the kernel, where the calling thread is
// under it.
type sides struct {
	m       *prog.Map
	here    maps.Map
	machine *interp.Machine
	fd      int
	l       *loaded
	cpus    int // that there may be
	task    oneTask
}

// oneTask is the caller of every call, whose storage has these keys.
type oneTask struct{ bpfgen.Env }

func (oneTask) Process() uint64 { return 1 }
func (oneTask) Thread() uint64  { return 2 }

// newSides filters the calling thread.
func newSides(text string) (*sides, error) {
	p, err := bpfasm.Assemble("operator", text)
	if err != nil {
		return nil, err
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		return nil, err
	}
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		return nil, err
	}
	s := &sides{m: p.Maps[0], here: set[p.Maps[0]], task: oneTask{bpfgen.Env{R: rand.New(rand.NewSource(1))}}}
	if s.machine, err = interp.New(v, set); err != nil {
		return nil, err
	}
	if s.cpus, err = possibleProcessors(); err != nil {
		return nil, err
	}
	if s.l, err = load(plain(p)); err != nil {
		return nil, err
	}
	s.fd = s.l.maps[s.m]
	_, err = s.l.put(0, 0)
	return s, err
}

// possibleProcessors is how many values an element of a per-CPU map has.
func possibleProcessors() (int, error) {
	text, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		return 0, err
	}
	var first, last int
	if n, _ := fmt.Sscanf(string(text), "%d-%d", &first, &last); n < 2 {
		last = first
	}
	return last + 1, nil
}

// onFirstProcessor keeps the calling thread on one: it sees one value of per-CPU maps.
func onFirstProcessor() error {
	mask := [16]uint64{1}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return errno
	}
	return nil
}

// call makes a call, and asks the interpreter about it; they answer the same.
func (s *sides) call(op, key, number uint64) error {
	d := &abi.SeccompData{Nr: getppid, Arch: abi.ArchX86_64}
	d.Args[0], d.Args[1], d.Args[2] = op, key, number
	want := s.machine.Run(s.task, d)
	_, _, errno := syscall.RawSyscall(getppid, uintptr(op), uintptr(key), uintptr(number))
	got := abi.Allow
	if errno != 0 {
		got = abi.Errno(uint16(errno))
	}
	if want.Fault != nil || abi.Verdict(want.Ret) != got {
		return fmt.Errorf("operation %d on %d with %#x: %#x here (%v), %#x in the kernel", op, key, number, want.Ret, want.Fault, uint32(got))
	}
	return nil
}

// value is a value without what its lock holds.
func (s *sides) value(b []byte) []byte {
	b = append([]byte(nil), b[:s.m.ValueSize]...)
	if s.m.SpinLock >= 0 {
		copy(b[s.m.SpinLock:], make([]byte, lockSize))
	}
	return b
}

// inKernel walks over the map as user space does.
func (s *sides) inKernel() (contents, error) {
	all, key := contents{}, []byte(nil)
	stride := int(s.m.ValueSize+7) &^ 7
	size := int(s.m.ValueSize)
	if s.m.Type == prog.PercpuArray || s.m.Type == prog.PercpuHash {
		size = stride * s.cpus
	}
	for {
		next, err := nextKey(s.fd, key, int(s.m.KeySize))
		if err == syscall.ENOENT {
			return all, nil
		}
		value := make([]byte, size)
		if err == nil {
			err = sys.MapLookup(s.fd, next, value)
		}
		if err != nil {
			return nil, err
		}
		if size > stride && strings.Trim(string(value[stride:]), "\x00") != "" {
			return nil, fmt.Errorf("key %x holds %x: expected nothing from other processors", next, value)
		}
		all.put(next, s.value(value))
		key = next
	}
}

// nextKey is BPF_MAP_GET_NEXT_KEY; before the first key is nil.
func nextKey(fd int, key []byte, size int) ([]byte, error) {
	next := make([]byte, size)
	attr := struct {
		fd, _     uint32
		key, next unsafe.Pointer
		flags     uint64
	}{fd: uint32(fd), next: unsafe.Pointer(&next[0])}
	if key != nil {
		attr.key = unsafe.Pointer(&key[0])
	}
	if _, err := sys.BPF(unix.BPF_MAP_GET_NEXT_KEY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, err
	}
	return next, nil
}

// keysTried are the keys that calls name: a few more than there is room for.
func (s *sides) keysTried() uint64 { return uint64(s.m.MaxEntries) + 3 }

// inAgent looks every key up that calls name.
func (s *sides) inAgent() contents {
	all := contents{}
	for n := uint64(0); n < s.keysTried(); n++ {
		key := binary.LittleEndian.AppendUint64(nil, n)[:s.m.KeySize]
		if off, there := s.here.Lookup(key); there {
			all.put(key, s.value(s.here.Mem()[off:]))
		}
	}
	return all
}

// compare compares all that is in the maps.
func (s *sides) compare() error {
	there, err := s.inKernel()
	if err != nil {
		return err
	}
	if here := s.inAgent(); !reflect.DeepEqual(here, there) {
		return fmt.Errorf("the agent's holds\n%v\nthe kernel's\n%v", here, there)
	}
	return nil
}

// contentCalls is how many calls each kind of map is tried with.
const contentCalls = 256

// drawing draws what a call is to do.
type drawing func(s *sides, r *rand.Rand) (op, key, number uint64)

// below draws any operation, on keys below n; 0 for a few more than there is room for.
func below(n uint64) drawing {
	return func(s *sides, r *rand.Rand) (op, key, number uint64) {
		limit := n
		if limit == 0 {
			limit = s.keysTried()
		}
		return uint64(r.Intn(5)), r.Uint64() % limit, r.Uint64()
	}
}

// operated filters a thread of its own, which makes calls, and looks every few of them.
func operated(t *testing.T, text string, draw drawing, look func(*sides) error) {
	t.Helper()
	if err := filtered(t, func() error {
		if err := onFirstProcessor(); err != nil {
			return err
		}
		s, err := newSides(text)
		if err != nil {
			return err
		}
		defer s.l.close()
		r := rand.New(rand.NewSource(*first))
		for i := 0; i < contentCalls && err == nil; i++ {
			err = s.call(draw(s, r))
			if err == nil && i%16 == 15 {
				err = look(s)
			}
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestGuestMapContents(t *testing.T) {
	inGuest(t)
	for _, m := range []string{
		"ARRAY key 4 value 16 entries 8", "ARRAY key 4 value 16 entries 5 lock 0",
		"HASH key 8 value 16 entries 12", "HASH key 4 value 16 entries 6 flags 1", "HASH key 4 value 16 entries 6 lock 0",
		"PERCPU_ARRAY key 4 value 16 entries 8", "PERCPU_HASH key 8 value 16 entries 12",
	} {
		t.Run(m, func(t *testing.T) { operated(t, fmt.Sprintf(keyed, "map m "+m), below(0), (*sides).compare) })
	}
	t.Run("LRU_HASH with room for all", func(t *testing.T) {
		operated(t, fmt.Sprintf(keyed, "map m LRU_HASH key 8 value 16 entries 128"), below(16), (*sides).compare)
	})
}

// Which keys a full LRU_HASH drops is its own affair. Of the others both have what was
// stored last, and never too many.
func TestGuestFullMapContents(t *testing.T) {
	inGuest(t)
	last := contents{}
	draw := func(s *sides, r *rand.Rand) (op, key, number uint64) {
		key, number = r.Uint64()%s.keysTried(), r.Uint64()
		value := binary.LittleEndian.AppendUint64(nil, 0)
		last.put(binary.LittleEndian.AppendUint64(nil, key), binary.LittleEndian.AppendUint64(value, number))
		return maps.Any, key, number
	}
	operated(t, fmt.Sprintf(keyed, "map m LRU_HASH key 8 value 16 entries 10"), draw, func(s *sides) error {
		there, err := s.inKernel()
		return errors.Join(err, s.among(there, last), s.among(s.inAgent(), last))
	})
}

// among tells whether all that is left is what was stored last.
func (s *sides) among(left, last contents) error {
	if len(left) == 0 || len(left) > int(s.m.MaxEntries) {
		return fmt.Errorf("%d keys: expected some, and at most %d", len(left), s.m.MaxEntries)
	}
	for key, value := range left {
		if last[key] != value {
			return fmt.Errorf("key %s holds %s: %s was stored last", key, value, last[key])
		}
	}
	return nil
}

// Storage is read by descriptors of the process and the thread.
func TestGuestStorageContents(t *testing.T) {
	inGuest(t)
	const thread = 1 << 8
	either := func(_ *sides, r *rand.Rand) (op, flags, number uint64) {
		return uint64(r.Intn(5)), uint64(thread * r.Intn(2)), r.Uint64()
	}
	operated(t, stored, either, func(s *sides) error {
		return errors.Join(s.compareStorage(maps.Process, 1, syscall.Getpid(), 0), s.compareStorage(maps.Thread, 2, syscall.Gettid(), syscall.O_EXCL))
	})
}

func (s *sides) compareStorage(space maps.Space, key uint64, id, flags int) error {
	const pidfdOpen = 434
	fd, _, errno := syscall.Syscall(pidfdOpen, uintptr(id), uintptr(flags), 0)
	if errno != 0 {
		return errno
	}
	defer syscall.Close(int(fd))
	value := make([]byte, s.m.ValueSize)
	err := sys.MapLookup(s.fd, binary.LittleEndian.AppendUint32(nil, uint32(fd)), value)
	off, there := s.here.(*maps.Storage).Get(space, key)
	if (err == nil) != there || !there && err != syscall.ENOENT {
		return fmt.Errorf("storage %d is there: %v here, %v in the kernel", space, there, err)
	}
	if there && !reflect.DeepEqual(value, s.value(s.here.Mem()[off:])) {
		return fmt.Errorf("storage %d holds %x here, %x in the kernel", space, s.here.Mem()[off:][:s.m.ValueSize], value)
	}
	return nil
}

// Records are read in the ring's own memory, as who drains it does.
func TestGuestRingContents(t *testing.T) {
	inGuest(t)
	operated(t, recorded, below(1), (*sides).compareRing)
}

func (s *sides) compareRing() error {
	var here []string
	s.here.(*maps.Ring).Drain(func(record []byte) { here = append(here, fmt.Sprintf("%x", record)) })
	there, err := drained(s.fd, int(s.m.MaxEntries))
	if err == nil && !reflect.DeepEqual(here, there) {
		err = fmt.Errorf("records\n%v here\n%v in the kernel", here, there)
	}
	return err
}

// drained are the records of a ring that nobody else drains.
func drained(fd, size int) (records []string, err error) {
	const page, discarded, header = 4096, 1 << 30, 8
	consumer, err := syscall.Mmap(fd, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(consumer)) }()
	ring, err := syscall.Mmap(fd, page, page+2*size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(ring)) }()
	at, end := binary.LittleEndian.Uint64(consumer), binary.LittleEndian.Uint64(ring)
	for data := ring[page:]; at < end; {
		record := data[at%uint64(size):]
		n := binary.LittleEndian.Uint32(record)
		if n&discarded == 0 {
			records = append(records, fmt.Sprintf("%x", record[header:header+n]))
		}
		at += uint64((n&^discarded + header + 7) &^ 7)
	}
	binary.LittleEndian.PutUint64(consumer, at)
	return records, nil
}
