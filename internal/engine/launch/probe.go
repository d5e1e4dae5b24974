//go:build linux && amd64

package launch

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// probeAnswer is what the probe's call returns when its answer arrives.
const probeAnswer = 0x70726f62

// probedCall is gettid: a Go program that is denied it by an outer sandbox does
// not even start, and between a filter's installation and a thread's end the
// runtime does not make it.
const probedCall = syscall.SYS_GETTID

// probeFilter notifies the probed call and allows the rest.
func probeFilter() []sys.FilterInsn {
	return []sys.FilterInsn{
		{Code: 0x20, K: abi.OffNr},
		{Code: 0x15, Jf: 1, K: probedCall},
		{Code: 0x06, K: uint32(abi.UserNotif)},
		{Code: 0x06, K: uint32(abi.Allow)},
	}
}

// caller is the probe's filtered thread.
type caller struct {
	tid, listener int
	err           error
	result        chan uintptr
}

// probeKillable finds out whether a notification that was received outlasts a
// signal to its task, as WAIT_KILLABLE_RECV promises. It watches a thread of
// its own rather than the kernel's version, because some kernels accept the
// flag and misbehave. An error is the flag refused.
func probeKillable() (Listen, error) {
	started := make(chan *caller)
	go runCaller(started)
	c := <-started
	if c.err != nil {
		return ListenPlain, c.err
	}
	defer sys.Close(c.listener) // whatever still waits gets ENOSYS
	var n sys.Notif
	if asked, err := c.await(&n); !asked {
		return ListenPlain, err
	}
	// The runtime handles SIGURG, and no sender needs to be explained to it.
	if err := sys.ThreadSignal(c.tid, syscall.SIGURG); err != nil || !outlasts(c, n.ID) {
		return ListenPlain, nil
	}
	if sys.NotifSend(c.listener, &sys.NotifResp{ID: n.ID, Val: probeAnswer}) != nil || <-c.result != probeAnswer {
		return ListenPlain, nil
	}
	return ListenKillable, nil
}

// await takes the caller's notification. There is none where an outer sandbox
// denies the call, which then returns by itself.
func (c *caller) await(n *sys.Notif) (asked bool, err error) {
	const patience = 1 // ms
	for {
		ready, _, err := sys.Poll(c.listener, -1, patience)
		if err == nil && ready&sys.Readable != 0 {
			err = sys.NotifRecv(c.listener, n)
			if err == nil {
				return true, nil
			}
		}
		if err != nil && err != syscall.EINTR && err != syscall.ENOENT {
			return false, err
		}
		select {
		case <-c.result:
			return false, nil
		default:
		}
	}
}

// runCaller becomes the filtered thread, which ends with its goroutine. The main
// thread would not end, and stay filtered: where this is on it, it keeps it from
// another goroutine meanwhile.
func runCaller(started chan<- *caller) {
	runtime.LockOSThread()
	if sys.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		c := make(chan *caller)
		go runCaller(c)
		started <- <-c
		return
	}
	c := &caller{tid: sys.Gettid(), result: make(chan uintptr, 1)}
	if c.err = sys.NoNewPrivs(); c.err == nil {
		c.listener, c.err = sys.InstallFilter(probeFilter(), sys.FlagNewListener|sys.FlagWaitKillableRecv)
	}
	started <- c
	if c.err == nil {
		// Not raw: on a single processor the scheduler must know that it blocks.
		r, _, _ := syscall.Syscall(probedCall, 0, 0, 0)
		c.result <- r
	}
}

// outlasts waits until the signal is either pending on a thread that sleeps
// killably (it did not disturb the notification, and cannot any more), or has
// made the notification invalid. Where /proc does not tell, a few milliseconds
// without harm count as well.
func outlasts(c *caller, id uint64) bool {
	const attempts, pause = 100, 50_000
	for i := 0; i < attempts; i++ {
		switch {
		case !sys.NotifValid(c.listener, id):
			return false
		case pendingAndKillable(c.tid):
			return sys.NotifValid(c.listener, id)
		}
		sys.Pause(pause)
	}
	return sys.NotifValid(c.listener, id)
}

func pendingAndKillable(tid int) bool {
	dir, err := sys.OpenDir("/proc/self/task/" + strconv.Itoa(tid))
	if err != nil {
		return false
	}
	defer sys.Close(dir)
	var buf [4096]byte
	n, err := sys.ReadAt(dir, "status", buf[:])
	if err != nil {
		return false
	}
	status := buf[:n]
	pending := field(status, "SigPnd:")
	mask, err := strconv.ParseUint(string(pending), 16, 64)
	return err == nil && mask&(1<<(syscall.SIGURG-1)) != 0 && bytes.HasPrefix(field(status, "State:"), []byte("D"))
}

// field is the value of a line of /proc/PID/status.
func field(status []byte, name string) []byte {
	i := bytes.Index(status, []byte("\n"+name))
	if i < 0 {
		return nil
	}
	value, _, _ := bytes.Cut(status[i+1+len(name):], []byte("\n"))
	return bytes.TrimSpace(value)
}

// Probe finds out what ListenProbe is. The error is an *InstallError.
func Probe() (Listen, error) {
	l, err := probeKillable()
	if err != nil {
		return l, &InstallError{stepProbe, err}
	}
	return l, nil
}
