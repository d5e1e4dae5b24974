package kernel

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// pathOfSome reads the path of openat where its flags are not 0, and allows all.
func pathOfSome() filter {
	a := newAssembler().unless(syscall.SYS_OPENAT, "allow")
	a.load64(3, 1, abi.OffArgs+8).load32(2, 1, abi.OffArgs+16).jump(prog.OpJeq, 2, 0, "allow")
	a.copy(1, 10).add(1, -256).mov(2, 256).call(helper.SafeReadUserStr)
	p := a.label("allow").answer(abi.Allow).program("path_of_some")
	return filter{program: p, extension: sys.Extension{Pins: []sys.Pin{{Nr: syscall.SYS_OPENAT, Args: sys.PinAll}}}}
}

// What the filter may read is copied before it runs. What it has not read is given back
// before the call is made: the call has its own memory, and the slot is another's. A
// kernel that keeps it until the call ends has a copy in a slot for as long as the call
// sleeps, and a slot for each call that does. What was read is in one until then.
func TestGuestUnreadCopyIsGivenBack(t *testing.T) {
	const want = "read: own memory false, slots 1, afterwards 0\nunread: own memory true, slots 0, afterwards 0"
	if got := underFilter(t, pathOfSome(), "unread"); got != want {
		t.Errorf("the victim says\n%s\nexpected\n%s", got, want)
	}
}

func victimLeavesUnread(t *testing.T) {
	if err := syscall.Mkfifo("held", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		flags uintptr
	}{{"read", syscall.O_CLOEXEC}, {"unread", 0}} {
		path, end := named("held"), make(chan bool)
		tid := opensHeld(path, c.flags, end)
		at := sleepsInOpen(t, tid)
		own, slots := at == uintptr(unsafe.Pointer(path)), slotsWith(t, "held")
		releaseHeld(t)
		<-end
		say("%s: own memory %v, slots %d, afterwards %d", c.name, own, slots, slotsWith(t, "held"))
	}
}

// opensHeld has a thread open the path, and says which. It says when that is done.
func opensHeld(path *byte, flags uintptr, end chan bool) int {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		fd, _ := open(path, flags)
		syscall.Close(fd)
		end <- true
	}()
	return <-tid
}

// releaseHeld lets who opens the FIFO for reading go on.
func releaseHeld(t *testing.T) {
	t.Helper()
	fd, e := open(named("./held"), syscall.O_WRONLY)
	if e != 0 {
		t.Fatal(e)
	}
	syscall.Close(fd)
}

// slotsWith counts the slots of this process that begin with a string and its NUL: a path
// is the first that is copied of its call.
func slotsWith(t *testing.T, text string) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	const stride = 25 * 4096 // SECCOMP_SLOT_PAGES and one that is never there
	for s := bufio.NewScanner(bytes.NewReader(maps)); s.Scan(); {
		var from, to uintptr
		if _, err := fmt.Sscanf(s.Text(), "%x-%x r--p", &from, &to); err != nil || !strings.HasSuffix(s.Text(), "[seccomp]") {
			continue
		}
		for ; from < to; from += stride {
			b := make([]byte, len(text)+1)
			if readVictim(from, b) == 0 && string(b) == text+"\x00" {
				n++
			}
		}
	}
	return n
}

// Slots hold what other threads' calls are about, and are left out of core dumps. The
// kernel dumps mappings that have a name of their own, such as that of the vDSO, as a
// whole, whatever else is said of them: without an exception it would dump slots.
func TestGuestSlotsAreNotDumped(t *testing.T) {
	said, dir, err := pinVictimRun{filter{program: pathFilter()}, "dumps"}.run(t)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).CoreDump() {
		t.Fatalf("the victim says %q and ends with %v: a core dump expected", said, err)
	}
	var slots, vdso uint64
	if n, _ := fmt.Sscanf(said, "slots %x vdso %x", &slots, &vdso); n != 2 {
		t.Fatalf("the victim says %q", said)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "core*"))
	if len(files) != 1 {
		t.Fatalf("core dumps: %q: expected one", files)
	}
	if n := dumped(t, files[0], slots); n != 0 {
		t.Errorf("%d bytes of slots were dumped: 0 expected", n)
	}
	if n := dumped(t, files[0], vdso); n == 0 {
		t.Error("0 bytes of the vDSO were dumped: expected some")
	}
}

// dumped is how many bytes of the mapping at an address a core dump has.
func dumped(t *testing.T, path string, at uint64) uint64 {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= at && at-p.Vaddr < p.Memsz {
			return p.Filesz
		}
	}
	t.Fatalf("%#x is in no mapping of the core dump", at)
	return 0
}

// victimDumps dumps no more than what always is, with a call in a slot.
func victimDumps(t *testing.T) {
	if err := syscall.Mkfifo("held", 0o600); err != nil {
		t.Fatal(err)
	}
	at := sleepsInOpen(t, opensHeld(named("held"), 0, make(chan bool)))
	from, _ := slotArea(t, at)
	say("slots %x vdso %x", from, vdsoAt(t))
	if err := os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	const core, sigaction = 4, syscall.SYS_RT_SIGACTION
	if err := syscall.Setrlimit(core, &syscall.Rlimit{Cur: 1 << 30, Max: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	var deflt [4]uint64 // of the kernel, and not of the Go runtime
	syscall.RawSyscall6(sigaction, uintptr(syscall.SIGQUIT), uintptr(unsafe.Pointer(&deflt)), 0, 8, 0, 0)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	select {}
}

// vdsoAt is where this process has its vDSO.
func vdsoAt(t *testing.T) (from uintptr) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasSuffix(line, "[vdso]") {
			_, _ = fmt.Sscanf(line, "%x-", &from)
		}
	}
	return from
}
