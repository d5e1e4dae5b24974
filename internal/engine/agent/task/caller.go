//go:build linux && amd64

package task

import (
	"errors"
	"math/rand"
	"syscall"

	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/sys"
)

// Caller is the task of one notification, as a filter sees it. Everything is
// found out when it is asked for: a decision that never asks costs no look at
// /proc. What is read counts only if the notification is valid afterwards.
// A failure leaves zeroes behind and is remembered for Err.
type Caller struct {
	table    *Table
	listener int
	id       uint64
	tid      int

	proc   *process
	thread uint64
	err    error
	valid  func() bool
	st     status
}

// NewCaller makes a caller to be reused for all notifications of a listener.
func NewCaller(t *Table, listener int) *Caller {
	c := &Caller{table: t, listener: listener}
	c.valid = func() bool { return sys.NotifValid(c.listener, c.id) }
	return c
}

// NewStopped makes a caller to be reused for all calls at which a tracer holds
// threads. As long as it holds them, no number is another task's.
func NewStopped(d Directory) *Caller {
	return &Caller{table: NewKnown(d), listener: -1, valid: func() bool { return true }}
}

// Reset makes c the caller of notification id, thread tid.
func (c *Caller) Reset(id uint64, tid int) {
	c.id, c.tid, c.proc, c.thread, c.err = id, tid, nil, 0, nil
}

// Err is the first thing that could not be found out: ErrGone, or an *Error.
func (c *Caller) Err() error { return c.err }

// Tid is the caller's thread id.
func (c *Caller) Tid() int { return c.tid }

// Valid tells whether the caller still waits for the decision.
func (c *Caller) Valid() bool { return c.valid() }

func (c *Caller) resolve() bool {
	if c.proc == nil && c.err == nil {
		c.proc, c.thread, c.err = c.table.find(c.tid, c.valid)
	}
	return c.proc != nil
}

// PidTgid is tgid << 32 | tid, in this process's pid namespace.
func (c *Caller) PidTgid() uint64 {
	if !c.resolve() {
		return 0
	}
	return uint64(c.proc.pid)<<32 | uint64(uint32(c.tid))
}

// Pid is the process id, 0 if it cannot be found out.
func (c *Caller) Pid() int { return int(c.PidTgid() >> 32) }

// Process is the key of the caller's process, 0 if it cannot be found out.
func (c *Caller) Process() uint64 {
	if !c.resolve() {
		return 0
	}
	return c.proc.key
}

// Thread is the key of the caller's thread, 0 if it cannot be found out.
func (c *Caller) Thread() uint64 {
	c.resolve()
	return c.thread
}

// UidGid is gid << 32 | uid, in this process's user namespace.
func (c *Caller) UidGid() uint64 {
	if c.fail(c.st.read(c.tid)) {
		return 0
	}
	ids, err := c.st.uidGid()
	if err != nil {
		err = &Error{c.tid, "the Uid and Gid lines of /proc/TID/status", err}
	}
	if c.fail(err) {
		return 0
	}
	return ids
}

// Comm is the thread's command name, padded with NULs.
func (c *Caller) Comm() (comm [16]byte) {
	var path [32]byte
	var buf [32]byte
	n, err := sys.ReadFile(procPath(path[:0], c.tid, "/comm\x00"), buf[:])
	if err != nil {
		err = &Error{c.tid, "reading /proc/TID/comm", err}
	}
	if !c.fail(err) {
		copy(comm[:15], buf[:max(n-1, 0)]) // without the newline
	}
	return comm
}

// fail remembers err, or that the caller is gone after a read that succeeded.
func (c *Caller) fail(err error) bool {
	switch {
	case !c.valid():
		err = ErrGone
	case err == nil:
		return false
	}
	if c.err == nil {
		c.err = err
	}
	return true
}

// ReadUser copies the caller's memory at addr into dst, unpinned, and returns
// how many bytes from the start could be read. Memory that is not there is
// EFAULT, as for the kernel's probe_read_user, and no failure of the caller's.
func (c *Caller) ReadUser(dst []byte, addr uint64) (int, error) {
	n, err := sys.ReadProcess(c.tid, dst, addr)
	if !c.valid() {
		c.fail(ErrGone)
		return 0, ErrGone
	}
	if err != nil && !errors.Is(err, syscall.EFAULT) {
		c.fail(&Error{c.tid, "process_vm_readv", err})
	}
	return n, err
}

// SafeRead fails: a notified call cannot be given other memory than the caller's.
func (c *Caller) SafeRead([]byte, uint64) maps.Errno { return interp.EOPNOTSUPP }

// SafeReadStr fails, as SafeRead does.
func (c *Caller) SafeReadStr([]byte, uint64) (int, maps.Errno) { return 0, interp.EOPNOTSUPP }

// Await fails: nobody is told when a notified call ends.
func (c *Caller) Await(uint64, uint64) maps.Errno { return maps.EINVAL }

// Now is the monotonic clock in nanoseconds.
func (c *Caller) Now() uint64 { return sys.Monotonic() }

// BootNow is the monotonic clock with suspended time, in nanoseconds.
func (c *Caller) BootNow() uint64 { return sys.Boottime() }

// Rand is 32 pseudo-random bits.
func (c *Caller) Rand() uint32 { return rand.Uint32() }

// Kill sends SIGKILL to the caller's process, whichever way it can be reached.
// ErrGone: there is no caller any more, or there was none when it was looked at;
// then its process, which may just have executed another program, made no call.
func (c *Caller) Kill() error {
	if errors.Is(c.err, ErrGone) {
		return ErrGone
	}
	c.err = nil
	if c.resolve() {
		return c.proc.kill(c.valid)
	}
	if errors.Is(c.err, ErrGone) {
		return ErrGone
	}
	return c.killThread()
}

// killThread reaches the process by its thread, for a signal that kills one
// kills all: it is left where /proc cannot be read.
func (c *Caller) killThread() error {
	fd, err := sys.PidfdThread(c.tid)
	if err != nil {
		return &Error{c.tid, "pidfd_open(PIDFD_THREAD)", err}
	}
	defer sys.Close(fd)
	if !c.valid() {
		return ErrGone
	}
	return sys.PidfdSignal(fd, syscall.SIGKILL)
}
