package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// What all users have together, one user does not use up, and what filters look for has an end.

// storesIn keeps something for the thread in so many maps, when it calls getppid.
func storesIn(maps int) *prog.Program { return stores(maps, 8, helper.StorageThread) }

// stores keeps so many bytes in each of some maps, which a fork copies.
func stores(maps int, size uint32, flags int32) *prog.Program {
	a := newAssembler().unless(getppid, "allow")
	for i := 0; i < maps; i++ {
		m := counter(prog.TaskStorage)
		m.ValueSize, m.Flags = size, m.Flags|prog.FlagClone
		a.storage(m, flags).jump(prog.OpJeq, 0, 0, "none")
	}
	return a.label("allow").answer(abi.Allow).label("none").answer(abi.Errno(edom)).program("stores")
}

// onTop puts a filter on the calling thread.
func onTop(f filter) error {
	l, err := load([]filter{f})
	if err != nil {
		return err
	}
	defer l.close()
	_, err = l.put(0, 0)
	return err
}

// Storage is looked for in a list of all maps that there is some in: 128 for a chain of filters.
// Those that are installed later find less room, and those before lose none.
func TestGuestStorageInManyMaps(t *testing.T) {
	inGuest(t)
	got := filtered(t, func() string {
		first := onTop(plain(limitByStorage(counter(prog.TaskStorage), 1, helper.StorageThread))[0])
		var later []error
		for _, maps := range []int{64, 64, 63, 1} {
			later = append(later, onTop(plain(storesIn(maps))[0]))
		}
		return fmt.Sprint(first, later, perform([]string{"ppid", "ppid"}))
	})
	if want := "<nil> [<nil> cannot allocate memory <nil> cannot allocate memory] [ok EDOM]"; got != want {
		t.Errorf("saw %s, expected %s", got, want)
	}
}

// Programs behind tail calls get what there is, and those of this engine's filters their own.
func TestGuestStorageBehindTailCalls(t *testing.T) {
	inGuest(t)
	got := filtered(t, func() string {
		full := []error{onTop(plain(storesIn(64))[0]), onTop(plain(storesIn(64))[0])}
		seen := perform([]string{"ppid"})
		bound := onTop(tailed(t, storesIn(1)))
		seen = append(seen, perform([]string{"ppid"})...)
		unbound := onTopUnbound(tailed(t, storesIn(1)))
		return fmt.Sprint(full, bound, unbound, append(seen, perform([]string{"ppid"})...))
	})
	if want := "[<nil> <nil>] cannot allocate memory <nil> [ok ok EDOM]"; got != want {
		t.Errorf("saw %s, expected %s", got, want)
	}
}

// onTopUnbound is onTop of a filter whose own program does not count what others use.
func onTopUnbound(f filter) error {
	l, err := confined(func() (*loaded, error) {
		l := &loaded{maps: map[*prog.Map]int{}}
		fds, err := l.addPrograms(f)
		if err == nil {
			err = l.fillArrays(f.verified, fds)
		}
		return l, err
	})
	defer l.close()
	if err == nil {
		_, err = l.put(0, 0)
	}
	return err
}

// The threads of a process may have different filters, and storage for the process in more maps
// together, but not in any number: a filter's search ends then and its call is refused, whatever it
// says, and so is a fork that would copy much.
func TestGuestStorageOfManyThreads(t *testing.T) {
	inGuest(t)
	victimsSay(t, "crowded", map[int]string{
		1: "<nil> <nil> ok ok",
		8: "<nil> <nil> errno12 " + noFork, // ENOMEM
		9: "<nil> <nil> <nil> EDOM",
	})
}

// A fork copies so much with interrupts off, and fails where it would be more.
func TestGuestForkOfLargeStorage(t *testing.T) {
	inGuest(t)
	victimsSay(t, "laden", map[int]string{2: "<nil> <nil> ok ok", 3: "<nil> <nil> ok " + noFork})
}

const noFork = "child:fork/exec /proc/self/exe: resource temporarily unavailable"

// victimsSay wants of victims that are told a number what there is for that.
func victimsSay(t *testing.T, order string, wants map[int]string) {
	t.Helper()
	for n, want := range wants {
		out, err := victim(order, fmt.Sprint(n)).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s %d: saw %q, %v, expected %q", order, n, got, err, want)
		}
	}
}

// laden keeps much in some maps, and forks.
func laden(maps string) []string {
	n, err := strconv.Atoi(maps)
	if err != nil {
		return []string{err.Error()}
	}
	privs, put := sys.NoNewPrivs(), onTop(plain(stores(n, 48<<10, 0))[0])
	return append([]string{fmt.Sprint(privs, put), call(getppid, 0, 0, 0)}, inChild([]string{"pgrp"})...)
}

// crowded has threads with filters of their own keep storage, searches it, and forks.
func crowded(threads string) []string {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return []string{err.Error()}
	}
	seen := make(chan string)
	for i := 0; i < n; i++ {
		go func() {
			runtime.LockOSThread()
			privs := sys.NoNewPrivs()
			one, two := onTop(plain(stores(64, 8, 0))[0]), onTop(plain(stores(64, 8, 0))[0])
			seen <- fmt.Sprint(privs, one, two) + " " + call(getppid, 0, 0, 0)
			select {}
		}()
		if s := <-seen; s != "<nil> <nil> <nil> ok" {
			return []string{s}
		}
	}
	privs, search := sys.NoNewPrivs(), onTop(plain(searches())[0])
	return append([]string{fmt.Sprint(privs, search), call(getppid, 0, 0, 0)}, inChild([]string{"pgrp"})...)
}

// searches looks a thousand times for what is not there, and allows what it did not find.
func searches() *prog.Program {
	return newAssembler().unless(getppid, "allow").mov(6, 0).label("again").
		mapTo(1, prog.PseudoMapFD, counter(prog.TaskStorage)).mov(2, 0).call(helper.TaskStorageDelete).
		add(6, 1).jump(prog.OpJlt, 6, 1000, "again").
		label("allow").answer(abi.Allow).program("searches")
}

// Machine code has one limit for all. A user who loads as much as there is leaves some to others,
// and has no more of it as other users of a namespace of his own.
func TestGuestShareOfMachineCode(t *testing.T) {
	inGuest(t)
	defer fewMachineCode(t)()
	full := fills(t, guest.Nobody)
	stranger, err := as(guest.Nobody-1, victim("probe")).Output()
	if s := strings.TrimSpace(string(stranger)); err != nil || s != "ok" {
		t.Errorf("another user's load: %s, %v", s, err)
	}
	emptied(t, full)
}

// Many users leave a half to what is no filter of this kind.
func TestGuestHalfOfMachineCode(t *testing.T) {
	inGuest(t)
	defer fewMachineCode(t)()
	var full []*filler
	for uid := uint32(1); uid < 8; uid++ {
		full = append(full, fills(t, guest.Nobody-uid))
	}
	out, err := as(guest.Nobody, victim("load")).Output()
	if s := strings.TrimSpace(string(out)); err != nil || s != syscall.EDQUOT.Error() {
		t.Errorf("one more user's load: %s, %v", s, err)
	}
	emptied(t, full...)
}

// fewMachineCode lets there be a megabyte of it, until what it returns is called.
func fewMachineCode(t *testing.T) func() {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("runs as root, who sets the sysctl")
	}
	const path = "/proc/sys/net/core/bpf_jit_limit"
	limit, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set(t, path, fmt.Sprint(1<<20))
	return func() { set(t, path, strings.TrimSpace(string(limit))) }
}

// filler is a victim that has loaded until there was no more to be had.
type filler struct {
	cmd   *exec.Cmd
	in    io.Closer
	lines *bufio.Reader
}

// fills has a user be one.
func fills(t *testing.T, uid uint32) *filler {
	t.Helper()
	f := &filler{cmd: as(uid, victim("fill"))}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.lines = bufio.NewReader(out)
	says(t, f.lines, "full disk quota exceeded")
	says(t, f.lines, "in a namespace disk quota exceeded")
	return f
}

// emptied has them close what they have loaded, and load again.
func emptied(t *testing.T, full ...*filler) {
	t.Helper()
	for _, f := range full {
		f.in.Close()
	}
	for _, f := range full {
		says(t, f.lines, "afterwards <nil>")
		if err := f.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// says expects a line.
func says(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		t.Fatalf("it says %q, %v, expected %q", got, err, want)
	}
}

// fill loads until there is no more to be had, waits for the end of input, and begins anew.
func fill() []string {
	all, err := more(nil)
	for err == nil && len(all) < 1000 {
		all, err = more(all)
	}
	fmt.Println("full", err)
	within := victim("load")
	within.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 7, HostID: os.Getuid(), Size: 1}},
	}
	seen, err := within.Output()
	if err != nil {
		seen = []byte(err.Error())
	}
	fmt.Println("in a namespace", strings.TrimSpace(string(seen)))
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, l := range all {
		l.close()
	}
	return []string{"afterwards", fmt.Sprint(again())}
}

// more loads a program of some kilobytes.
func more(all []*loaded) ([]*loaded, error) {
	a := newAssembler()
	for len(a.insns) < 500 {
		a.mov(2, int32(len(a.insns)))
	}
	l, err := load(plain(a.answer(abi.Allow).program("more")))
	if err == nil {
		all = append(all, l)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return all, err
}

// again loads one more as soon as what has been closed is gone.
func again() (err error) {
	for deadline := time.Now().Add(guest.Patience(10 * time.Second)); time.Now().Before(deadline); runtime.Gosched() {
		if _, err = more(nil); err != syscall.EDQUOT {
			break
		}
	}
	return err
}
