//go:build linux && amd64

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/prefilter"
)

const (
	sysMseal          = 462
	sysPkeyMprotect   = 329
	sysProcessMadvise = 440
)

// unsealed runs a test as on a kernel without mseal.
func unsealed(t *testing.T) bool {
	t.Helper()
	if !under(t, syscall.ENOSYS, sysMseal) {
		return false
	}
	if Slots() != prefilter.SlotsGuarded {
		t.Fatal("mseal is there")
	}
	return true
}

func TestUnsealed(t *testing.T) {
	if !unsealed(t) {
		return
	}
	if f := feature(t, "sealed memory"); f.Have || !strings.Contains(f.Remedy, "0x400000") {
		t.Errorf("%+v", f)
	}
	r := run(t, victim("remap"), Options{}, traced(t, "open"))
	if r.out != remapped || !r.state.Success() {
		t.Errorf("%v\n%swant\n%s", r.state, r.out, remapped)
	}
}

// remapped is what the victim of that name has to find.
var remapped = "slots below 0x400000: true\n" + strings.Repeat("EPERM\n", len(remappings(0))) +
	"elsewhere: true\n" + "opened\nEACCES\n"

// remapping is a call that would change what is mapped at an address.
type remapping struct {
	nr   uintptr
	args [6]uintptr
}

// remappings are all ways to reach a slot.
func remappings(at uintptr) []remapping {
	const (
		fixed, noReplace = 0x10, 0x100000
		anonymous        = syscall.MAP_PRIVATE | syscall.MAP_ANON
		rw               = syscall.PROT_READ | syscall.PROT_WRITE
		shmRemap         = 0o40000
		prSetMM          = 35
	)
	return []remapping{
		{syscall.SYS_MUNMAP, [6]uintptr{at, page}},
		{syscall.SYS_MUNMAP, [6]uintptr{0, prefilter.SlotsEnd}},
		{syscall.SYS_MMAP, [6]uintptr{at, page, rw, anonymous | fixed, ^uintptr(0), 0}},
		{syscall.SYS_MMAP, [6]uintptr{at, page, rw, anonymous | fixed | noReplace, ^uintptr(0), 0}},
		{syscall.SYS_MMAP, [6]uintptr{lowestMapped, prefilter.SlotsEnd - lowestMapped, rw, anonymous | fixed, ^uintptr(0), 0}},
		{syscall.SYS_MPROTECT, [6]uintptr{at, page, rw}},
		{sysPkeyMprotect, [6]uintptr{at, page, rw, ^uintptr(0)}},
		{syscall.SYS_MADVISE, [6]uintptr{at, page, syscall.MADV_DONTNEED}},
		{syscall.SYS_MREMAP, [6]uintptr{at, page, 2 * page, 1}},
		{syscall.SYS_MREMAP, [6]uintptr{uintptr(elsewhere()), page, page, 3, at}},
		{syscall.SYS_REMAP_FILE_PAGES, [6]uintptr{at, page, 0, 1}},
		{syscall.SYS_SHMAT, [6]uintptr{0, at, shmRemap}},
		{syscall.SYS_PRCTL, [6]uintptr{prSetMM, 1, at}},
		{sysProcessMadvise, [6]uintptr{0, 0, 0, 0}},
		{syscall.SYS_USELIB, [6]uintptr{0}},
	}
}

const (
	page         = 4096
	lowestMapped = 0x10000
)

// elsewhere is a mapping that is nowhere near.
func elsewhere() uint64 {
	at, _, _ := syscall.RawSyscall6(syscall.SYS_MMAP, 0, page, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	return uint64(at)
}

func (r *remapping) call() syscall.Errno {
	_, _, errno := syscall.RawSyscall6(r.nr, r.args[0], r.args[1], r.args[2], r.args[3], r.args[4], r.args[5])
	return errno
}

// slotsOf finds the shadow memory of this process.
func slotsOf() (from, to uintptr) {
	maps, _ := os.ReadFile("/proc/self/maps") // the first pinned call, if nothing was before
	for _, line := range strings.Split(string(maps), "\n") {
		if strings.Contains(line, "/memfd:portcullis-") {
			_, _ = fmt.Sscanf(line, "%x-%x", &from, &to)
		}
	}
	return from, to
}

// remap tries to reach its slots, and says what came of it.
func remap([]string) int {
	_ = rawOpen("/etc/passwd")
	from, to := slotsOf()
	fmt.Printf("slots below %#x: %v\n", prefilter.SlotsEnd, from >= lowestMapped && to > from && to <= prefilter.SlotsEnd)
	for _, r := range remappings(from) {
		fmt.Println(name(r.call()))
	}
	hint, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, from, page, syscall.PROT_READ,
		syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	fmt.Printf("elsewhere: %v\n", errno == 0 && (hint < from || hint >= to))
	fmt.Println(name(rawOpen("/etc/passwd")))
	fmt.Println(name(rawOpen("/secret")))
	return 0
}

func name(errno syscall.Errno) string {
	switch errno {
	case 0:
		return "opened"
	case syscall.EPERM:
		return "EPERM"
	case syscall.EACCES:
		return "EACCES"
	}
	return errno.Error()
}

// rawOpen is openat and close.
func rawOpen(path string) syscall.Errno {
	text := append([]byte(path), 0)
	fd, errno := openat(uintptr(unsafe.Pointer(&text[0])), syscall.O_RDONLY)
	runtime.KeepAlive(text)
	if errno == 0 {
		syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	}
	return errno
}

const atFDCWD = ^uintptr(99) // -100

func openat(path, flags uintptr) (uintptr, syscall.Errno) {
	fd, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, atFDCWD, path, flags, 0, 0, 0)
	return fd, errno
}

// A thread that flips the path, beside one that takes the slots away, gets nothing
// opened that was denied.
func TestUnsealedRace(t *testing.T) {
	if !unsealed(t) {
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "public"), []byte("p"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, victim("flip", dir, "3000"), Options{}, traced(t, "open"))
	if r.out != "secrets 0\nboth outcomes true\n" || !r.state.Success() {
		t.Errorf("%v: %s", r.state, r.out)
	}
}

// flip opens a path that another thread rewrites while a third takes memory away, and
// counts what it read of the file that may not be opened.
func flip(args []string) int {
	public, secret := []byte(args[0]+"/public\x00"), []byte(args[0]+"/secret\x00")
	path := append([]byte(nil), public...)
	tries := 0
	_, _ = fmt.Sscan(args[1], &tries)
	_ = rawOpen("/etc/passwd")
	from, _ := slotsOf()
	var stop atomic.Bool
	var group sync.WaitGroup
	beside := func(f func(i int)) {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.LockOSThread()
			for i := 0; !stop.Load(); i++ {
				f(i)
				runtime.Gosched()
			}
		}()
	}
	beside(func(i int) { copy(path, [][]byte{public, secret}[i&1]) })
	all := remappings(from)
	beside(func(i int) {
		if r := all[i%len(all)]; r.call() == 0 && r.nr == syscall.SYS_MMAP {
			copy(unsafe.Slice(*(**byte)(unsafe.Pointer(&r.args[0])), page), secret)
		}
	})
	found := map[byte]int{}
	for i := 0; i < tries; i++ {
		found[firstByte(path)]++
	}
	stop.Store(true)
	group.Wait()
	fmt.Printf("secrets %d\nboth outcomes %v\n", found['s'], found['p'] > 0 && found[0] > 0)
	return 0
}

// firstByte of a file, 0 if it cannot be opened.
func firstByte(path []byte) byte {
	fd, errno := openat(uintptr(unsafe.Pointer(&path[0])), syscall.O_RDONLY)
	if errno != 0 {
		return 0
	}
	var b [1]byte
	syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), 1)
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	return b[0]
}

// Below the end of what is guarded there is room for so many calls at once.
func TestUnsealedCrowd(t *testing.T) {
	if !unsealed(t) {
		return
	}
	const threads, fit = 50, 41
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := victim("crowd", fifo, fmt.Sprint(threads))
	k, done := pipes(t, cmd)
	p, err := Start(&Stack{[]Filter{traced(t, "open")}}, cmd, Options{Engine: Agent, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	done()
	for i := 0; i < threads-fit; i++ {
		if got, want := k.line(t), syscall.EAGAIN.Error(); got != want {
			t.Errorf("one too many: %s, want %s", got, want)
		}
	}
	writer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // which all others wait for
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for i := 0; i < fit; i++ {
		if got := k.line(t); got != "opened" {
			t.Errorf("one that fits: %s", got)
		}
	}
	if state, err := p.Wait(); err != nil || !state.Success() {
		t.Errorf("%v, %v", state, err)
	}
	<-p.Done()
}

// crowd has many threads open a path, and prints what came of each as it comes.
func crowd(args []string) int {
	n := 0
	_, _ = fmt.Sscan(args[1], &n)
	results := make(chan syscall.Errno)
	for i := 0; i < n; i++ {
		go func() {
			path, _ := syscall.BytePtrFromString(args[0])
			_, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, atFDCWD, uintptr(unsafe.Pointer(path)), syscall.O_RDONLY, 0, 0, 0)
			results <- errno
		}()
	}
	for i := 0; i < n; i++ {
		fmt.Println(name(<-results))
	}
	return 0
}

// What people run goes on to run.
func TestUnsealedPrograms(t *testing.T) {
	if !unsealed(t) {
		return
	}
	for _, need := range []string{"python3", "git", "gcc"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skip("needs " + need)
		}
	}
	cmd := sh(`set -e
cd "$0"
python3 -c 'import json, threading, subprocess, ssl; print(subprocess.check_output(["/bin/echo", "python"]).decode(), end="")'
git init -q . && echo 'int main(void) { return 7; }' > a.c && git add a.c
git -c user.name=n -c user.email=e@example.org commit -q -m message && git log --format=%s
gcc -o a a.c; ./a || echo $?
gcc -static -no-pie -o b a.c; ./b || echo $?
cat "$1" 2>/dev/null || echo denied`)
	cmd.Args = append(cmd.Args, t.TempDir(), secret(t))
	cmd.Env = append(os.Environ(), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1")
	r := run(t, cmd, Options{}, traced(t, "open"))
	if want := "python\nmessage\n7\n7\ndenied\n"; r.out != want || !r.state.Success() {
		t.Errorf("%v\n%swant\n%s", r.state, r.out, want)
	}
}
