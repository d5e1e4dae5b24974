//go:build linux && amd64

package task

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/sys"
)

// forgotten collects what a table forgets.
type forgotten struct{ procs, threads map[uint64]bool }

func newForgotten() *forgotten { return &forgotten{map[uint64]bool{}, map[uint64]bool{}} }

func (f *forgotten) ForgetProcess(key uint64) { f.procs[key] = true }
func (f *forgotten) ForgetThread(key uint64)  { f.threads[key] = true }

func always() bool { return true }
func never() bool  { return false }

// callerIn is a caller without a listener, which valid stands in for.
func callerIn(t *Table, tid int, valid func() bool) *Caller {
	c := NewCaller(t, -1)
	c.valid = valid
	c.Reset(0, tid)
	return c
}

// onThread runs f while another thread, of which it gets the id, is alive.
func onThread(f func(tid int)) {
	tids, done := make(chan int), make(chan struct{})
	for i := 0; i < 2; i++ {
		go func() {
			runtime.LockOSThread()
			tids <- sys.Gettid()
			<-done
		}()
	}
	tid := <-tids
	if other := <-tids; tid == os.Getpid() {
		tid = other
	}
	f(tid)
	close(done)
}

func TestThreadsOfAProcessShareItsKey(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	pid := os.Getpid()
	leader := callerIn(table, pid, always)
	key, lead := leader.Process(), leader.Thread()
	onThread(func(tid int) {
		c := callerIn(table, tid, always)
		if c.Process() != key || key == 0 {
			t.Errorf("process key %d of thread %d, %d of its leader: %v", c.Process(), tid, key, c.Err())
		}
		if c.Thread() == lead || c.Thread() == 0 || lead == 0 {
			t.Errorf("thread keys %d and %d: expected two", c.Thread(), lead)
		}
		if want := uint64(pid)<<32 | uint64(tid); c.PidTgid() != want {
			t.Errorf("PidTgid %#x, want %#x", c.PidTgid(), want)
		}
		again := callerIn(table, tid, always)
		if again.Thread() != c.Thread() {
			t.Error("the same thread got another key")
		}
	})
}

func TestWhatIsReadIsTheCallers(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	c := callerIn(table, os.Getpid(), always)
	if want := uint64(os.Getgid())<<32 | uint64(os.Getuid()); c.UidGid() != want {
		t.Errorf("UidGid %#x, want %#x", c.UidGid(), want)
	}
	want, _ := os.ReadFile("/proc/self/comm")
	comm := c.Comm()
	if got := string(bytes.TrimRight(comm[:], "\x00")) + "\n"; got != string(want) {
		t.Errorf("Comm %q, want %q", got, want)
	}
	src, dst := []byte("memory"), make([]byte, 6)
	if n, err := c.ReadUser(dst, uint64(uintptr(unsafe.Pointer(&src[0])))); n != 6 || err != nil || string(dst) != "memory" {
		t.Errorf("ReadUser: %q, %d, %v", dst, n, err)
	}
	if _, err := c.ReadUser(dst, 8); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("ReadUser of address 8: %v", err)
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// Numbers that were looked up for a caller that is gone may be another task's.
func TestNothingIsBelievedOfAGoneCaller(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	onThread(func(tid int) {
		for _, tid := range []int{os.Getpid(), tid} {
			for name, read := range map[string]func(*Caller) bool{
				"Process":  func(c *Caller) bool { return c.Process() == 0 },
				"Thread":   func(c *Caller) bool { return c.Thread() == 0 },
				"PidTgid":  func(c *Caller) bool { return c.PidTgid() == 0 },
				"UidGid":   func(c *Caller) bool { return c.UidGid() == 0 },
				"Comm":     func(c *Caller) bool { return c.Comm() == [16]byte{} },
				"ReadUser": func(c *Caller) bool { n, _ := c.ReadUser(make([]byte, 1), 8); return n == 0 },
				"Kill":     func(c *Caller) bool { return errors.Is(c.Kill(), ErrGone) },
			} {
				c := callerIn(table, tid, never)
				if !read(c) || !errors.Is(c.Err(), ErrGone) && name != "Kill" {
					t.Errorf("%s of a gone caller %d: %v", name, tid, c.Err())
				}
			}
		}
	})
	if table.Len() != 0 {
		t.Errorf("%d tasks are held", table.Len())
	}
}

func cat(t *testing.T) (*exec.Cmd, func()) {
	t.Helper()
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, func() { in.Close(); cmd.Wait() }
}

func TestAProcessOutlivesACallerThatWentWhileLookedAt(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	cmd, stop := cat(t)
	defer stop()
	c := callerIn(table, cmd.Process.Pid, always)
	if c.Process() == 0 {
		t.Fatal(c.Err())
	}
	c.valid = never
	c.Comm()
	if err := c.Kill(); !errors.Is(err, ErrGone) {
		t.Errorf("Kill: %v, expected ErrGone", err)
	}
	c.Reset(0, cmd.Process.Pid)
	c.valid = always
	if comm := c.Comm(); !bytes.HasPrefix(comm[:], []byte("cat")) {
		t.Errorf("%q, %v: expected the process to live", comm, c.Err())
	}
}

func TestReusedNumberIsAnotherProcess(t *testing.T) {
	const lastPid = "/proc/sys/kernel/ns_last_pid"
	if os.WriteFile(lastPid, []byte("300"), 0) != nil {
		t.Skip("needs CAP_CHECKPOINT_RESTORE: to choose process ids")
	}
	f := newForgotten()
	table := NewTable(f, 0)
	defer table.Close()
	for i := 0; i < 100; i++ {
		first, end := cat(t)
		pid := first.Process.Pid
		key := callerIn(table, pid, always).Process()
		end()
		os.WriteFile(lastPid, []byte(strconv.Itoa(pid-1)), 0)
		second, end := cat(t)
		reused := second.Process.Pid == pid
		if reused {
			again := callerIn(table, pid, always).Process()
			if again == key || again == 0 || !f.procs[key] {
				t.Errorf("process %d again: key %d after %d, which was forgotten: %v", pid, again, key, f.procs[key])
			}
		}
		end()
		if reused {
			return
		}
	}
	t.Error("another process took the number 100 times")
}

func TestDeadTasksAreForgottenAndReaped(t *testing.T) {
	f := newForgotten()
	table := NewTable(f, 0)
	defer table.Close()
	cmd, end := cat(t)
	c := callerIn(table, cmd.Process.Pid, always)
	key, thread := c.Process(), c.Thread()
	table.sweep()
	if f.procs[key] {
		t.Fatal("a living process was forgotten")
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	sys.Poll(table.procs[cmd.Process.Pid].fd, -1, -1)
	table.sweep()
	if !f.procs[key] || !f.threads[thread] || table.Len() != 0 {
		t.Errorf("forgotten: %v %v; still held: %d", f.procs, f.threads, table.Len())
	}
	if err := syscall.Kill(cmd.Process.Pid, 0); err != syscall.ESRCH {
		t.Errorf("the process was not reaped: %v", err)
	}
	end()
}

func TestTheSpareIsLeftToItsStarter(t *testing.T) {
	cmd, end := cat(t)
	defer end()
	table := NewTable(newForgotten(), cmd.Process.Pid)
	c := callerIn(table, cmd.Process.Pid, always)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	sys.Poll(table.procs[cmd.Process.Pid].fd, -1, -1)
	table.sweep()
	if err := syscall.Kill(cmd.Process.Pid, 0); err != nil || table.Len() != 0 {
		t.Errorf("its status was taken away: %v; held: %d", err, table.Len())
	}
}

func TestThreadsThatEndAreForgotten(t *testing.T) {
	f := newForgotten()
	table := NewTable(f, 0)
	defer table.Close()
	var key uint64
	var held handle
	onThread(func(tid int) {
		key = callerIn(table, tid, always).Thread()
		held = table.threads[tid].held
	})
	if held.pidfd < 0 {
		t.Skip("needs Linux 6.9: to wait for the end of a thread")
	}
	sys.Poll(held.pidfd, -1, -1)
	table.sweep()
	if !f.threads[key] || len(table.threads) != 0 {
		t.Errorf("forgotten: %v, held: %d", f.threads, len(table.threads))
	}
}

func TestThreadByItsDirectory(t *testing.T) {
	cmd, end := cat(t)
	h, err := holdDir(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if !h.current() || h.gone() {
		t.Error("a living task is said to be gone")
	}
	end()
	if h.current() || !h.gone() {
		t.Error("a reaped task is said to be there")
	}
}

func TestFullTableFailsClosed(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	callerIn(table, os.Getpid(), always).Process()
	table.limit, table.sweepAt = 1, 1
	cmd, end := cat(t)
	defer end()
	c := callerIn(table, cmd.Process.Pid, always)
	if c.Process() != 0 || !errors.Is(c.Err(), syscall.EMFILE) {
		t.Errorf("the second task of a table for one: %v", c.Err())
	}
	if err := c.Kill(); err != nil { // which must work all the same
		t.Error(err)
	}
}

func TestStatusOfNoTask(t *testing.T) {
	var st status
	var te *Error
	if err := st.read(1 << 29); !errors.As(err, &te) || te.Tid != 1<<29 {
		t.Errorf("reading the status of no task: %v", err)
	}
}
