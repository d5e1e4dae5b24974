package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// What kernel.seccomp.ebpf=3 gives to everybody it gives for filters: the tests here have
// other programs, other maps and other users ask for the same.

// Programs that everybody may load where unprivilegedFile says 0.
const (
	typeSocketFilter = 1
	unprivilegedFile = "/proc/sys/kernel/unprivileged_bpf_disabled"
)

// Maps that no filter uses, or that hold others.
const (
	typeMapsArray      = prog.MapType(12)
	typeLRUPercpuHash  = prog.MapType(10)
	typeLPMTrie        = prog.MapType(11)
	typeQueue          = prog.MapType(22)
	typeStack          = prog.MapType(23)
	typeBloomFilter    = prog.MapType(30)
	notSupportedAtAll  = syscall.Errno(524) // ENOTSUPP, which is the kernel's own
	lastUnprivileged   = 32768              // instructions of a filter
	lastOfOthers       = 4096               // of other programs
	largestBTF         = 64 << 10
	markedMapComplaint = "a map created without CAP_BPF is for seccomp progs only"
)

// asRoot skips a test that sets what root alone sets.
func asRoot(t *testing.T) {
	t.Helper()
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone sets the sysctl")
	}
}

// openToAll lets everybody load socket filters until the test ends.
func openToAll(t *testing.T) {
	t.Helper()
	set(t, unprivilegedFile, "0")
	t.Cleanup(func() { set(t, unprivilegedFile, "2") })
}

// nobodys is a map that nobody creates for filters.
func nobodys(t *testing.T, m *prog.Map) int {
	t.Helper()
	return opened(t, m.Type, func() (int, error) {
		return unprivileged(func() (int, error) { return createMap(m) })
	})
}

// ours is a map of who runs the test.
func ours(t *testing.T, m *prog.Map) int {
	t.Helper()
	return opened(t, m.Type, func() (int, error) { return createMap(m) })
}

// opened is a descriptor until the test ends.
func opened(t *testing.T, what any, open func() (int, error)) int {
	t.Helper()
	fd, err := open()
	if err != nil {
		t.Fatalf("%v: %v", what, err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return fd
}

// pointsTo loads a program of a type that has a pointer to a map, and gives it up again.
func pointsTo(typ uint32, fd int) error {
	a := newAssembler().op(prog.Insn{Op: prog.OpLoadImm64, Dst: 1, Src: prog.PseudoMapFD, Imm: int32(fd)}, prog.Insn{})
	_, err := tried(typ, a.answer(abi.Allow).insns)
	return err
}

// tried loads a program, and gives it up again. The verifier says why not when it is asked
// again: what it says of a long program that is good would be too long.
func tried(typ uint32, insns []prog.Insn) (int, error) {
	attr := sys.ProgAttr{Type: typ, Insns: prog.Encode(insns), License: "GPL"}
	fd, err := sys.ProgLoad(attr)
	if err == nil {
		return 0, syscall.Close(fd)
	}
	attr.Log = make([]byte, 1<<16)
	if fd, again := sys.ProgLoad(attr); again == nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("%w, and not with a log", err)
	}
	log, _, _ := strings.Cut(string(attr.Log), "\x00")
	return 0, fmt.Errorf("%w: %.300s", err, log)
}

// withLock is an array whose value has a lock, which takes BTF.
func withLock() *prog.Map {
	m := counter(prog.Array)
	m.SpinLock = 0
	return m
}

// ofFilters are maps of every type that filters use.
func ofFilters() (all []*prog.Map) {
	for _, typ := range []prog.MapType{prog.Hash, prog.LRUHash, prog.PercpuHash, prog.Array, prog.PercpuArray, prog.TaskStorage} {
		all = append(all, counter(typ))
	}
	tails := &prog.Map{Name: "tails", Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 1, SpinLock: -1}
	ring := &prog.Map{Name: "ring", Type: prog.RingBuf, MaxEntries: 4096, SpinLock: -1}
	return append(all, tails, ring)
}

// A map that nobody made is for filters, whoever has its descriptor, and whatever may be
// done without privilege meanwhile.
func TestGuestMapsOfNobodyAreForFilters(t *testing.T) {
	asRoot(t)
	for _, m := range ofFilters() {
		m, fd := m, nobodys(t, m)
		t.Run(fmt.Sprint(m.Type), func(t *testing.T) {
			openToAll(t)
			if err := pointsTo(sys.ProgTypeSeccomp, fd); err != nil {
				t.Errorf("a filter: %v", err)
			}
			isMarked(t, "root", pointsTo(typeSocketFilter, fd))
			_, err := unprivileged(func() (int, error) { return 0, pointsTo(typeSocketFilter, fd) })
			isMarked(t, "nobody", err)
			if err := pointsTo(typeSocketFilter, ours(t, m)); err != nil {
				t.Errorf("root's own map in a socket filter of root: %v", err)
			}
		})
	}
}

// isMarked expects the verifier to say that a map is for filters.
func isMarked(t *testing.T, who string, err error) {
	t.Helper()
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), markedMapComplaint) {
		t.Errorf("a socket filter of %s has the map: %v, expected EINVAL and %q", who, err, markedMapComplaint)
	}
}

// Where everybody may load socket filters, the maps of these that everybody may create stay
// as they were. Those of types that nobody gets for filters are for filters then, too.
func TestGuestMapsOfNobodyWhereAllMay(t *testing.T) {
	asRoot(t)
	openToAll(t)
	for _, m := range ofFilters() {
		fd := nobodys(t, m)
		_, err := unprivileged(func() (int, error) { return 0, pointsTo(typeSocketFilter, fd) })
		if m.Type == prog.LRUHash || m.Type == prog.TaskStorage {
			isMarked(t, fmt.Sprint("nobody, with a map of type ", m.Type), err)
		} else if err != nil {
			t.Errorf("a map of type %d, which everybody has: %v", m.Type, err)
		}
	}
}

// Within a map of maps the mark would be out of sight.
func TestGuestMapsOfNobodyAreNotInMaps(t *testing.T) {
	asRoot(t)
	array := counter(prog.Array)
	marked, own := nobodys(t, array), ours(t, array)
	openToAll(t)
	if _, err := closedAgain(mapOf(marked)); err != notSupportedAtAll {
		t.Errorf("a map of nobody's maps: %v, expected ENOTSUPP", err)
	}
	if _, err := unprivileged(func() (int, error) { return closedAgain(mapOf(marked)) }); err != notSupportedAtAll {
		t.Errorf("nobody's map of nobody's maps: %v, expected ENOTSUPP", err)
	}
	outer := opened(t, "a map of root's maps", func() (int, error) { return mapOf(own) })
	for _, c := range []struct {
		inner int
		want  error
	}{{own, nil}, {marked, syscall.EINVAL}} {
		if err := sys.MapUpdate(outer, make([]byte, 4), word(c.inner), 0); err != c.want {
			t.Errorf("a map put in a map: %v, expected %v", err, c.want)
		}
	}
}

// Nor is one that nobody gets for its lock, where he may create it at all.
func TestGuestLocksOfNobodyAreNotInMaps(t *testing.T) {
	asRoot(t)
	openToAll(t)
	for who, c := range map[string]struct {
		inner int
		want  error
	}{"root": {ours(t, withLock()), nil}, "nobody": {nobodys(t, withLock()), notSupportedAtAll}} {
		if _, err := closedAgain(mapOf(c.inner)); err != c.want {
			t.Errorf("a map of maps of %s with locks: %v, expected %v", who, err, c.want)
		}
	}
}

// mapOf is an array of maps such as one that there is.
func mapOf(inner int) (int, error) {
	attr := [7]uint32{uint32(typeMapsArray), 4, 4, 1, 0, uint32(inner), 0}
	return sys.BPF(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// word is a descriptor as a map has it.
func word(fd int) []byte { return []byte{byte(fd), byte(fd >> 8), byte(fd >> 16), byte(fd >> 24)} }

// An array that filters make tail calls by takes no other program.
func TestGuestTailsOfFiltersAreFilters(t *testing.T) {
	asRoot(t)
	tails := &prog.Map{Name: "tails", Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 1, SpinLock: -1}
	p := newAssembler().mapTo(2, prog.PseudoMapFD, tails).mov(3, 0).call(helper.TailCall).answer(abi.Allow).program("tails")
	l, err := unprivileged(func() (*loaded, error) { return added(p) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for typ, want := range map[uint32]error{sys.ProgTypeSeccomp: nil, typeSocketFilter: syscall.EINVAL} {
		fd := opened(t, typ, func() (int, error) {
			return sys.ProgLoad(sys.ProgAttr{Type: typ, Insns: prog.Encode(newAssembler().answer(0).insns), License: "GPL"})
		})
		if err := sys.MapUpdate(l.maps[tails], make([]byte, 4), word(fd), 0); err != want {
			t.Errorf("a program of type %d is put in an array of filters: %v, expected %v", typ, err, want)
		}
	}
}

// A map that has BTF can be read as a file where it is pinned. Nobody's cannot.
func TestGuestMapsOfNobodyAreNoFiles(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	for name, c := range map[string]struct {
		fd   int
		want error
	}{"root": {ours(t, withLock()), nil}, "nobody": {nobodys(t, withLock()), syscall.EIO}} {
		path := filepath.Join(dir, name)
		pin(t, path, c.fd)
		if text, err := os.ReadFile(path); !errors.Is(err, c.want) {
			t.Errorf("the map of %s as a file: %q, %v, expected %v", name, text, err, c.want)
		}
	}
}

// pin gives a map a name.
func pin(t *testing.T, path string, fd int) {
	t.Helper()
	attr := struct {
		path      *byte
		fd, flags uint32
	}{path: named(path), fd: uint32(fd)}
	if _, err := sys.BPF(unix.BPF_OBJ_PIN, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		t.Fatal(err)
	}
}

// Nobody hangs anything on a task from outside of it, not even on himself; nor does root
// through nobody's map. What there is may be looked for.
func TestGuestStorageIsNotPutFromOutside(t *testing.T) {
	inGuest(t)
	m := counter(prog.TaskStorage)
	fd := nobodys(t, m)
	pid := opened(t, "pidfd", func() (int, error) { return sys.PidfdProcess(os.Getpid()) })
	value := make([]byte, 8)
	if err := sys.MapUpdate(fd, word(pid), value, 0); err != syscall.EPERM {
		t.Errorf("storage put through nobody's map: %v, expected EPERM", err)
	}
	if err := sys.MapLookup(fd, word(pid), value); err != syscall.ENOENT {
		t.Errorf("storage looked for through nobody's map: %v, expected ENOENT", err)
	}
	if os.Getuid() != 0 {
		return // and has no other map
	}
	if err := sys.MapUpdate(ours(t, m), word(pid), value, 0); err != nil {
		t.Errorf("storage put through root's own map: %v", err)
	}
}

// What filters have without privilege socket filters do not: length, functions, loops.
func TestGuestSocketFiltersStayAsTheyWere(t *testing.T) {
	asRoot(t)
	openToAll(t)
	function := newAssembler().into(1).exit().mov(0, 0).exit().insns
	loop := newAssembler().mov(6, 0).label("again").add(6, 1).jump(prog.OpJlt, 6, 10, "again").answer(0).program("loop").Insns
	for _, c := range []struct {
		what  string
		insns []prog.Insn
		want  error
	}{
		{"as long as may be", lengthy(lastOfOthers), nil},
		{"longer", lengthy(lastOfOthers + 1), syscall.E2BIG},
		{"a function", function, syscall.EPERM},
		{"a loop", loop, syscall.EINVAL},
	} {
		triedBy(t, c.what, typeSocketFilter, c.insns, c.want)
		if len(c.insns) < lastUnprivileged {
			triedBy(t, c.what, sys.ProgTypeSeccomp, c.insns, nil)
		}
	}
}

// triedBy has nobody load a program.
func triedBy(t *testing.T, what string, typ uint32, insns []prog.Insn, want error) {
	t.Helper()
	_, err := unprivileged(func() (int, error) { return tried(typ, insns) })
	if !errors.Is(err, want) {
		t.Errorf("%s, in a program of type %d of nobody: %v, expected %v", what, typ, err, want)
	}
}

// lengthy is a program of so many instructions.
func lengthy(n int) []prog.Insn {
	a := newAssembler()
	for i := 0; i < n-2; i++ {
		a.mov(2, int32(i))
	}
	return a.answer(abi.Allow).insns
}

// A filter is as long as a chain of filters may be.
func TestGuestLongestFilterOfNobody(t *testing.T) {
	inGuest(t)
	triedBy(t, "the longest", sys.ProgTypeSeccomp, lengthy(lastUnprivileged), nil)
	triedBy(t, "a longer one", sys.ProgTypeSeccomp, lengthy(lastUnprivileged+1), syscall.E2BIG)
	if os.Getuid() != 0 {
		return
	}
	if _, err := tried(sys.ProgTypeSeccomp, lengthy(lastUnprivileged+1)); err != nil {
		t.Errorf("root's: %v", err)
	}
}

// There are no more records of functions than instructions: they are copied before they are checked.
func TestGuestFewRecordsOfNobody(t *testing.T) {
	inGuest(t)
	for records, want := range map[int]error{1: nil, 3: syscall.EPERM} {
		a := annotated{typ: sys.ProgTypeSeccomp, insns: newAssembler().answer(abi.Allow).insns, starts: make([]int, records)}
		if _, err := unprivileged(func() (int, error) { fd, _, err := a.load(); return closedAgain(fd, err) }); err != want {
			t.Errorf("%d records for two instructions: %v, expected %v", records, err, want)
		}
	}
}

// Other programs, and maps that no filter uses, are refused whatever is allowed else.
func TestGuestNothingElseIsForNobody(t *testing.T) {
	inGuest(t)
	const types = 32 // below that of filters
	others := func(t *testing.T) {
		for typ := uint32(2); typ <= types; typ++ {
			if typ == 8 { // BPF_PROG_TYPE_CGROUP_SKB, which is everybody's like socket filters
				continue
			}
			triedBy(t, "a trivial program", typ, newAssembler().answer(0).insns, syscall.EPERM)
		}
		for _, m := range ofOthers() {
			if _, err := unprivileged(func() (int, error) { return sys.MapCreate(m) }); err != syscall.EPERM {
				t.Errorf("a map of type %d of nobody: %v, expected EPERM", m.Type, err)
			}
		}
	}
	t.Run("refused to all", others)
	if os.Getuid() == 0 {
		t.Run("open to all", func(t *testing.T) {
			openToAll(t)
			others(t)
		})
	}
}

// ofOthers are maps that the kernel would create for root.
func ofOthers() []sys.MapAttr {
	return []sys.MapAttr{
		{Type: uint32(typeLRUPercpuHash), KeySize: 4, ValueSize: 4, MaxEntries: 1},
		{Type: uint32(typeLPMTrie), KeySize: 8, ValueSize: 4, MaxEntries: 1, Flags: prog.FlagNoPrealloc},
		{Type: uint32(typeQueue), ValueSize: 4, MaxEntries: 1},
		{Type: uint32(typeStack), ValueSize: 4, MaxEntries: 1},
		{Type: uint32(typeBloomFilter), ValueSize: 4, MaxEntries: 1},
	}
}

// TestGuestOthersAreMade shows that those are refused for who asks, not for what they are.
func TestGuestOthersAreMade(t *testing.T) {
	asRoot(t)
	for _, m := range ofOthers() {
		opened(t, m.Type, func() (int, error) { return sys.MapCreate(m) })
	}
}

// described is BTF of some bytes, all but a few of which are the name of nothing.
func described(size int) []byte {
	data := func(padding int) []byte {
		w := &btfWriter{strings: []byte{0}}
		w.typ("int", kindInt, 0, 4)
		w.words(32)
		w.name(strings.Repeat("x", padding))
		return w.bytes()
	}
	return data(size - len(data(1)) + 1)
}

// A little BTF is for nobody, more is not.
func TestGuestLittleBTFOfNobody(t *testing.T) {
	inGuest(t)
	for size, want := range map[int]error{largestBTF: nil, largestBTF + 1: syscall.EPERM} {
		if n := len(described(size)); n != size {
			t.Fatalf("BTF of %d bytes, expected %d", n, size)
		}
		if _, err := unprivileged(func() (int, error) { return loadedBTF(described(size)) }); err != want {
			t.Errorf("%d bytes of BTF of nobody: %v, expected %v", size, err, want)
		}
	}
	if _, err := loadedBTF(described(largestBTF + 1)); os.Getuid() == 0 && err != nil {
		t.Errorf("root's: %v", err)
	}
}

// loadedBTF loads BTF and gives it up again.
func loadedBTF(data []byte) (int, error) {
	fd, err := sys.BTFLoad(data)
	if err != nil {
		return 0, err
	}
	return 0, syscall.Close(fd)
}

// special is BTF of a map's value that begins with a bpf_spin_lock and has another special
// field of 16 bytes behind it, if that has a name. The value's type is the last number.
func special(name string) (data []byte, key, value uint32) {
	const kindTag = 17
	w := &btfWriter{strings: []byte{0}}
	key = w.typ("int", kindInt, 0, 4)
	w.words(32)
	spin := w.typ("bpf_spin_lock", kindStruct, 1, lockSize)
	w.words(w.name("val"), key, 0)
	node := w.opaque(map[bool]string{true: "bpf_rb_node", false: "bpf_list_node"}[name == "bpf_rb_root"])
	w.typ("holder", kindStruct, 1, specialSize)
	w.words(w.name("node"), node, 0)
	field := w.opaque(name)
	value = w.typ("value", kindStruct, 2, 8+specialSize)
	w.words(w.name("lock"), spin, 0)
	w.words(w.name("field"), field, 8*8)
	if strings.HasPrefix(name, "bpf_list") || strings.HasPrefix(name, "bpf_rb") {
		w.typ("contains:holder:node", kindTag, 0, value)
		w.words(1) // of the second member
	}
	return w.bytes(), key, value
}

// specialSize is large enough for all special fields.
const specialSize = 32

// opaque is a structure of the size that the kernel wants of it, or of 16 bytes.
func (w *btfWriter) opaque(name string) uint32 {
	size := map[string]uint32{"bpf_list_node": 24, "bpf_rb_node": 32}[name]
	if size == 0 {
		size = 16
	}
	id := w.typ(name, kindStruct, 1, size)
	w.words(w.name("opaque"), 1, 0)
	return id
}

// Of what the kernel has special fields in values for, nobody has locks: they are data. The
// rest is pointers into the kernel, or makes it call back.
func TestGuestSpecialFieldsOfNobody(t *testing.T) {
	inGuest(t)
	for _, c := range []struct {
		name string
		want error
	}{
		{"of_no_interest", nil},
		{"bpf_timer", syscall.EPERM},
		{"bpf_wq", syscall.EPERM},
		{"bpf_list_head", syscall.EPERM},
		{"bpf_rb_root", syscall.EPERM},
	} {
		if _, err := unprivileged(func() (int, error) { return specialMap(c.name) }); err != c.want {
			t.Errorf("a lock and a %s in a map of nobody: %v, expected %v", c.name, err, c.want)
		}
		if _, err := specialMap(c.name); os.Getuid() == 0 && err != nil {
			t.Errorf("a lock and a %s in a map of root: %v", c.name, err)
		}
	}
}

// specialMap creates a map with such a value, and gives it up again.
func specialMap(name string) (int, error) {
	data, key, value := special(name)
	btf, err := sys.BTFLoad(data)
	if err != nil {
		return 0, fmt.Errorf("BTF: %w", err)
	}
	defer syscall.Close(btf)
	fd, err := sys.MapCreate(sys.MapAttr{
		Type: uint32(prog.Array), KeySize: 4, ValueSize: 8 + specialSize, MaxEntries: 1, BTF: btf, BTFKey: key, BTFValue: value,
	})
	if err != nil {
		return 0, err
	}
	return 0, syscall.Close(fd)
}

// asks are the outcomes of loading a filter, of creating a map for it, and of loading BTF.
func asks() (seen []string) {
	for _, ask := range []func() (int, error){
		func() (int, error) { return tried(sys.ProgTypeSeccomp, newAssembler().answer(abi.Allow).insns) },
		func() (int, error) { return closedAgain(createMap(counter(prog.LRUHash))) },
		func() (int, error) { return loadedBTF(described(4096)) },
	} {
		_, err := ask()
		seen = append(seen, failure(err))
	}
	return seen
}

// closedAgain gives up what was opened.
func closedAgain(fd int, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return 0, syscall.Close(fd)
}

// failure names what a call has come to.
func failure(err error) string {
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		return err.Error()
	}
	return outcome(errno)
}

// writesLevel tries to open filters to all.
func writesLevel() string { return failure(os.WriteFile(levelFile, []byte("3"), 0)) }

// with makes cmd run as nobody with capabilities.
func with(capabilities ...uintptr) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		as(guest.Nobody, cmd).SysProcAttr.AmbientCaps = capabilities
	}
}

// within makes cmd run as root of a user namespace, and as a user outside.
func within(uid int) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			Credential: &syscall.Credential{NoSetGroups: true},
		}
	}
}

// saysAs has a victim do something as somebody, and compares what it saw.
func saysAs(t *testing.T, who string, is func(*exec.Cmd), words, want string) {
	t.Helper()
	cmd := victim(strings.Fields(words)...)
	is(cmd)
	out, err := cmd.Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("%s, %s: saw %q, %v, expected %q", who, words, got, err, want)
	}
}

// Who loads at which level: nobody, who administrates, who has CAP_BPF, everybody who cannot
// gain privileges. Maps and BTF are CAP_BPF's at every level, as they are for other programs.
func TestGuestLevels(t *testing.T) {
	asRoot(t)
	defer set(t, levelFile, "3")
	const all, none, others = "ok ok ok", "EPERM EPERM EPERM", "EPERM ok ok"
	const capSysAdmin, capBPF = unix.CAP_SYS_ADMIN, unix.CAP_BPF
	for _, c := range []struct {
		who   string
		is    func(*exec.Cmd)
		words string
		want  [4]string
	}{
		{"CAP_SYS_ADMIN", with(capSysAdmin), "asks", [4]string{others, all, all, all}},
		{"CAP_BPF", with(capBPF), "asks", [4]string{others, others, all, all}},
		{"nobody", with(), "privs asks", [4]string{"ok " + none, "ok " + none, "ok " + none, "ok " + all}},
		{"nobody", with(), "asks", [4]string{none, none, none, none}},
		{"root of a namespace", within(0), "asks", [4]string{none, none, none, none}},
		{"root of a namespace", within(0), "privs asks", [4]string{"ok " + none, "ok " + none, "ok " + none, "ok " + all}},
		{"nobody's namespace", within(guest.Nobody), "asks", [4]string{none, none, none, none}},
	} {
		for level, want := range c.want {
			set(t, levelFile, fmt.Sprint(level))
			saysAs(t, fmt.Sprintf("level %d, %s", level, c.who), c.is, c.words, want)
		}
	}
}

// At 0 what is loaded is not installed. Above, who has a descriptor may install.
func TestGuestLevelOfInstalling(t *testing.T) {
	asRoot(t)
	defer set(t, levelFile, "3")
	l, err := load(plain(constant("deny", abi.Errno(edom), getppid)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	puts := func() (int, error) { return l.put(0, 0) }
	for level, want := range []error{syscall.EPERM, nil, nil, nil} {
		set(t, levelFile, fmt.Sprint(level))
		if _, err := confined(puts); err != want {
			t.Errorf("level %d: root installs: %v, expected %v", level, err, want)
		}
		if _, err := unprivileged(puts); err != want {
			t.Errorf("level %d: nobody installs: %v, expected %v", level, err, want)
		}
	}
}

// What is installed stays where nobody may install any more.
func TestGuestLevelOfTheInstalled(t *testing.T) {
	asRoot(t)
	defer set(t, levelFile, "3")
	got := filtered(t, func() []string {
		defer install(t, constant("deny", abi.Errno(edom), getppid), 0, 0).close()
		set(t, levelFile, "0")
		return perform([]string{"ppid"})
	})
	if s := strings.Join(got, " "); s != "EDOM" {
		t.Errorf("a filter that was there before: saw %s, expected EDOM", s)
	}
}

// The file's permission is not enough to write the level, nor is a descriptor.
func TestGuestLevelIsOfWhoAdministrates(t *testing.T) {
	asRoot(t)
	defer set(t, levelFile, "3")
	set(t, levelFile, "2")
	const denied = "errno13" // EACCES, by the file's mode
	saysAs(t, "root of a namespace, and outside", within(0), "level", "EPERM")
	saysAs(t, "root of nobody's namespace", within(guest.Nobody), "level", denied)
	saysAs(t, "CAP_BPF", with(unix.CAP_BPF), "level", denied)
	if got := onThread(withoutAdmin); got != "EPERM" {
		t.Errorf("root without CAP_SYS_ADMIN: %s, expected EPERM", got)
	}
	if _, err := handedOver(t); err != syscall.EPERM {
		t.Errorf("nobody, by root's descriptor: %v, expected EPERM", err)
	}
	for _, value := range []string{"4", "-1", "many"} {
		if err := os.WriteFile(levelFile, []byte(value), 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("root writes %q: %v, expected EINVAL", value, err)
		}
	}
	if level, err := os.ReadFile(levelFile); string(level) != "2\n" {
		t.Errorf("the level is %q afterwards, %v: expected 2", level, err)
	}
}

// withoutAdmin tries to write the level with all capabilities but CAP_SYS_ADMIN.
func withoutAdmin() string {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err.Error()
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	data[0].Permitted &^= 1 << unix.CAP_SYS_ADMIN
	if err := unix.Capset(&head, &data[0]); err != nil {
		return err.Error()
	}
	return writesLevel()
}

// handedOver has nobody write the level by a descriptor that root has opened.
func handedOver(t *testing.T) (int, error) {
	t.Helper()
	fd := opened(t, levelFile, func() (int, error) { return syscall.Open(levelFile, syscall.O_WRONLY|syscall.O_CLOEXEC, 0) })
	return unprivileged(func() (int, error) { return syscall.Write(fd, []byte("3")) })
}
