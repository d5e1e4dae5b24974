package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/kit"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// TestPatch runs the tests named TestGuest… on the kernel of linux/, as root and
// as nobody, or as nobody alone where time is short.
func TestPatch(t *testing.T) {
	if kit.Wide() {
		guest.Test(t, "-test.run=^TestGuest")
		return
	}
	guest.TestIn(t, guest.Config{CPUs: 2}, guest.Nobody, "-test.run=^TestGuest", "-test.skip=^TestGuestGlobalFunctions$")
}

// inGuest is the first line of every test that needs the patched kernel.
func inGuest(t *testing.T) {
	t.Helper()
	if !guest.Inside() {
		t.Skip("runs in the guest that TestPatch boots")
	}
}

// counter is a keyed map with 8-byte values, or task storage with T TaskStorage.
func counter(typ prog.MapType) *prog.Map {
	m := &prog.Map{Name: "counter", Type: typ, KeySize: 8, ValueSize: 8, MaxEntries: 4, SpinLock: -1}
	if typ == prog.Array || typ == prog.PercpuArray {
		m.KeySize = 4
	}
	return m
}

// plain are programs as filters that see every call.
func plain(programs ...*prog.Program) []filter {
	var filters []filter
	for _, p := range programs {
		filters = append(filters, filter{program: p})
	}
	return filters
}

// splitted is a program as a filter that is not asked about what it always allows.
func splitted(t *testing.T, p *prog.Program) filter {
	t.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newFilter(split.Split(v))
}

// launched runs a victim under programs and returns the words it prints, and
// what count of a map is afterwards.
func launched(t *testing.T, filters []filter, words ...string) (string, *loaded) {
	t.Helper()
	l, err := load(filters)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(l.close)
	cmd := victim(words...)
	out := new(strings.Builder)
	cmd.Stdout = out
	if err := l.launch(cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("victim %q: %v", words, err)
	}
	return strings.TrimSpace(out.String()), l
}

// expect launches a victim and compares what it prints.
func expect(t *testing.T, want string, filters []filter, words string) *loaded {
	t.Helper()
	got, l := launched(t, filters, strings.Fields(words)...)
	if got != want {
		t.Errorf("victim %q saw\n%s, expected\n%s", words, got, want)
	}
	return l
}

// count reads the 8-byte value under a zero key, from offset at.
func count(t *testing.T, l *loaded, m *prog.Map, at int) uint64 {
	t.Helper()
	value := make([]byte, m.ValueSize)
	if _, err := confined(func() (bool, error) {
		return true, sys.MapLookup(l.maps[m], make([]byte, m.KeySize), value)
	}); err != nil {
		t.Fatalf("map %s: %v", m.Name, err)
	}
	return binary.NativeEndian.Uint64(value[at:])
}

func TestGuestProbe(t *testing.T) {
	inGuest(t)
	if err := Probe(); err != nil {
		t.Fatal(err)
	}
}

// Maps belong to the installation: forks and execs share the count.
func TestGuestMapOverForkAndExec(t *testing.T) {
	inGuest(t)
	for _, typ := range []prog.MapType{prog.Hash, prog.LRUHash} {
		m := counter(typ)
		expect(t, "ok ok leader ok EDOM EDOM other EDOM", plain(limitByMap(m, 3)),
			"ppid ppid exec ppid ppid fork ppid threadexec ppid")
	}
}

func TestGuestMapCounts(t *testing.T) {
	inGuest(t)
	m := counter(prog.Hash)
	l := expect(t, "ok ok ok EDOM EDOM", plain(limitByMap(m, 3)), "ppid ppid ppid fork ppid ppid")
	if n := count(t, l, m, 0); n != 5 {
		t.Errorf("%d calls counted: 5 expected", n)
	}
}

func TestGuestGlobals(t *testing.T) {
	inGuest(t)
	bss := &prog.Map{Name: ".bss", Type: prog.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Contents: make([]byte, 8), SpinLock: -1}
	rodata := &prog.Map{Name: ".rodata", Type: prog.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Contents: []byte{2, 0, 0, 0, 0, 0, 0, 0}, Frozen: true, SpinLock: -1}
	l := expect(t, "ok ok EDOM EDOM", plain(limitByGlobals(bss, rodata)), "ppid ppid ppid fork ppid")
	if n := count(t, l, bss, 0); n != 4 {
		t.Errorf("%d calls counted: 4 expected", n)
	}
}

func TestGuestSpinLock(t *testing.T) {
	inGuest(t)
	m := &prog.Map{Name: "locked", Type: prog.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, SpinLock: 0}
	l := expect(t, "ok ok ok", plain(locked(m)), "ppid thread ppid fork ppid")
	if n := count(t, l, m, 8); n != 3 {
		t.Errorf("%d calls counted: 3 expected", n)
	}
}

func TestGuestLoopAndCall(t *testing.T) {
	inGuest(t)
	expect(t, "errno55", plain(withLoopAndCall()), "ppid")
}

// Storage belongs to the process: threads share it, execve keeps it, from
// whatever thread; a child starts at zero.
func TestGuestProcessStorage(t *testing.T) {
	inGuest(t)
	programs := func() []filter { return plain(limitByStorage(counter(prog.TaskStorage), 3, 0)) }
	expect(t, "ok ok ok EDOM", programs(), "ppid ppid thread ppid ppid")
	expect(t, "ok ok ok EDOM ok ok ok EDOM", programs(), "ppid ppid ppid ppid fork ppid ppid ppid ppid")
	expect(t, "ok ok leader ok EDOM", programs(), "ppid ppid exec ppid ppid")
	expect(t, "ok ok other ok EDOM", programs(), "ppid ppid threadexec ppid ppid")
	expect(t, "ok other ok leader ok other EDOM", programs(), "ppid threadexec ppid exec ppid threadexec ppid")
}

// Storage with BPF_F_CLONE is the child's from the fork on, and its own.
func TestGuestClonedStorage(t *testing.T) {
	inGuest(t)
	m := counter(prog.TaskStorage)
	m.Flags = prog.FlagClone
	programs := plain(limitByStorage(m, 3, 0))
	expect(t, "ok ok ok EDOM leader EDOM", programs, "ppid ppid fork ppid ppid exec ppid")
}

// Storage of a thread is its own.
func TestGuestThreadStorage(t *testing.T) {
	inGuest(t)
	programs := plain(limitByStorage(counter(prog.TaskStorage), 2, helper.StorageThread))
	expect(t, "ok ok EDOM ok ok EDOM", programs, "ppid ppid ppid thread ppid ppid ppid")
}

// What is launched may be denied everything that launching takes, and has no
// descriptor of the filter.
func TestGuestLaunchIsExempt(t *testing.T) {
	inGuest(t)
	const execve, execveat, seccomp = 59, 322, 317
	programs := plain(
		constant("deny_exec", abi.Errno(edom), execve, execveat, seccomp),
		constant("deny_ppid", abi.Errno(1), getppid),
	)
	expect(t, "EDOM EDOM EPERM EDOM []", programs, "noexec seccomp ppid thread noexec fds")
}

// A process goes on under a filter by executing in place.
func TestGuestExecInPlace(t *testing.T) {
	inGuest(t)
	for words, want := range map[string]string{
		"ppid ppid inplace ppid ppid": "ok ok ok EDOM",
		"inplace ppid inplace ppid":   "ok EDOM", // counts anew, but the first limit stays
		"ppid inplace":                "ok exec /nothing/there: no such file or directory",
	} {
		out, err := victim(strings.Fields(words)...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("victim %q saw %q, %v: %q expected", words, got, err, want)
		}
	}
}

// Neither the target nor what it starts reaches a program or map, or gets out.
// The installer lives on meanwhile: it holds nothing either.
func TestGuestTamperProtection(t *testing.T) {
	inGuest(t)
	cmd := victim("tamper", "fork", "tamper")
	if os.Getuid() == 0 {
		// Who has CAP_SYS_ADMIN reaches ids; what is promised is for others.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	}
	out := new(strings.Builder)
	cmd.Stdout = out
	if err := start(plain(limitByMap(counter(prog.Hash), 1), limitByStorage(counter(prog.TaskStorage), 1, 0)), cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	const once = "EPERM EPERM EPERM EPERM unreachable errno22 errno22"
	if got := strings.TrimSpace(out.String()); got != once+" "+once {
		t.Errorf("saw\n%s, expected twice\n%s", got, once)
	}
}

// The limit holds in a crowd of processes.
func TestGuestCrowd(t *testing.T) {
	inGuest(t)
	expect(t, "map[EDOM:14 ok:10]", plain(limitByMap(counter(prog.Hash), 10)), "children")
	expect(t, "map[ok:24]", plain(limitByStorage(counter(prog.TaskStorage), 1, 0)), "children")
}

// Filters, maps and storage that come and go leave the kernel well: the test
// fails by what the kernel complains of.
func TestGuestComingAndGoing(t *testing.T) {
	inGuest(t)
	for i := 0; i < 100; i++ {
		seen := filtered(t, func() []string {
			l := install(t, limitByStorage(counter(prog.TaskStorage), 1, helper.StorageThread), 0, 0)
			defer l.close()
			defer install(t, limitByMap(counter(prog.LRUHash), 2), sys.ExemptLaunch, 0).close()
			return perform([]string{"ppid", "ppid"})
		})
		if s := strings.Join(seen, " "); s != "ok EDOM" {
			t.Fatalf("round %d: saw %s", i, s)
		}
	}
}

// A filter may deny every call that is not the launch; this one kills.
func TestGuestEverythingIsDenied(t *testing.T) {
	inGuest(t)
	p := newAssembler().answer(abi.KillProcess).program("kill_all")
	l, err := load(plain(p))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	cmd := victim("ppid")
	if err := l.launch(cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		t.Errorf("the target ended with %v: SIGSYS expected", err)
	}
}

// A target that cannot be executed is an error of start even when nothing else is allowed.
func TestGuestFailedLaunch(t *testing.T) {
	inGuest(t)
	p := newAssembler().answer(abi.KillProcess).program("kill_all")
	err := start(plain(p), cbpf.Program{}, exec.Command("/nothing/there"))
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v: ENOENT expected", err)
	}
}

// The guards come first, and all filters run: the strictest answer wins, and
// among equals that of the filter installed last.
func TestGuestMixed(t *testing.T) {
	inGuest(t)
	m := counter(prog.Hash)
	l, err := load(plain(limitByMap(m, 100), constant("eperm", abi.Errno(1), getppid)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	cmd := victim("ppid", "ppid")
	out := new(strings.Builder)
	cmd.Stdout = out
	if err := l.launch(guards(t), cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if out.String() != "EPERM EPERM\n" {
		t.Errorf("the victim saw %q: the newest filter's EPERM expected", out)
	}
	if n := count(t, l, m, 0); n != 2 {
		t.Errorf("%d calls counted: 2 expected, all filters run", n)
	}
}

// filtered runs f on a thread of its own that has given up privileges.
func filtered[T any](t *testing.T, f func() T) T {
	t.Helper()
	return onThread(func() T {
		if err := sys.NoNewPrivs(); err != nil {
			t.Error(err)
		}
		return f()
	})
}

// put puts the first program on the calling thread; the number is a listener's, if one is asked for.
func (l *loaded) put(attrFlags uint32, flags uint) (int, error) {
	attr := sys.NewExtendedAttr(l.progs[0], attrFlags)
	return sys.InstallExtended(&attr, flags)
}

// install puts a program on the calling thread.
func install(t *testing.T, p *prog.Program, attrFlags uint32, flags uint) *loaded {
	t.Helper()
	l, err := load(plain(p))
	if err != nil {
		t.Errorf("%+v", err)
		return &loaded{}
	}
	if _, err := l.put(attrFlags, flags); err != nil {
		t.Errorf("install %s with flags %#x, %#x: %v", p.Name, attrFlags, flags, err)
	}
	return l
}

// Classic filters after an eBPF one, too.
func TestGuestClassicAfterwards(t *testing.T) {
	inGuest(t)
	got := filtered(t, func() []string {
		m := counter(prog.Hash)
		l := install(t, limitByMap(m, 1), 0, 0)
		defer l.close()
		before := perform([]string{"ppid", "ppid"})
		_, err := sys.InstallFilter(insns(guards(t)), 0)
		if err != nil {
			t.Error(err)
		}
		after := perform([]string{"ppid"})
		if n := count(t, l, m, 0); n != 3 {
			t.Errorf("%d calls counted: 3 expected", n)
		}
		return append(before, after...)
	})
	if s := strings.Join(got, " "); s != "ok EDOM EDOM" {
		t.Errorf("saw %s", s)
	}
}

// insns is a classic program as the kernel takes it.
func insns(p cbpf.Program) []sys.FilterInsn {
	var list []sys.FilterInsn
	for _, in := range p.Insns() {
		list = append(list, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return list
}

// A classic filter that allows a call for good must not let it past an eBPF one
// by the bitmap of constant actions, in either order.
func TestGuestBitmap(t *testing.T) {
	inGuest(t)
	allow, err := cbpf.Validate([]cbpf.Insn{{Op: 0x06, K: uint32(abi.Allow)}})
	if err != nil {
		t.Fatal(err)
	}
	got := filtered(t, func() []string {
		if _, err := sys.InstallFilter(insns(allow), 0); err != nil {
			t.Error(err)
		}
		seen := perform([]string{"ppid"})
		l := install(t, constant("deny", abi.Errno(edom), getppid), 0, 0)
		defer l.close()
		seen = append(seen, perform([]string{"ppid"})...)
		if _, err := sys.InstallFilter(insns(allow), 0); err != nil {
			t.Error(err)
		}
		return append(seen, perform([]string{"ppid"})...)
	})
	if s := strings.Join(got, " "); s != "ok EDOM EDOM" {
		t.Errorf("saw %s", s)
	}
}

func needBitmaps(t *testing.T) {
	t.Helper()
	inGuest(t)
	known, err := confined(func() (bool, error) { return knowsBitmaps(), nil })
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		t.Skip("needs a kernel whose seccomp_extended_attr has bitmaps")
	}
}

// What a filter always allows is not asked again, and what it counts is.
func TestGuestAllowedCallsAreCached(t *testing.T) {
	needBitmaps(t)
	counts := []filter{splitted(t, limitByMap(counter(prog.Hash), 1))}
	expect(t, "ok EDOM EDOM", counts, "ppid ppid ppid")
	if os.Getuid() != 0 {
		return // root alone reads the cache
	}
	expect(t, "ALLOW FILTER", counts, "cache")
	expect(t, "FILTER FILTER", plain(limitByMap(counter(prog.Hash), 1)), "cache")
	deny := splitted(t, constant("deny_getpid", abi.Errno(edom), 39))
	expect(t, "FILTER FILTER", append(counts, deny), "cache")
	expect(t, "FILTER ALLOW", []filter{deny}, "cache")
}

// A bitmap speaks for its own filter alone: one that is wrong does not loosen another.
func TestGuestWrongBitmap(t *testing.T) {
	needBitmaps(t)
	wrong := plain(constant("deny", abi.Errno(edom), getppid))[0]
	wrong.extension.Native = make([]byte, tableSize/8)
	for i := range wrong.extension.Native {
		wrong.extension.Native[i] = 0xff
	}
	expect(t, "ok", []filter{wrong}, "ppid")
	right := plain(constant("deny", abi.Errno(edom), getppid))[0]
	expect(t, "EDOM", []filter{wrong, right}, "ppid")
	expect(t, "EDOM", []filter{right, wrong}, "ppid")
}

// Only the thread that installs is exempt, only until it executes, and only when
// it asks to be.
func TestGuestExemption(t *testing.T) {
	inGuest(t)
	const execve, seccomp = 59, 317
	deny := constant("deny_exec", abi.Errno(edom), execve, seccomp)
	got := filtered(t, func() []string {
		defer install(t, deny, sys.ExemptLaunch, 0).close()
		return perform([]string{"noexec", "noexec", "seccomp"})
	})
	if s := strings.Join(got, " "); s != "ENOENT ENOENT ok" {
		t.Errorf("an exempt thread saw %s", s)
	}
	got = filtered(t, func() []string {
		defer install(t, deny, 0, 0).close()
		return perform([]string{"noexec", "seccomp"})
	})
	if s := strings.Join(got, " "); s != "EDOM EDOM" {
		t.Errorf("a thread that did not ask saw %s", s)
	}
}

// With TSYNC every thread is filtered, and none but the installing one is
// exempt. It is done in a process of its own: it is for ever.
func TestGuestTsync(t *testing.T) {
	inGuest(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestTsyncVictim$", "-test.v")
	cmd.Env = []string{tsyncEnv + "=1"}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestTsyncVictim") {
		t.Errorf("%v\n%s", err, out)
	}
}

const tsyncEnv = "PORTCULLIS_TEST_TSYNC"

func TestTsyncVictim(t *testing.T) {
	if os.Getenv(tsyncEnv) == "" {
		t.Skip("runs in the process that TestGuestTsync starts")
	}
	const execve, tsync = 59, 1
	installed, asked := make(chan bool), make(chan []string)
	go func() {
		asked <- onThread(func() []string {
			<-installed
			return perform([]string{"ppid", "noexec"})
		})
	}()
	mine := filtered(t, func() []string {
		m := constant("deny", abi.Errno(edom), getppid, execve)
		install(t, m, sys.ExemptLaunch, tsync).close()
		return perform([]string{"ppid", "noexec"})
	})
	installed <- true
	others := <-asked
	if s := strings.Join(mine, " "); s != "EDOM ENOENT" {
		t.Errorf("the installing thread saw %s", s)
	}
	if s := strings.Join(others, " "); s != "EDOM EDOM" {
		t.Errorf("another thread saw %s", s)
	}
}

// Threads that call at once are all counted, in a map and in storage that the
// first of them creates.
func TestGuestConcurrentCounts(t *testing.T) {
	inGuest(t)
	const threads, calls = 4, 500
	hash, array := counter(prog.Hash), counter(prog.Array)
	for _, p := range []*prog.Program{
		limitByMap(hash, threads*calls),
		limitByMap(array, threads*calls),
		limitByStorage(counter(prog.TaskStorage), threads*calls, 0),
	} {
		words := "storm" + strconv.Itoa(threads) + "x" + strconv.Itoa(calls)
		got, _ := launched(t, plain(p), words, "ppid")
		if want := "ok=" + strconv.Itoa(threads*calls) + " EDOM"; got != want {
			t.Errorf("%s: %s, expected %s", p.Name, got, want)
		}
	}
}

// storm makes calls of getppid from threads at once, and counts their outcomes.
func storm(word string) []string {
	a, b, _ := strings.Cut(strings.TrimPrefix(word, "storm"), "x")
	threads, _ := strconv.Atoi(a)
	calls, _ := strconv.Atoi(b)
	var mu sync.Mutex
	total := map[string]int{}
	var wg sync.WaitGroup
	for i := 0; i < threads; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			own := map[string]int{}
			onThread(func() bool {
				for j := 0; j < calls; j++ {
					own[call(syscall.SYS_GETPPID, 0, 0, 0)]++
				}
				return true
			})
			mu.Lock()
			defer mu.Unlock()
			for k, n := range own {
				total[k] += n
			}
		}()
	}
	wg.Wait()
	var list []string
	for k, n := range total {
		list = append(list, k+"="+strconv.Itoa(n))
	}
	return list
}

// extended is struct seccomp_extended_attr with room behind it.
type extended struct {
	sys.ExtendedAttr
	tail [8]uint32
}
