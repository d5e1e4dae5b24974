package maps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand"
	"testing"

	"portcullis/internal/prog"
)

func key32(i uint32) []byte { return binary.LittleEndian.AppendUint32(nil, i) }

func spec(t prog.MapType, key, value, max uint32) *prog.Map {
	return &prog.Map{Name: "m", Type: t, KeySize: key, ValueSize: value, MaxEntries: max, SpinLock: -1}
}

func mustNew(t testing.TB, s *prog.Map) Map {
	t.Helper()
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(m Map, key []byte) []byte {
	off, ok := m.Lookup(key)
	if !ok {
		return nil
	}
	return m.Mem()[off : off+m.Spec().ValueSize]
}

func expect(t *testing.T, what string, got, want Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: error %d, expected %d", what, got, want)
	}
}

func TestArray(t *testing.T) {
	m := mustNew(t, spec(prog.Array, 4, 5, 3))
	expect(t, "update past the end", m.Update(key32(3), []byte("hello"), Any), E2BIG)
	expect(t, "BPF_NOEXIST", m.Update(key32(0), []byte("hello"), NoExist), EEXIST)
	expect(t, "unknown flag", m.Update(key32(0), []byte("hello"), 8), EINVAL)
	expect(t, "both flags", m.Update(key32(0), []byte("hello"), NoExist|Exist), EINVAL)
	expect(t, "lock without one", m.Update(key32(0), []byte("hello"), Lock), EINVAL)
	expect(t, "delete", m.Delete(key32(0)), EINVAL)
	expect(t, "BPF_EXIST", m.Update(key32(2), []byte("hello"), Exist), OK)
	if got := get(m, key32(2)); string(got) != "hello" {
		t.Errorf("element 2 is %q, expected what was stored", got)
	}
	if got := get(m, key32(1)); !bytes.Equal(got, make([]byte, 5)) {
		t.Errorf("element 1 is %q, expected zeroes", got)
	}
	if got := get(m, key32(3)); got != nil {
		t.Errorf("element 3 of 3 is %q, expected none", got)
	}
}

func TestGlobals(t *testing.T) {
	s := spec(prog.Array, 4, 12, 1)
	s.Contents = []byte("hello, world")
	m := mustNew(t, s)
	if got := get(m, key32(0)); string(got) != "hello, world" {
		t.Errorf("globals start as %q, expected the section's contents", got)
	}
	get(m, key32(0))[0] = 'J'
	if s.Contents[0] != 'h' {
		t.Error("a write to a global reached the program's description")
	}
}

func TestHashErrors(t *testing.T) {
	m := mustNew(t, spec(prog.Hash, 4, 4, 2))
	expect(t, "BPF_EXIST of nothing", m.Update(key32(1), key32(1), Exist), ENOENT)
	expect(t, "delete of nothing", m.Delete(key32(1)), ENOENT)
	expect(t, "first", m.Update(key32(1), key32(10), NoExist), OK)
	expect(t, "BPF_NOEXIST of something", m.Update(key32(1), key32(11), NoExist), EEXIST)
	expect(t, "second", m.Update(key32(2), key32(20), Any), OK)
	expect(t, "third of two", m.Update(key32(3), key32(30), Any), E2BIG)
	expect(t, "replacing in a full map", m.Update(key32(1), key32(12), Exist), OK)
	expect(t, "unknown flag", m.Update(key32(1), key32(0), 1<<40), EINVAL)
	expect(t, "lock without one", m.Update(key32(1), key32(0), Lock), EINVAL)
	expect(t, "delete", m.Delete(key32(2)), OK)
	expect(t, "third after a delete", m.Update(key32(3), key32(30), Any), OK)
	if got := get(m, key32(1)); !bytes.Equal(got, key32(12)) {
		t.Errorf("key 1 holds %x, expected the value stored last", got)
	}
}

func TestHashAgreesWithGoMap(t *testing.T) {
	const max = 300
	rnd := rand.New(rand.NewSource(1))
	m, model := mustNew(t, spec(prog.Hash, 4, 4, max)).(*HashMap), map[uint32]uint32{}
	for i := 0; i < 200_000; i++ {
		k, v := uint32(rnd.Intn(2*max)), rnd.Uint32()
		_, had := model[k]
		switch rnd.Intn(3) {
		case 0:
			want := OK
			if !had {
				want = ENOENT
			}
			delete(model, k)
			expect(t, "delete", m.Delete(key32(k)), want)
		default:
			want := OK
			if !had && len(model) == max {
				want = E2BIG
			} else {
				model[k] = v
			}
			expect(t, "update", m.Update(key32(k), key32(v), Any), want)
		}
		k = uint32(rnd.Intn(2 * max))
		want, ok := model[k]
		if got := get(m, key32(k)); ok != (got != nil) || ok && binary.LittleEndian.Uint32(got) != want {
			t.Fatalf("step %d: key %d holds %x, expected %d (%v)", i, k, got, want, ok)
		}
		if t.Failed() || m.Len() != len(model) {
			t.Fatalf("step %d: %d keys, expected %d", i, m.Len(), len(model))
		}
	}
}

func TestHashUpdateLeavesOldValueToItsReaders(t *testing.T) {
	m := mustNew(t, spec(prog.Hash, 4, 4, 4))
	m.Update(key32(1), key32(10), Any)
	old, _ := m.Lookup(key32(1))
	m.Update(key32(1), key32(11), Any)
	if got := m.Mem()[old : old+4]; !bytes.Equal(got, key32(10)) {
		t.Errorf("a pointer from before an update shows %x, expected the old value", got)
	}
}

func TestSpinLockIsNoPartOfTheValue(t *testing.T) {
	for _, typ := range []prog.MapType{prog.Hash, prog.Array} {
		s := spec(typ, 4, 12, 1)
		s.SpinLock = 4
		m := mustNew(t, s)
		ones := bytes.Repeat([]byte{1}, 12)
		want := []byte{1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1}
		for _, flags := range []uint64{Any, Lock} {
			expect(t, "update", m.Update(key32(0), ones, flags), OK)
			if got := get(m, key32(0)); !bytes.Equal(got, want) {
				t.Errorf("%s, flags %d: value %x, expected %x: the lock untouched", typ, flags, got, want)
			}
		}
		old, _ := m.Lookup(key32(0))
		m.Update(key32(0), ones, Lock)
		if now, _ := m.Lookup(key32(0)); now != old {
			t.Errorf("%s: BPF_F_LOCK moved the element from %d to %d", typ, old, now)
		}
	}
}

func TestStorage(t *testing.T) {
	s := mustNew(t, spec(prog.TaskStorage, 4, 8, 0)).(*Storage)
	if _, ok := s.Get(Process, 1); ok {
		t.Error("a process has storage that nobody created")
	}
	p, ok := s.Create(Process, 1, []byte("process1"))
	th, ok2 := s.Create(Thread, 1, nil)
	if !ok || !ok2 || p == th {
		t.Fatalf("process 1 at %d (%v), thread 1 at %d (%v): expected two places", p, ok, th, ok2)
	}
	if again, _ := s.Create(Process, 1, []byte("XXXXXXXX")); again != p || string(s.Mem()[p:p+8]) != "process1" {
		t.Errorf("creating again gave %q at %d, expected the first at %d", s.Mem()[again:again+8], again, p)
	}
	expect(t, "remove", s.Remove(Process, 1), OK)
	expect(t, "remove again", s.Remove(Process, 1), ENOENT)
	if off, _ := s.Create(Process, 2, nil); !bytes.Equal(s.Mem()[off:off+8], make([]byte, 8)) {
		t.Errorf("fresh storage holds %q, expected zeroes", s.Mem()[off:off+8])
	}
	if _, ok := s.Get(Thread, 1); !ok {
		t.Error("the thread's storage went with the process's")
	}
	Set{s.spec: s}.Forget(Thread, 1)
	if s.Len() != 1 {
		t.Errorf("%d values after all but one were dropped", s.Len())
	}
}

func TestRemovedStorageStaysReadable(t *testing.T) {
	s := mustNew(t, spec(prog.TaskStorage, 4, 8, 0)).(*Storage)
	old, _ := s.Create(Process, 1, []byte("process1"))
	s.Remove(Process, 1)
	if off, _ := s.Create(Process, 1, nil); off == old {
		t.Error("a pointer from before a removal shows the value made after it")
	}
	s.Settle()
	if off, _ := s.Create(Process, 2, nil); off != old {
		t.Errorf("after the program, the memory at %d is used again at %d", old, off)
	}
}

func TestStorageIsBounded(t *testing.T) {
	s := mustNew(t, spec(prog.TaskStorage, 4, 1<<20, 0)).(*Storage)
	if n := uint64(s.t.limit); n == 0 || n > MaxBytes>>20 {
		t.Errorf("up to %d values of 1 MiB, expected some, and %d at most", n, MaxBytes>>20)
	}
	s = mustNew(t, spec(prog.TaskStorage, 4, 8, 0)).(*Storage)
	s.t.limit = 100
	for key := uint64(0); key < 200; key++ {
		if _, ok := s.Create(Process, key, nil); ok != (key < 100) {
			t.Fatalf("value %d of at most 100: created %v", key, ok)
		}
	}
	s.Forget(Process, 5)
	if _, ok := s.Create(Process, 300, nil); !ok {
		t.Error("no room after a value was forgotten")
	}
}

func TestRefusals(t *testing.T) {
	for _, s := range []*prog.Map{
		spec(prog.Array, 8, 8, 1), spec(prog.Array, 4, 0, 1), spec(prog.Array, 4, 8, 0),
		spec(prog.RingBuf, 0, 0, 4095), spec(prog.RingBuf, 0, 0, 12288), spec(prog.RingBuf, 4, 0, 4096), spec(prog.RingBuf, 0, 1, 4096),
		spec(prog.Hash, 0, 8, 1), spec(prog.Hash, 513, 8, 1), spec(prog.TaskStorage, 4, 8, 1),
		{Type: prog.Array, KeySize: 4, ValueSize: 1, MaxEntries: 1, SpinLock: -1, Contents: []byte("two")},
		{Type: prog.Hash, KeySize: 4, ValueSize: 1, MaxEntries: 1, SpinLock: -1, Flags: prog.FlagClone},
	} {
		var e *SpecError
		if _, err := New(s); !errors.As(err, &e) {
			t.Errorf("%+v: error %v, expected a *SpecError", *s, err)
		}
	}
	for _, s := range []*prog.Map{
		spec(prog.Hash, 4, 8, 1<<31), spec(prog.Array, 4, 1<<31, 1<<31),
		spec(prog.RingBuf, 0, 0, 1<<30), spec(99, 4, 4, 1),
	} {
		var e *UnsupportedError
		if _, err := New(s); !errors.As(err, &e) {
			t.Errorf("%+v: error %v, expected an *UnsupportedError", *s, err)
		}
	}
}

func TestLargeHashStartsSmall(t *testing.T) {
	m := mustNew(t, spec(prog.Hash, 4, 64, 1<<20))
	if n := len(m.Mem()); n > 1<<16 {
		t.Errorf("an empty hash of 2^20 entries holds %d bytes of values", n)
	}
}

func TestNoAllocationWhenWarm(t *testing.T) {
	h := mustNew(t, spec(prog.Hash, 4, 8, 64))
	s := mustNew(t, spec(prog.TaskStorage, 4, 8, 0)).(*Storage)
	keys, value := make([][]byte, 64), make([]byte, 8)
	for i := range keys {
		keys[i] = key32(uint32(i))
		h.Update(keys[i], value, Any)
		s.Create(Process, uint64(i), value)
	}
	n := testing.AllocsPerRun(100, func() {
		for i, k := range keys {
			h.Update(k, value, Any)
			h.Delete(k)
			h.Update(k, value, NoExist)
			s.Remove(Process, uint64(i))
			s.Settle()
			s.Create(Process, uint64(i), value)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in operations on maps that are warm", n)
	}
}

func BenchmarkHashLookup(b *testing.B) {
	m := mustNew(b, spec(prog.Hash, 4, 8, 1024)).(*HashMap)
	for i := uint32(0); i < 1000; i++ {
		m.Update(key32(i), make([]byte, 8), Any)
	}
	k := key32(77)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		m.Lookup(k)
	}
}

func TestLRUDropsWhatIsNotUsed(t *testing.T) {
	const max = 50
	m := mustNew(t, spec(prog.LRUHash, 4, 4, max)).(*LRUMap)
	expect(t, "lock", m.Update(key32(1), key32(1), Lock), EINVAL)
	expect(t, "BPF_EXIST of nothing", m.Update(key32(1), key32(1), Exist), ENOENT)
	for i := uint32(0); i < 10*max; i++ {
		expect(t, "update", m.Update(key32(i), key32(i), Any), OK)
		if got := get(m, key32(7)); i >= 7 && !bytes.Equal(got, key32(7)) {
			t.Fatalf("after %d keys, key 7, which was just used, holds %x", i, got)
		}
		if want := int(i) + 1; m.Len() != want && m.Len() != max {
			t.Fatalf("%d keys after %d updates of at most %d", m.Len(), want, max)
		}
		if got := get(m, key32(i)); !bytes.Equal(got, key32(i)) {
			t.Fatalf("key %d, just stored, holds %x", i, got)
		}
	}
	expect(t, "BPF_NOEXIST", m.Update(key32(7), key32(0), NoExist), EEXIST)
	expect(t, "delete", m.Delete(key32(7)), OK)
}

func TestRing(t *testing.T) {
	r := mustNew(t, spec(prog.RingBuf, 0, 0, 4096)).(*Ring)
	want, got := []string{}, []string{}
	for i := 0; i < 1000; i++ {
		text := string(bytes.Repeat([]byte{byte(i)}, 1+i%700))
		off, ok := r.Reserve(uint64(len(text)))
		if !ok {
			r.Drain(func(b []byte) { got = append(got, string(b)) })
			if off, ok = r.Reserve(uint64(len(text))); !ok {
				t.Fatalf("no room for %d bytes in an empty ring", len(text))
			}
		}
		copy(r.Mem()[off:], text)
		switch i % 3 {
		case 0:
			if !r.Discard(off) || r.Submit(off) {
				t.Fatal("a record is discarded once, and then gone")
			}
			continue
		case 1:
			if !r.Submit(off) || r.Discard(off) {
				t.Fatal("a record is submitted once, and then gone")
			}
		default:
			r.Discard(off)
			if !r.Output([]byte(text)) {
				continue
			}
		}
		want = append(want, text)
	}
	r.Drain(func(b []byte) { got = append(got, string(b)) })
	if len(got) != len(want) {
		t.Fatalf("%d records came out of %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d holds %q, expected %q", i, got[i], want[i])
		}
	}
	if n := r.Query(RingAvail); n != 0 || r.Query(RingSize) != 4096 || r.Query(RingConsPos) != r.Query(RingProdPos) || r.Query(9) != 0 {
		t.Errorf("%d bytes left after a drain", n)
	}
}

func TestRingIsNeverQuiteFull(t *testing.T) {
	r := mustNew(t, spec(prog.RingBuf, 0, 0, 4096)).(*Ring)
	if _, ok := r.Reserve(4088); ok {
		t.Error("a record took the whole ring, which the kernel does not allow")
	}
	if _, ok := r.Reserve(4080); !ok {
		t.Error("a record that leaves eight bytes found no room")
	}
	if _, ok := r.Reserve(1 << 62); ok {
		t.Error("a record larger than the ring found room")
	}
	for _, off := range []uint32{0, 4, 9, 16, 4096 + 8, 1<<32 - 1} {
		if r.Submit(off) {
			t.Errorf("a record was submitted at %d, where none is", off)
		}
	}
}

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		spec *prog.Map
		want string
	}{
		{spec(prog.Array, 8, 8, 1), "map m (ARRAY): key_size is 8: expected 4, the size of an index"},
		{spec(prog.TaskStorage, 4, 8, 7), "map m (TASK_STORAGE): max_entries is 7: expected 0: storage is bounded by the tasks there are"},
		{spec(prog.Hash, 4, 4, 1<<31), "map m (HASH): full, it needs 25769803776 bytes of keys and values, over the limit of 268435456; lower max_entries or value_size"},
		{spec(99, 4, 4, 1), "map m (unknown map type): not supported by the agent engine yet; use another type"},
		{spec(prog.ProgArray, 8, 4, 1), "map m (PROG_ARRAY): key_size is 8: expected 4, the size of an index"},
		{spec(prog.ProgArray, 4, 8, 1), "map m (PROG_ARRAY): value_size is 8: expected 4, the size of a descriptor"},
	} {
		if _, err := New(c.spec); err == nil || err.Error() != c.want {
			t.Errorf("error %v, expected %s", err, c.want)
		}
	}
}

func TestSet(t *testing.T) {
	ring, hash := spec(prog.RingBuf, 0, 0, 4096), spec(prog.Hash, 4, 4, 1)
	s, err := NewSet([]*prog.Map{ring, hash, ring})
	if err != nil {
		t.Fatal(err)
	}
	first := s[hash]
	if err := s.Add([]*prog.Map{hash}); err != nil || s[hash] != first || len(s) != 2 {
		t.Errorf("%d maps of two, error %v: expected a program to share what is there", len(s), err)
	}
	if rings := s.Rings(); len(rings) != 1 || rings[0] != s[ring] {
		t.Errorf("%d rings of one", len(rings))
	}
	if _, err := NewSet([]*prog.Map{hash, spec(99, 4, 4, 1)}); err == nil {
		t.Error("a set with a map that is not served is made")
	}
}

// TestProgramsAreNoValues: only a tail call gets at what a PROG_ARRAY holds.
func TestProgramsAreNoValues(t *testing.T) {
	s := spec(prog.ProgArray, 4, 4, 1<<31)
	s.Tails = []prog.Tail{{Index: 0, Program: &prog.Program{}}}
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 4)
	if _, ok := m.Lookup(key); ok || m.Update(key, key, Any) != EINVAL || m.Delete(key) != EINVAL || len(m.Mem()) != 0 || m.Spec() != s {
		t.Error("a PROG_ARRAY is served as another map")
	}
}

// A copy is of the process alone, is its own from then on, and finds room however
// often the arena has to grow.
func TestInherit(t *testing.T) {
	cloned, plain := spec(prog.TaskStorage, 4, 12, 0), spec(prog.TaskStorage, 4, 8, 0)
	cloned.Flags, cloned.SpinLock = prog.FlagClone, 8
	set, err := NewSet([]*prog.Map{cloned, plain})
	if err != nil {
		t.Fatal(err)
	}
	s := set[cloned].(*Storage)
	s.Create(Process, 1, []byte("12345678...."))
	s.Create(Thread, 1, []byte("a thread's.."))
	set[plain].(*Storage).Create(Process, 1, make([]byte, 8))
	for child := uint64(2); child < 100; child++ {
		if !set.Inherit(child-1, child) {
			t.Fatalf("no room for process %d", child)
		}
		at, ok := s.Get(Process, child)
		if !ok || string(s.Mem()[at:at+8]) != "12345678" {
			t.Fatalf("process %d has %q, %v", child, s.Mem()[at:at+8], ok)
		}
	}
	parent, _ := s.Get(Process, 50)
	copy(s.Mem()[parent:], "changed!")
	if at, _ := s.Get(Process, 51); string(s.Mem()[at:at+8]) != "12345678" {
		t.Error("a child's value changed with its parent's")
	}
	if _, ok := s.Get(Thread, 2); ok {
		t.Error("a thread's value was copied")
	}
	if _, ok := set[plain].(*Storage).Get(Process, 2); ok {
		t.Error("a map without BPF_F_CLONE was copied")
	}
	if !set.Inherit(1000, 1001) {
		t.Error("a process without a value has no child")
	}
}
