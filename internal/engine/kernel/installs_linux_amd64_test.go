package kernel

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// installs is what a guest is told about installs.
var installs = flag.Int("installs", 40, "how many filters are loaded, installed and gone with their threads")

// installsEnv has TestSoakInstalls do it so often.
const installsEnv = "PORTCULLIS_INSTALLS"

// TestSoakInstalls is what TestPatch runs of this file, for long: what leaks a little. On the
// kernel that checks itself root, who alone may ask what is lost, has nobody install as many
// in the same guest.
func TestSoakInstalls(t *testing.T) {
	n := os.Getenv(installsEnv)
	if n == "" {
		t.Skip("runs where " + installsEnv + " says how many filters to install")
	}
	cfg := guest.Config{CPUs: 2, Memory: 1024, Timeout: 12 * time.Hour}
	users := []int{guest.Nobody, 0}
	if os.Getenv(guest.SlowEnv) != "" {
		users = users[1:]
	}
	for _, uid := range users { // until the guest's time is over
		guest.TestIn(t, cfg, uid, "-test.run=^TestGuestInstalls$", "-test.timeout=0", "-installs="+n)
	}
}

// Filters that are loaded, installed, asked, inherited and gone leave nothing: one after
// another, and two at once. What caches fill up with is there before it is counted.
func TestGuestInstalls(t *testing.T) {
	inGuest(t)
	filters := kinds(t)
	comeAndGo(t, filters, 2*len(filters), 2)
	before := taken(t)
	before["programs"], before["maps"] = 0, 0 // nobody else in the guest has any
	comeAndGo(t, filters, *installs/2, 1)
	comeAndGo(t, filters, *installs-*installs/2, 2)
	nobodyInstalls(t)
	before.returns(t)
	unreferenced(t)
}

// nobodyInstalls has nobody install as many where root asks afterwards what is lost: what is
// loaded without privilege is counted and charged, as root's is not.
func nobodyInstalls(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 || !guest.SelfChecking() {
		return
	}
	cmd := as(guest.Nobody, exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestGuestInstalls$", "-test.timeout=0", "-installs="+strconv.Itoa(*installs)))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestGuestInstalls")) {
		t.Errorf("nobody's installations: %v\n%s", err, out)
	}
}

// comeAndGo installs n filters, by so many workers at once.
func comeAndGo(t *testing.T, filters []filter, n, workers int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := 0; w < workers; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			for i := w; i < n && !t.Failed(); i += workers {
				f := filters[i%len(filters)]
				if err := filtered(t, func() error { return live(f) }); err != nil {
					t.Errorf("installation %d, of %s: %v", i, f.program.Name, err)
				}
			}
		}(w)
	}
	wg.Wait()
}

// live is one life of a filter: the thread, and a child of it, make calls and end.
func live(f filter) error {
	l, err := load([]filter{f})
	if err != nil {
		return err
	}
	defer l.close()
	attr := sys.NewExtendedAttr(l.progs[0], l.extensions[0].Flags)
	attr.Allow(l.extensions[0].Native, l.extensions[0].Compat)
	if pins := l.extensions[0].Pins; len(pins) > 0 {
		attr.Pins, attr.PinCount = &pins[0], uint32(len(pins))
	}
	if _, err := sys.InstallExtended(&attr, 0); err != nil {
		return err
	}
	path := named("/nothing/there")
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	switch {
	case errno != 0:
		return errno
	case pid == 0:
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(calls(path)), 0, 0)
	}
	return errors.Join(reaped("the child", pid), ended("the thread", calls(path)))
}

// reaped waits for a child whose exit status is what it has seen.
func reaped(who string, pid uintptr) error {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	return ended(who, syscall.Errno(status.ExitStatus()))
}

func ended(who string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("%s has seen %w", who, errno)
}

// calls makes what filters count and read, in a process that may be a child of many
// threads, where nothing of the Go runtime works: a check of the stack might ask its
// scheduler. The path is of nothing.
//
//go:nosplit
func calls(path *byte) syscall.Errno {
	const here = ^uintptr(99)
	_, _, errno := syscall.RawSyscall(getppid, 0, 0, 0)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall6(syscall.SYS_OPENAT, here, uintptr(unsafe.Pointer(path)), 0, 0, 0, 0)
	}
	if errno == syscall.ENOENT {
		return 0
	}
	return errno
}

// kinds are filters that hold different things in the kernel.
func kinds(t *testing.T) []filter {
	t.Helper()
	const never = 1 << 30
	clones := counter(prog.TaskStorage)
	clones.Flags = prog.FlagClone
	all := plain(limitByStorage(clones, never, 0))
	for _, typ := range []prog.MapType{prog.Hash, prog.LRUHash, prog.PercpuArray} {
		all = append(all, plain(limitByMap(counter(typ), never))...)
	}
	return append(all, splitted(t, pathFilter()), ordering("waits", order{getppid, []uint64{uselib}}),
		tailed(t, limitByMap(counter(prog.Array), never)))
}

// tailed goes on in another program, by an array that both belong to.
func tailed(t *testing.T, behind *prog.Program) filter {
	t.Helper()
	array := &prog.Map{Name: "tails", Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 1, SpinLock: -1}
	array.Tails = []prog.Tail{{Index: 0, Program: behind}}
	p := newAssembler().mapTo(2, prog.PseudoMapFD, array).mov(3, 0).call(helper.TailCall).answer(0).program("tailed")
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newFilter(split.Split(v))
}

// account is what the kernel has taken, in KiB and in numbers of objects.
type account map[string]int

// slack is by how much more there may be afterwards. No program and no map is left; of
// what is counted by the page, as much as caches waver by: so little that an object of 32
// bytes which every one of 100000 installs leaves is found.
var slack = account{
	"programs": 0, "maps": 0, "SUnreclaim": 2 << 10, "Percpu": 1 << 10, "VmallocUsed": 4 << 10, "KernelStack": 1 << 10, "PageTables": 4 << 10,
}

// taken asks for it: for programs and maps where this is root, who may.
func taken(t *testing.T) account {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	a := account{}
	for _, line := range strings.Split(string(text), "\n") {
		name, rest, _ := strings.Cut(line, ":")
		if _, counted := slack[name]; counted {
			a[name], _ = strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
		}
	}
	const progNextID, mapNextID = 11, 12
	if os.Getuid() == 0 {
		a["programs"], a["maps"] = objects(t, progNextID), objects(t, mapNextID)
	}
	return a
}

// objects counts what has an id.
func objects(t *testing.T, next uintptr) (n int) {
	t.Helper()
	for attr := [3]uint32{}; ; n++ {
		_, err := sys.BPF(next, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err == syscall.ENOENT {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		attr[0] = attr[1]
	}
}

// beyond is what there is more of than there may be.
func (a account) beyond(now account) (more []string) {
	for name, had := range a {
		allowed := had + slack[name]*checking()
		if now[name] > allowed {
			more = append(more, fmt.Sprintf("%s: %d, at most %d expected", name, now[name], allowed))
		}
	}
	return more
}

// checking is a factor for a kernel that checks itself: it keeps freed memory for a
// while, up to a part of all that there is.
func checking() int {
	if _, err := os.Stat("/proc/lockdep_stats"); err == nil {
		return 64
	}
	return 1
}

// returns waits until the kernel has given back what was taken: it does that after grace
// periods, and by workers.
func (a account) returns(t *testing.T) {
	t.Helper()
	const periods = 500
	now := taken(t)
	for i := 0; i < periods && len(a.beyond(now)) > 0; i++ {
		gracePeriod(t)
		now = taken(t)
	}
	t.Logf("%v before, %v now", a, now)
	for _, more := range a.beyond(now) {
		t.Error(more)
	}
}

// gracePeriod waits for one of RCU.
func gracePeriod(t *testing.T) {
	t.Helper()
	const membarrier, global = 324, 1 << 0
	if _, _, errno := syscall.Syscall(membarrier, global, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

// unreferenced asks the kernel what nobody can free any more, where it keeps account: on
// the one that checks itself, and for root. It says nothing of what is younger than five
// seconds, so it is asked for a little longer.
func unreferenced(t *testing.T) {
	t.Helper()
	const debugfs, young = "/sys/kernel/debug", 6 * time.Second
	if os.Getuid() != 0 || !guest.SelfChecking() {
		return
	}
	if err := syscall.Mount("debugfs", debugfs, "debugfs", 0, ""); err != nil && err != syscall.EBUSY {
		t.Fatalf("the kernel that checks itself has no debugfs: %v", err)
	}
	leaks := debugfs + "/kmemleak"
	scans := 0
	for begin := time.Now(); scans < 2 || time.Since(begin) < young; scans++ {
		if err := os.WriteFile(leaks, []byte("scan"), 0); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(leaks)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d scans for what is lost", scans)
	for _, leak := range leaked(text) {
		t.Errorf("the kernel has lost\n%s", leak)
	}
}

// leaked are the objects of a report of kmemleak that were allocated for filters.
func leaked(report []byte) (ours []string) {
	const begin = "unreferenced object"
	for _, object := range bytes.Split(report, []byte(begin))[1:] {
		if bytes.Contains(object, []byte("seccomp")) || bytes.Contains(object, []byte("bpf")) {
			ours = append(ours, begin+string(object))
		}
	}
	return ours
}

// Reports of kmemleak are divided into objects, and those of others left out.
func TestLeaked(t *testing.T) {
	const report = `unreferenced object 0xffff888003a1b400 (size 32):
  comm "init", pid 1, jiffies 4294667296
  backtrace (crc 0):
    [<00000000aa0b2ac4>] acpi_ns_create_node+0x40/0xa0
unreferenced object 0xffff888003a1b500 (size 64):
  comm "kernel.test", pid 70, jiffies 4294667396
  backtrace (crc 0):
    [<00000000bb0b2ac4>] kmalloc_trace+0x40/0xa0
    [<00000000cc0b2ac4>] seccomp_waits_alloc+0x40/0xa0
`
	got := leaked([]byte(report))
	if len(got) != 1 || !strings.HasPrefix(got[0], "unreferenced object 0xffff888003a1b500") {
		t.Errorf("%q: the second object expected", got)
	}
	if got := leaked(nil); got != nil {
		t.Errorf("%q of nothing", got)
	}
}
