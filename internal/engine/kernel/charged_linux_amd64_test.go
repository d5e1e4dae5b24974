package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// What the kernel keeps for a user is charged to his control group, and who has used that up
// is refused, or killed, in it.

// charge is something that a victim has the kernel keep.
type charge struct {
	size int // of one in the kernel, at least: what it was asked to keep
	many int // how many show well above what is kept of threads and files
	// begin makes what each needs, and says how one is made.
	begin func() (one func() error, err error)
}

const (
	chargedValue   = 256 << 10
	chargedStorage = 48 << 10 // of one element, in each of
	chargedMaps    = 64
	chargedProgram = 8000
	chargedFilters = 1000 // of one thread
	chargedReaders = 300  // likewise, where each has a table of what is read
	chargedCopy    = 64 << 10
	callsAtLeast   = 448 // that the kernel has
)

// charges are all kinds.
func charges() map[string]charge {
	const quarter, storage = chargedValue / 1024, chargedMaps * chargedStorage
	return map[string]charge{
		"array":    {chargedValue, 40, mapsOf(prog.Map{Type: prog.Array, KeySize: 4, ValueSize: chargedValue, MaxEntries: 1})},
		"hash":     {chargedValue, 40, mapsOf(prog.Map{Type: prog.Hash, KeySize: 8, ValueSize: 1024, MaxEntries: quarter})},
		"lru":      {chargedValue, 40, mapsOf(prog.Map{Type: prog.LRUHash, KeySize: 8, ValueSize: 1024, MaxEntries: quarter})},
		"percpu":   {chargedValue, 40, mapsOf(prog.Map{Type: prog.PercpuArray, KeySize: 4, ValueSize: 1024, MaxEntries: quarter})},
		"ring":     {chargedValue, 40, mapsOf(prog.Map{Type: prog.RingBuf, MaxEntries: chargedValue})},
		"elements": {64 * 4096, 40, elements},
		"programs": {8 * chargedProgram, 60, programs},
		"btf":      {largestBTF, 100, types},
		"threads":  {storage, 3, storageOfThreads},
		"process":  {storage, 3, storageOfProcess},
		"filters":  {chargedFilters * 2 * callsAtLeast / 8, 40, installed},
		"readers":  {chargedReaders * 4 * callsAtLeast, 16, readers},
		"slots":    {chargedCopy, 100, slotsInUse},
	}
}

// keeps has the kernel keep things: one, and more when it is told so, until it is refused.
// It gives nothing back until its input ends.
func keeps(kind, most string) []string {
	one, err := charges()[kind].begin()
	if err == nil {
		err = one()
	}
	fmt.Println("ready", failure(err))
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	limit, _ := strconv.Atoi(most)
	made := 0
	for ; made < limit && err == nil; made++ {
		err = one()
	}
	fmt.Println("made", made, failure(err))
	_, _ = io.Copy(io.Discard, in)
	return nil
}

// bystands asks for filters whenever it is told to.
func bystands() []string {
	fmt.Println("ready ok")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(probed())
	}
	return nil
}

func mapsOf(m prog.Map) func() (func() error, error) {
	m.Name, m.SpinLock = "charged", -1
	return func() (func() error, error) {
		return func() error { return keptOpen(func() (int, error) { return createMap(&m) }) }, nil
	}
}

// keptOpen opens something, for as long as the process lives.
func keptOpen(open func() (int, error)) error {
	_, err := confined(open)
	return err
}

// elements are what a hash holds that allocates them when they come.
func elements() (one func() error, err error) {
	const each, size = 64, 4096
	m := &prog.Map{Name: "charged", Type: prog.Hash, KeySize: 8, ValueSize: size, MaxEntries: 1 << 14, Flags: prog.FlagNoPrealloc, SpinLock: -1}
	fd, err := confined(func() (int, error) { return createMap(m) })
	key, n := make([]byte, 8), 0
	return func() error {
		for i := 0; i < each; i++ {
			key[0], key[1], key[2] = byte(n), byte(n>>8), byte(n>>16)
			n++
			if err := sys.MapUpdate(fd, key, make([]byte, size), 0); err != nil {
				return err
			}
		}
		return nil
	}, err
}

func programs() (one func() error, err error) {
	insns := prog.Encode(lengthy(chargedProgram))
	return func() error {
		return keptOpen(func() (int, error) {
			return sys.ProgLoad(sys.ProgAttr{Type: sys.ProgTypeSeccomp, Insns: insns, License: "GPL"})
		})
	}, nil
}

func types() (one func() error, err error) {
	data := described(largestBTF)
	return func() error {
		return keptOpen(func() (int, error) { return sys.BTFLoad(data) })
	}, nil
}

// onOneMore does something on a thread that then stays.
func onOneMore(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := sys.NoNewPrivs(); err != nil {
			done <- err
			return
		}
		done <- f()
		select {}
	}()
	return <-done
}

// asksFilters has the filters of the calling thread do what they do.
func asksFilters() error {
	if seen := call(getppid, 0, 0, 0); seen != "ok" {
		return errors.New(seen)
	}
	return nil
}

// storageOfThreads is what many threads keep in the same maps.
func storageOfThreads() (one func() error, err error) {
	l, err := load(plain(stores(chargedMaps, chargedStorage, helper.StorageThread)))
	return func() error {
		return onOneMore(func() error {
			if _, err := l.put(0, 0); err != nil {
				return err
			}
			return asksFilters()
		})
	}, err
}

// storageOfProcess is what one process keeps in many maps, of filters of its threads.
func storageOfProcess() (one func() error, err error) {
	return func() error {
		return onOneMore(func() error {
			if err := onTop(plain(stores(chargedMaps, chargedStorage, 0))[0]); err != nil {
				return err
			}
			return asksFilters()
		})
	}, nil
}

// installed are installations of one program, each with its bitmaps of allowed calls.
func installed() (one func() error, err error) {
	l, err := load(plain(constant("allow", abi.Allow)))
	return func() error { return l.putMany(chargedFilters, nil) }, err
}

// readers are installations each of which has a table of what is read of each call.
func readers() (one func() error, err error) {
	l, err := load(plain(pathFilter()))
	pins := []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: sys.PinAll}}
	return func() error { return l.putMany(chargedReaders, pins) }, err
}

// putMany has one more thread have a filter so many times. It is not asked about the calls
// that the thread makes meanwhile.
func (l *loaded) putMany(n int, pins []sys.Pin) error {
	attr := sys.NewExtendedAttr(l.progs[0], 0)
	attr.Allow(bytes.Repeat([]byte{0xff}, tableSize/8), nil)
	if len(pins) > 0 {
		attr.Pins, attr.PinCount = &pins[0], uint32(len(pins))
	}
	return onOneMore(func() (err error) {
		for i := 0; i < n && err == nil; i++ {
			_, err = sys.InstallExtended(&attr, 0)
		}
		return err
	})
}

// slotsInUse are copies of what calls read that wait meanwhile: writes to a pipe that is full.
func slotsInUse() (one func() error, err error) {
	a := newAssembler().unless(syscall.SYS_WRITE, "allow").load64(3, 1, abi.OffArgs+8).load64(4, 1, abi.OffArgs+16)
	a.jump(prog.OpJlt, 4, chargedCopy, "allow") // what the Go runtime writes
	a.copy(1, 10).add(1, -8).mov(2, 8).call(helper.SafeReadUser).jump(prog.OpJeq, 0, 0, "allow")
	a.answer(abi.Errno(edom)).label("allow").answer(abi.Allow)
	l, err := load(plain(a.program("reads_what_is_written")))
	if err != nil {
		return nil, err
	}
	var ends [2]int
	err = syscall.Pipe2(ends[:], syscall.O_CLOEXEC)
	buffer := make([]byte, chargedCopy)
	if err == nil {
		_, err = syscall.Write(ends[1], buffer) // it is full
	}
	return func() error { return l.writesFrom(ends[1], buffer) }, err
}

// writesFrom has one more thread wait in a write that a filter has read.
func (l *loaded) writesFrom(fd int, buffer []byte) error {
	attr := sys.NewExtendedAttr(l.progs[0], 0)
	pins := []sys.Pin{{Nr: syscall.SYS_WRITE, Args: sys.PinAll}}
	attr.Pins, attr.PinCount = &pins[0], 1
	tid, result := make(chan int), make(chan string, 1)
	err := onOneMoreWriter(&attr, tid, result, fd, buffer)
	if err != nil {
		return err
	}
	return sleepsInWrite(<-tid, result)
}

// onOneMoreWriter starts that thread, which says when it is about to write.
func onOneMoreWriter(attr *sys.ExtendedAttr, tid chan int, result chan string, fd int, buffer []byte) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := sys.NoNewPrivs()
		if err == nil {
			_, err = sys.InstallExtended(attr, 0)
		}
		done <- err
		tid <- syscall.Gettid()
		result <- blocking(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	}()
	return <-done
}

// sleepsInWrite returns when the thread does, or with what its write has come to.
func sleepsInWrite(tid int, result chan string) error {
	path := fmt.Sprintf("/proc/self/task/%d/syscall", tid)
	for {
		text, err := os.ReadFile(path)
		if err != nil || strings.HasPrefix(string(text), fmt.Sprint(syscall.SYS_WRITE, " ")) {
			return err
		}
		select {
		case seen := <-result:
			return errors.New(seen)
		default:
			runtime.Gosched()
		}
	}
}

// group is a control group.
type group struct{ dir string }

// newGroup makes one that may have so much memory.
func newGroup(t *testing.T, most string) *group {
	t.Helper()
	root := groups(t)
	g := &group{filepath.Join(root, strings.ReplaceAll(t.Name(), "/", "-"))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.remove(t) })
	set(t, filepath.Join(g.dir, "memory.max"), most)
	set(t, filepath.Join(g.dir, "memory.oom.group"), "1")
	return g
}

// groups is where groups are, that account for memory.
func groups(t *testing.T) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
		if err := syscall.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			t.Skipf("needs a kernel with control groups: %v", err)
		}
	}
	text, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "memory") {
		t.Skipf("needs a kernel whose control groups account for memory, which linux/build makes: they have %q", text)
	}
	set(t, root+"/cgroup.subtree_control", "+memory")
	return root
}

// remove ends what is in the group, and the group.
func (g *group) remove(t *testing.T) {
	t.Helper()
	set(t, filepath.Join(g.dir, "cgroup.kill"), "1")
	for i := 0; i < 500 && g.figure(t, "cgroup.events", "populated") != 0; i++ {
		gracePeriod(t)
	}
	if err := syscall.Rmdir(g.dir); err != nil {
		t.Errorf("%s: %v", g.dir, err)
	}
}

// figure is the number behind a word in a file of the group.
func (g *group) figure(t *testing.T, file, word string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		name, rest, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(rest); name == word && err == nil {
			return n
		}
	}
	t.Fatalf("%s/%s has no %q:\n%s", g.dir, file, word, text)
	return 0
}

// kernel is how much of the kernel's own memory is charged to the group.
func (g *group) kernel(t *testing.T) int {
	t.Helper()
	return g.figure(t, "memory.stat", "kernel")
}

// keeper is a victim that waits for orders.
type keeper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

// keeper starts one in the group, or outside of all where that is nil.
func (g *group) keeper(t *testing.T, uid uint32, words ...string) *keeper {
	t.Helper()
	k := &keeper{cmd: as(uid, victim(words...))}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if g != nil {
		k.cmd.SysProcAttr.UseCgroupFD = true
		k.cmd.SysProcAttr.CgroupFD = opened(t, g.dir, func() (int, error) { return sys.OpenDir(g.dir) })
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.lines = bufio.NewReader(out)
	says(t, k.lines, "ready ok")
	return k
}

// told gives the order, and returns the answer, which is none from who is killed.
func (k *keeper) told(t *testing.T) string {
	t.Helper()
	if _, err := io.WriteString(k.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line, _ := k.lines.ReadString('\n')
	return strings.TrimSpace(line)
}

// ends lets it end.
func (k *keeper) ends() error {
	k.in.Close()
	return k.cmd.Wait()
}

// chargeSlack is by how much figures waver: each processor takes some pages in advance.
const chargeSlack = 1 << 20

// forEach runs a test for every kind.
func forEach(t *testing.T, test func(t *testing.T, kind string, c charge)) {
	t.Helper()
	asRoot(t)
	groups(t)
	for kind, c := range charges() {
		kind, c := kind, c
		t.Run(kind, func(t *testing.T) { test(t, kind, c) })
	}
}

// What is kept is charged: all of it, while it is kept, and no longer.
func TestGuestKeptIsCharged(t *testing.T) {
	forEach(t, func(t *testing.T, kind string, c charge) {
		g := newGroup(t, "max")
		k := g.keeper(t, guest.Nobody, "keep", kind, fmt.Sprint(c.many))
		before := g.kernel(t)
		if said := k.told(t); said != fmt.Sprint("made ", c.many, " ok") {
			t.Errorf("it says %q", said)
		}
		grown := g.kernel(t) - before
		if grown+chargeSlack < c.many*c.size {
			t.Errorf("%d bytes are charged for %d of %d bytes", grown, c.many, c.size)
		}
		if err := k.ends(); err != nil {
			t.Error(err)
		}
		g.forgets(t)
	})
}

// forgets waits until little is charged to the group any more: the kernel frees after grace
// periods, and by workers.
func (g *group) forgets(t *testing.T) {
	t.Helper()
	const periods = 500
	for i := 0; i < periods && g.kernel(t) > chargeSlack; i++ {
		gracePeriod(t)
	}
	if left := g.kernel(t); left > chargeSlack {
		t.Errorf("%d bytes stay charged to those who are gone", left)
	}
}

const (
	chargeLimit = 24 << 20 // of what a group may have
	endless     = 100000
)

// Who keeps more than his group may have is refused or killed, and others go on.
func TestGuestKeptEndsInItsGroup(t *testing.T) {
	forEach(t, func(t *testing.T, kind string, c charge) {
		var outside *group
		bystander := outside.keeper(t, guest.Nobody-1, "bystand")
		g := newGroup(t, fmt.Sprint(chargeLimit))
		k := g.keeper(t, guest.Nobody, "keep", kind, fmt.Sprint(endless))
		said := k.told(t)
		if seen := bystander.told(t); seen != "ok" {
			t.Errorf("the bystander, when it is over: %s", seen)
		}
		g.hasEnded(t, k, said)
		if err := bystander.ends(); err != nil {
			t.Errorf("the bystander: %v", err)
		}
		g.forgets(t)
	})
}

// peak is the most that was ever charged to the group.
func (g *group) peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, "memory.peak"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hasEnded expects what it says of who is refused memory, or that it was killed for that.
func (g *group) hasEnded(t *testing.T, k *keeper, said string) {
	t.Helper()
	err := k.ends()
	kills, peak := g.figure(t, "memory.events", "oom_kill"), g.peak(t)
	t.Logf("it says %q and ends with %v; %d bytes at most, killed %d", said, err, peak, kills)
	var exit *exec.ExitError
	switch {
	case peak+4*chargeSlack < chargeLimit:
		t.Errorf("the group has had %d bytes at most, of %d", peak, chargeLimit)
	case said == "":
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || kills == 0 {
			t.Errorf("it ends with %v, and %d were killed: expected SIGKILL", err, kills)
		}
	case !strings.HasSuffix(said, " errno12") && !strings.HasSuffix(said, " EDOM"):
		t.Errorf("it says %q, expected ENOMEM, or EDOM where a filter has no storage", said)
	}
}
