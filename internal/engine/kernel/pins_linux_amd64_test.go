package kernel

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// pathFilter reads the path of openat: one that begins with a d is EIO, one that cannot
// be read EDOM.
func pathFilter() *prog.Program {
	a := newAssembler().unless(syscall.SYS_OPENAT, "allow")
	a.load64(3, 1, abi.OffArgs+8)
	for off := int16(-256); off < 0; off += 8 {
		a.store64(10, off, 0)
	}
	a.copy(1, 10).add(1, -256).mov(2, 256).call(helper.SafeReadUserStr)
	a.jump(prog.OpJsle, 0, 0, "unread")
	a.op(prog.Insn{Op: prog.ClassLDX | prog.ModeMem | prog.SizeB, Dst: 2, Src: 10, Off: -256})
	a.jump(prog.OpJne, 2, 'd', "allow")
	a.answer(abi.Errno(eio))
	a.label("unread").answer(abi.Errno(edom))
	a.label("allow").answer(abi.Allow)
	return a.program("path")
}

// pinVictim is the environment of a test that is a victim: what it does.
const pinVictim = "PORTCULLIS_PIN_VICTIM"

// underPathFilter runs TestPinVictim under the filter, and returns what it says.
func underPathFilter(t *testing.T, what string) string {
	t.Helper()
	return underFilter(t, filter{program: pathFilter()}, what)
}

// underFilter does the same under any filter.
func underFilter(t *testing.T, f filter, what string) string {
	t.Helper()
	said, _, err := pinVictimRun{f, what}.run(t)
	if err != nil {
		t.Errorf("the victim says\n%s\nand ends with %v", said, err)
	}
	return said
}

// pinVictimRun is what a victim does under a filter.
type pinVictimRun struct {
	filter filter
	what   string
}

// run returns what the victim says, the directory that it did it in, and how it ended.
func (p pinVictimRun) run(t *testing.T) (said, dir string, ended error) {
	t.Helper()
	inGuest(t)
	l, err := load([]filter{p.filter})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(l.close)
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"victim of pins", "-test.v", "-test.run=^TestPinVictim$"}, Dir: dir}
	cmd.Env = []string{pinVictim + "=" + p.what}
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	if err := l.launch(cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	ended = cmd.Wait()
	said = heard(out.String())
	if said == "" {
		t.Errorf("the victim says\n%s", out)
	}
	return said, dir, ended
}

// heard is what a victim says of what it writes.
func heard(out string) string {
	var said []string
	for _, line := range strings.Split(out, "\n") {
		if text, is := strings.CutPrefix(strings.TrimSpace(line), "pin: "); is {
			said = append(said, text)
		}
	}
	return strings.Join(said, "\n")
}

// TestPinVictim is what happens under the filter.
func TestPinVictim(t *testing.T) {
	victims := map[string]func(*testing.T){
		"opens": victimOpens, "race": victimRaces, "slot": victimAttacksSlot, "many": victimCrowd,
		"unread": victimLeavesUnread, "dumps": victimDumps, "vsyscall": victimCallsVsyscall,
	}
	if do := victims[os.Getenv(pinVictim)]; do != nil {
		do(t)
	}
}

func say(format string, args ...any) { fmt.Printf("\npin: "+format+"\n", args...) }

// open makes the call with a path that ends where memory says.
func open(path *byte, flags uintptr) (int, syscall.Errno) {
	const here = ^uintptr(99)
	fd, _, e := syscall.Syscall6(syscall.SYS_OPENAT, here, uintptr(unsafe.Pointer(path)), flags, 0o600, 0, 0)
	return int(fd), e
}

func named(path string) *byte {
	p, _ := syscall.BytePtrFromString(path)
	return p
}

func TestGuestPinnedPath(t *testing.T) {
	want := "a 0\ndenied 5\nmissing 2\nunreadable 33\nnull 33\nlong 33"
	if got := underPathFilter(t, "opens"); got != want {
		t.Errorf("the victim says\n%s\nexpected\n%s", got, want)
	}
}

// What is read of which calls is what the splitter found, and nothing where there is no
// such call in the table that has copies.
func TestPinsOfCallsThatRead(t *testing.T) {
	reads := newAssembler().copy(1, 10).add(1, -8).mov(2, 8).mov(3, 0).call(helper.SafeReadUser).answer(abi.Allow)
	for _, c := range []struct {
		program *prog.Program
		pins    []sys.Pin
		flags   uint32
	}{
		{pathFilter(), []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: sys.PinAll}}, 0},
		{constant("none", abi.Allow), nil, sys.NoPins},
		{reads.program("all"), nil, 0},
	} {
		x := splitted(t, c.program).extension
		if !reflect.DeepEqual(x.Pins, c.pins) || x.Flags != c.flags {
			t.Errorf("%s: %v, flags %#x: expected %v, %#x", c.program.Name, x.Pins, x.Flags, c.pins, c.flags)
		}
	}
}

// TestGuestPinsAreSaid has the installer say what is read: nothing else can be.
func TestGuestPinsAreSaid(t *testing.T) {
	read := "a 0\ndenied 5\nmissing 2\nunreadable 33\nnull 33\nlong 33"
	unread := "a 33\ndenied 33\nmissing 33\nunreadable 33\nnull 33\nlong 33"
	for _, c := range []struct {
		name, want string
		pins       []sys.Pin
		flags      uint32
	}{
		{"the path", read, []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: 1 << 1}}, 0},
		{"in two pins", read, []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: 1}, {Nr: syscall.SYS_OPENAT, Args: 2}}, 0},
		{"another argument", unread, []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: 1}}, 0},
		{"another call", unread, []sys.Pin{{Nr: syscall.SYS_OPEN, Args: sys.PinAll}}, 0},
		{"the last call", unread, []sys.Pin{{Nr: 511, Args: sys.PinAll}}, 0},
		{"nothing", unread, nil, sys.NoPins},
		{"silence", read, nil, 0},
	} {
		f := filter{program: pathFilter(), extension: sys.Extension{Pins: c.pins, Flags: c.flags}}
		if got := underFilter(t, f, "opens"); got != c.want {
			t.Errorf("%s: the victim says\n%s\nexpected\n%s", c.name, got, c.want)
		}
	}
}

func TestGuestBadPins(t *testing.T) {
	inGuest(t)
	l, err := load(plain(pathFilter()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	good := sys.Pin{Nr: syscall.SYS_OPENAT, Args: 2}
	many := make([]sys.Pin, 513)
	for _, c := range []struct {
		name string
		attr sys.ExtendedAttr
		want syscall.Errno
	}{
		{"a call behind the table", sys.ExtendedAttr{Pins: &sys.Pin{Nr: 512}, PinCount: 1}, syscall.EINVAL},
		{"an argument too many", sys.ExtendedAttr{Pins: &sys.Pin{Args: sys.PinAll + 1}, PinCount: 1}, syscall.EINVAL},
		{"a pin too many", sys.ExtendedAttr{Pins: &many[0], PinCount: 513}, syscall.EINVAL},
		{"as many as there may be", sys.ExtendedAttr{Pins: &many[0], PinCount: 512}, 0},
		{"pins and none", sys.ExtendedAttr{Pins: &good, PinCount: 1, Flags: sys.NoPins}, syscall.EINVAL},
		{"a count of nothing", sys.ExtendedAttr{PinCount: 1}, syscall.EINVAL},
		{"nowhere", sys.ExtendedAttr{Pins: (*sys.Pin)(unsafe.Add(unsafe.Pointer(nil), 4096)), PinCount: 1}, syscall.EFAULT},
		{"no pins", sys.ExtendedAttr{Flags: sys.NoPins}, 0},
	} {
		errno := filtered(t, func() syscall.Errno {
			attr := sys.NewExtendedAttr(l.progs[0], c.attr.Flags)
			attr.Pins, attr.PinCount = c.attr.Pins, c.attr.PinCount
			_, err := sys.InstallExtended(&attr, 0)
			errno, _ := err.(syscall.Errno)
			return errno
		})
		if errno != c.want {
			t.Errorf("%s: %v, expected %v", c.name, errno, c.want)
		}
	}
}

func victimOpens(*testing.T) {
	for _, c := range []struct {
		name string
		path *byte
	}{
		{"a", named("a")},
		{"denied", named("d")},
		{"missing", named("missing")},
		{"unreadable", (*byte)(unsafe.Add(unsafe.Pointer(nil), 4096))},
		{"null", nil},
		{"long", named(strings.Repeat("x", 5000))},
	} {
		_, e := open(c.path, 0)
		say("%s %d", c.name, int(e))
	}
}

// TestGuestPinnedRace has one thread change the path while another makes the call.
func TestGuestPinnedRace(t *testing.T) {
	got := underPathFilter(t, "race")
	var opened, denied, wrong int
	if n, _ := fmt.Sscanf(got, "opened %d denied %d wrong %d", &opened, &denied, &wrong); n != 3 || wrong != 0 || opened == 0 || denied == 0 {
		t.Errorf("the victim says %q: expected some of each, and nothing wrong", got)
	}
}

func victimRaces(t *testing.T) {
	for _, name := range []string{"a", "e"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename("e", "d"); err != nil {
		t.Fatal(err)
	}
	path, stop := named("a"), make(chan bool)
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for i := 0; i < 1000; i++ {
				*path ^= 'a' ^ 'd'
			}
		}
	}()
	var secret, st syscall.Stat_t
	if err := syscall.Stat("d", &secret); err != nil {
		t.Fatal(err)
	}
	opened, denied, wrong := 0, 0, 0
	for i := 0; i < 20000; i++ {
		fd, e := open(path, 0)
		switch {
		case e == syscall.EIO:
			denied++
			continue
		case e != 0:
			wrong++
			continue
		}
		opened++
		if err := syscall.Fstat(fd, &st); err != nil || st.Ino == secret.Ino {
			wrong++
		}
		syscall.Close(fd)
	}
	close(stop)
	writer.Wait()
	say("opened %d denied %d wrong %d", opened, denied, wrong)
}

// TestGuestSlotIsOutOfReach attacks the copy that a call in progress uses.
func TestGuestSlotIsOutOfReach(t *testing.T) {
	got := underPathFilter(t, "slot")
	t.Log(got)
	for _, line := range strings.Split(got, "\n") {
		words := strings.Fields(line)
		if len(words) != 3 || words[2] != "same" {
			t.Errorf("%s: expected the copy to be the same", line)
		}
		if want := slotAttackErrors[words[0]]; want != "" && !strings.Contains(want, " "+words[1]+" ") {
			t.Errorf("%s: expected one of%s", line, want)
		}
	}
	if n := strings.Count(got, "\n"); n < len(slotAttackErrors) {
		t.Errorf("%d attacks, expected %d", n, len(slotAttackErrors))
	}
}

// slotAttackErrors are errnos of attacks: 1 EPERM, 5 EIO, 12 ENOMEM, 13 EACCES, 14 EFAULT, 22 EINVAL.
var slotAttackErrors = map[string]string{
	"mprotect": " 1 13 ", "mprotect-part": " 1 13 22 ", "munmap": " 1 ", "munmap-page": " 1 22 ", "mremap": " 1 ", "mremap-onto": " 1 ",
	"mmap-over": " 1 ", "dontneed": " 1 ", "free": " 1 22 ", "remove": " 1 22 ", "dofork": " 22 ", "dontfork": " 1 ", "wipeonfork": " 1 ",
	"proc-mem": " 5 ", "vm-writev": " 14 ", "read-into": " 14 ", "store": " 14 ", "child": " 12 ", "shmat": " 1 22 ", "uffd": " 22 ",
}

func victimAttacksSlot(t *testing.T) {
	if err := syscall.Mkfifo("held", 0o600); err != nil {
		t.Fatal(err)
	}
	tid, done := make(chan int), make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		fd, e := open(named("held"), syscall.O_RDONLY)
		syscall.Close(fd)
		done <- e
	}()
	at := sleepsInOpen(t, <-tid)
	from, to := slotArea(t, at)
	say("found 0 %s", sameAt(at))
	attackSlot(at, from, to)
	fd, e := open(named("./held"), syscall.O_WRONLY)
	if e != 0 {
		t.Fatal(e)
	}
	syscall.Close(fd)
	say("opened %d same", int(<-done))
}

// sleepsInOpen is the address of the path in a call that a thread sleeps in.
func sleepsInOpen(t *testing.T, tid int) uintptr {
	t.Helper()
	var nr, dir, path uintptr
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := fmt.Sscanf(string(text), "%d 0x%x 0x%x", &nr, &dir, &path); n == 3 && nr == syscall.SYS_OPENAT {
			return path
		}
		runtime.Gosched()
	}
}

// slotArea is the mapping that an address of a slot is in.
func slotArea(t *testing.T, at uintptr) (from, to uintptr) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x r--p", &from, &to); n == 2 && from <= at && at < to && strings.HasSuffix(s.Text(), "[seccomp]") {
			return from, to
		}
	}
	t.Fatalf("%#x is in no [seccomp]:\n%s", at, text)
	return 0, 0
}

// sameAt reads the copy as another process would.
func sameAt(at uintptr) string {
	var b [5]byte
	if readVictim(at, b[:]) != 0 {
		return "gone"
	}
	if string(b[:]) != "held\x00" {
		return fmt.Sprintf("%q", b)
	}
	return "same"
}

func readVictim(at uintptr, b []byte) syscall.Errno {
	return transfer(310, at, b) // process_vm_readv
}

func transfer(nr, at uintptr, b []byte) syscall.Errno {
	local := syscall.Iovec{Base: &b[0], Len: uint64(len(b))}
	remote := [2]uint64{uint64(at), uint64(len(b))}
	_, _, e := syscall.Syscall6(nr, uintptr(os.Getpid()), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	return e
}

func attackSlot(at, from, to uintptr) {
	page, size := at&^4095, to-from
	try := func(name string, nr uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		_, _, e := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		say("%s %d %s", name, int(e), sameAt(at))
	}
	const rw, fixed = syscall.PROT_READ | syscall.PROT_WRITE, syscall.MAP_FIXED | syscall.MAP_ANON | syscall.MAP_PRIVATE
	other, _, _ := syscall.Syscall6(syscall.SYS_MMAP, 0, size, rw, syscall.MAP_ANON|syscall.MAP_PRIVATE, ^uintptr(0), 0)
	try("mprotect", syscall.SYS_MPROTECT, from, size, rw)
	try("mprotect-part", syscall.SYS_MPROTECT, page, 4096, rw)
	try("munmap", syscall.SYS_MUNMAP, from, size)
	try("munmap-page", syscall.SYS_MUNMAP, page, 4096)
	try("mremap", syscall.SYS_MREMAP, from, size, size, 1|2, other)
	try("mremap-onto", syscall.SYS_MREMAP, other, size, size, 1|2, from)
	try("mmap-over", syscall.SYS_MMAP, page, 4096, rw, fixed, ^uintptr(0), 0)
	for name, advice := range map[string]uintptr{"dontneed": 4, "free": 8, "remove": 9, "dofork": 11, "dontfork": 10, "wipeonfork": 18} {
		try(name, syscall.SYS_MADVISE, from, size, advice)
	}
	shm, _, _ := syscall.Syscall(syscall.SYS_SHMGET, 0, 4096, 0o1600)
	try("shmat", syscall.SYS_SHMAT, shm, page, 0o40000)
	say("vm-writev %d %s", int(transfer(311, at, []byte("evil"))), sameAt(at))
	mem, err := syscall.Open("/proc/self/mem", syscall.O_RDWR, 0)
	if err == nil {
		_, _, e := syscall.Syscall6(syscall.SYS_PWRITE64, uintptr(mem), uintptr(unsafe.Pointer(named("evil"))), 4, at, 0, 0)
		say("proc-mem %d %s", int(e), sameAt(at))
	}
	zero, _ := syscall.Open("/proc/self/exe", 0, 0)
	try("read-into", syscall.SYS_READ, uintptr(zero), at, 4)
	say("store %d %s", store(at), sameAt(at))
	say("uffd %d %s", int(registered(page)), sameAt(at))
	say("child %d %s", int(inChildMincore(page)), sameAt(at))
}

// store is EFAULT where a store faults.
func store(at uintptr) (e int) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			e = int(syscall.EFAULT)
		}
	}()
	poke(at)
	return 0
}

// poke is a function of its own: a store alone may fault before the defers are noted.
//
//go:noinline
func poke(at uintptr) { *(*byte)(unsafe.Add(unsafe.Pointer(nil), at)) = 'x' }

// registered asks for the faults of a page.
func registered(page uintptr) syscall.Errno {
	const userfaultfd, userModeOnly, api, register, missing = 323, 1, 0xc018aa3f, 0xc020aa00, 1
	fd, _, e := syscall.Syscall(userfaultfd, userModeOnly, 0, 0)
	if e != 0 {
		return e
	}
	defer syscall.Close(int(fd))
	hello := [3]uint64{0xaa}
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, api, uintptr(unsafe.Pointer(&hello))); e != 0 {
		return e
	}
	what := [4]uint64{uint64(page), 4096, missing}
	_, _, e = syscall.Syscall(syscall.SYS_IOCTL, fd, register, uintptr(unsafe.Pointer(&what)))
	return e
}

// inChildMincore asks a child whether the page is there: ENOMEM if it is not.
func inChildMincore(page uintptr) syscall.Errno {
	var vec byte
	pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		_, _, e := syscall.RawSyscall(syscall.SYS_MINCORE, page, 4096, uintptr(unsafe.Pointer(&vec)))
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil {
		return 255
	}
	return syscall.Errno(status.ExitStatus())
}

// TestGuestSlotForEveryThread has many threads sleep in calls with copies at once.
func TestGuestSlotForEveryThread(t *testing.T) {
	if got := underPathFilter(t, "many"); got != "100 slots, 100 opened" {
		t.Errorf("the victim says %q", got)
	}
}

func victimCrowd(t *testing.T) {
	const crowd = 100
	tids, done := make(chan int, crowd), make(chan bool, crowd)
	for i := 0; i < crowd; i++ {
		name := filepath.Join(".", fmt.Sprint("held", i))
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		go func() {
			runtime.LockOSThread()
			tids <- syscall.Gettid()
			fd, e := open(named(name), syscall.O_RDONLY)
			syscall.Close(fd)
			done <- e == 0
		}()
	}
	slots, opened := map[uintptr]bool{}, 0
	for i := 0; i < crowd; i++ {
		slots[sleepsInOpen(t, <-tids)] = true
	}
	for i := 0; i < crowd; i++ {
		fd, e := open(named(fmt.Sprint("./held", i)), syscall.O_WRONLY)
		if e != 0 {
			t.Fatal(e)
		}
		syscall.Close(fd)
		if <-done {
			opened++
		}
	}
	say("%d slots, %d opened", len(slots), opened)
}
