//go:build linux && amd64

package target

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"portcullis/internal/sys"
)

// Process is a started target.
type Process interface {
	Pid() int
	Signal(os.Signal) error
	Wait() (*os.ProcessState, error)
}

// Traced is a Process whose stops are told by who traces it from within this process:
// then no other wait of this process may look for them. It is nil if nobody does.
type Traced interface {
	Process
	Stops() <-chan struct{}
	// Stopped tells whether it is stopped by a signal, and not for its tracer alone.
	Stopped() bool
}

// held are signals that the terminal sends to the whole process group. The
// supervisor does nothing on them: the target decides what they mean, and the
// supervisor follows it.
func held() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}
}

// forwarded are signals that somebody sends to the supervisor and means the target.
// SIGCONT is no such one: see stopWith.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM}
}

// Follower passes signals on. Catch makes it, before the target is started, so
// that none is lost in between.
type Follower struct {
	terminal, others, children chan os.Signal
	done                       chan struct{}
}

// Catch starts to hold signals back. They are caught rather than ignored:
// ignored ones the target would inherit.
func Catch() *Follower {
	f := &Follower{
		terminal: make(chan os.Signal, 1), // never read
		others:   make(chan os.Signal, 16),
		children: make(chan os.Signal, 1),
		done:     make(chan struct{}),
	}
	signal.Notify(f.terminal, held()...)
	signal.Notify(f.others, forwarded()...)
	signal.Notify(f.children, syscall.SIGCHLD)
	return f
}

// Release lets signals do to this process what they did before Catch.
func (f *Follower) Release() {
	signal.Stop(f.terminal)
	signal.Stop(f.others)
	signal.Stop(f.children)
}

// Wait follows p to its end and returns what its Wait returns. It reaps every
// other child of this process meanwhile: it is for programs that supervise one
// command and start nothing else.
func (f *Follower) Wait(p Process) (*os.ProcessState, error) {
	defer close(f.done)
	if t, ok := p.(Traced); ok && t.Stops() != nil {
		signal.Stop(f.children) // its tracer reaps, and has a child at each of its stops
		go f.followTold(p, t.Stops())
	} else {
		go f.followStops(p)
	}
	go f.forward(p)
	return p.Wait()
}

func (f *Follower) forward(p Process) {
	for {
		select {
		case sig := <-f.others:
			_ = p.Signal(sig)
		case <-f.children:
			reapOthers(p.Pid())
		case <-f.done:
			return
		}
	}
}

// followStops stops this process whenever the target stops, for whoever waits
// for it to see. The goroutine ends with the target.
func (f *Follower) followStops(p Process) {
	for sys.WaitStopped(p.Pid()) == nil {
		stopWith(p, nil)
	}
}

// followTold is followStops for a target that is traced.
func (f *Follower) followTold(p Process, stops <-chan struct{}) {
	for {
		select {
		case <-stops:
			stopWith(p, stops)
		case <-f.done:
			return
		}
	}
}

// stopWith stops this process if the target still is. Who continues it means the target,
// and may have continued both, as shells do with jobs: that one may then have been
// stopped anew, which a second SIGCONT would undo: stops has an element then, or it can be
// waited for. Who stops the target and continues it alone, at once, may leave this process
// stopped: nothing tells the kernel that both are meant.
func stopWith(p Process, stops <-chan struct{}) {
	if !stillStopped(p) {
		return
	}
	runtime.LockOSThread() // only a signal to one's own thread is sure to act before the call returns
	defer runtime.UnlockOSThread()
	_ = sys.ThreadSignal(sys.Gettid(), syscall.SIGSTOP)
	if stillStopped(p) && len(stops) == 0 {
		_ = p.Signal(syscall.SIGCONT)
	}
}

// stillStopped tells whether a child is in a stop that has been waited for, or that its
// tracer has taken: one that has been continued is not, nor one that has stopped since.
func stillStopped(p Process) bool {
	if t, ok := p.(Traced); ok && t.Stops() != nil && !t.Stopped() {
		return false
	}
	pid := p.Pid()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	return len(rest) > 0 && (rest[0] == 'T' || rest[0] == 't') && !changed(pid)
}

// changed tells whether a child has been continued since it last stopped, or has come to
// a stop that is to be waited for. It takes no such news away.
func changed(pid int) bool {
	const byPid, stopped, continued, noHang, noWait = 1, 2, 8, 1, 0x1000000
	var info [32]uint32 // siginfo_t: signo, 0 if there is none, is its first field
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPid, uintptr(pid),
		uintptr(unsafe.Pointer(&info)), stopped|continued|noHang|noWait, 0, 0)
	return errno == 0 && info[0] != 0
}

// reapOthers collects ended children other than the target, whose status is
// its starter's to take. While that one is not yet taken it may hide others:
// they are found at the next end.
func reapOthers(target int) {
	for {
		pid, err := sys.EndedChild()
		if err != nil || pid == 0 || pid == target {
			return
		}
		if sys.ReapChild(pid) != nil {
			return
		}
	}
}
