//go:build linux && amd64

package task

import (
	"errors"
	"fmt"
	"syscall"

	"portcullis/internal/sys"
)

// ErrGone is a caller that died, or was interrupted, while it was looked at.
var ErrGone error = gone{}

// gone lets others than the users of this package see what it is.
type gone struct{}

func (gone) Error() string { return "the caller is gone" }

// Gone is true.
func (gone) Gone() bool { return true }

// Error is a caller that lives and cannot be identified. A filter that asks
// for it cannot be answered.
type Error struct {
	Tid  int
	Step string
	Err  error
}

// Error is one line.
func (e *Error) Error() string {
	return fmt.Sprintf("identifying the caller, thread %d: %s: %v", e.Tid, e.Step, e.Err)
}

// Unwrap is the errno.
func (e *Error) Unwrap() error { return e.Err }

// Forgetter is told of processes and threads that ended, by their keys.
type Forgetter interface {
	ForgetProcess(key uint64)
	ForgetThread(key uint64)
}

// Directory knows every task of a tree by its thread id, as a tracer does. A thread
// that waits in a call is in it.
type Directory interface {
	// Find is the process id and the keys of process and thread.
	Find(tid int) (pid int, process, thread uint64, ok bool)
}

// Table holds the processes and threads that were asked for. A held descriptor
// pins each identity: as long as it says that the number is still its own, the
// number means the same task. It belongs to one goroutine.
type Table struct {
	procs   map[int]*process
	threads map[int]*thread
	last    uint64 // the last key given out
	sweepAt int
	limit   int
	spare   int
	forget  Forgetter
	ended   []int // pidfds of processes that ended before their parents

	directory Directory // instead of all of this, nil for none
	found     process   // what it said last
}

// process is a thread group; its number is its leader's. Executing from another
// thread keeps number, descriptor and key: the kernel gives the leader's struct
// pid to the thread that executes (de_thread in fs/exec.c).
type process struct {
	pid, fd     int
	key, leader uint64 // of the process, and of its leader as a thread
	gone        bool   // as the sweep under way found it
}

// thread is one that leads no process.
type thread struct {
	tid  int
	key  uint64
	held handle
	proc *process
}

// maxEnded bounds the processes that ended and wait for their parents: what lets
// them lie can start more of them than there are descriptors.
const maxEnded = 256

// firstSweep is how many tasks are held before the first look for dead ones.
const firstSweep = 64

// NewTable makes an empty table. The process spare is never reaped, since its
// starter waits for it; other filtered processes that became children of this
// one are, when they are found dead.
func NewTable(forget Forgetter, spare int) *Table {
	limit := 512
	if n, err := sys.OpenFiles(); err == nil && n > 1024 {
		limit = int(min(n, 1<<20)) / 2
	}
	return &Table{
		procs: map[int]*process{}, threads: map[int]*thread{},
		sweepAt: firstSweep, limit: limit, spare: spare, forget: forget,
	}
}

// NewKnown makes a table that asks a directory, holds nothing and reaps nothing.
func NewKnown(d Directory) *Table { return &Table{directory: d} }

// Len is the number of tasks held.
func (t *Table) Len() int { return len(t.procs) + len(t.threads) }

// Close forgets all tasks.
func (t *Table) Close() {
	for _, th := range t.threads {
		t.dropThread(th)
	}
	for _, p := range t.procs {
		t.dropProcess(p)
	}
	t.bury()
	for _, fd := range t.ended {
		sys.Close(fd)
	}
	t.ended = nil
}

// AwaitOrphans waits for the end of processes that became children of this one,
// so that Close can reap them. It is for when no filtered task can call any more:
// the kernel says so while the last ones are still on their way out.
func (t *Table) AwaitOrphans() {
	for _, p := range t.procs {
		if p.pid != t.spare && sys.PidfdReap(p.fd) == nil {
			_, _, _ = sys.Poll(p.fd, -1, -1)
		}
	}
}

// find identifies tid, the caller of a notification that valid asks about:
// what is opened by number is only believed if valid holds afterwards.
func (t *Table) find(tid int, valid func() bool) (*process, uint64, error) {
	if t.directory != nil {
		return t.known(tid, valid)
	}
	if th := t.threads[tid]; th != nil {
		if th.held.current() {
			return th.proc, th.key, nil
		}
		t.dropThread(th)
	}
	if p := t.procs[tid]; p != nil {
		if current(p.fd) {
			return p, p.leader, nil
		}
		t.dropProcess(p)
	}
	if err := t.makeRoom(tid); err != nil {
		return nil, 0, err
	}
	p, key, err := t.open(tid, valid)
	if err != nil && !valid() {
		err = ErrGone
	}
	return p, key, err
}

// known asks the directory.
func (t *Table) known(tid int, valid func() bool) (*process, uint64, error) {
	pid, key, thread, ok := t.directory.Find(tid)
	switch {
	case !ok && valid():
		return nil, 0, &Error{tid, "asking its tracer", syscall.ESRCH}
	case !ok:
		return nil, 0, ErrGone
	}
	t.found = process{pid: pid, fd: -1, key: key}
	return &t.found, thread, nil
}

// kill sends SIGKILL, to the process that it is as long as valid holds.
func (p *process) kill(valid func() bool) error {
	if p.fd >= 0 {
		return sys.PidfdSignal(p.fd, syscall.SIGKILL)
	}
	fd, err := sys.PidfdProcess(p.pid)
	if err != nil {
		return &Error{p.pid, "pidfd_open", err}
	}
	defer sys.Close(fd)
	if !valid() {
		return ErrGone
	}
	return sys.PidfdSignal(fd, syscall.SIGKILL)
}

func (t *Table) open(tid int, valid func() bool) (*process, uint64, error) {
	p, err := t.openProcess(tid, valid)
	if err == nil {
		return p, p.leader, nil
	}
	if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return nil, 0, err
	}
	return t.openThread(tid, valid)
}

func (t *Table) openProcess(pid int, valid func() bool) (*process, error) {
	fd, err := sys.PidfdProcess(pid)
	if err != nil {
		return nil, &Error{pid, "pidfd_open", err}
	}
	if !valid() {
		sys.Close(fd)
		return nil, ErrGone
	}
	p := &process{pid: pid, fd: fd, key: t.key(), leader: t.key()}
	t.procs[pid] = p
	return p, nil
}

func (t *Table) openThread(tid int, valid func() bool) (*process, uint64, error) {
	held, err := hold(tid)
	if err != nil {
		return nil, 0, err
	}
	p, err := t.group(tid, valid)
	if err == nil && !valid() {
		err = ErrGone
	}
	if err != nil {
		held.close()
		return nil, 0, err
	}
	th := &thread{tid: tid, key: t.key(), held: held, proc: p}
	t.threads[tid] = th
	return p, th.key, nil
}

// group finds the process of a thread.
func (t *Table) group(tid int, valid func() bool) (*process, error) {
	var st status
	if err := st.read(tid); err != nil {
		return nil, err
	}
	pid, err := st.tgid()
	if err != nil {
		return nil, &Error{tid, "the Tgid line of /proc/TID/status", err}
	}
	if !valid() {
		return nil, ErrGone
	}
	if p := t.procs[pid]; p != nil {
		if current(p.fd) {
			return p, nil
		}
		t.dropProcess(p)
	}
	return t.openProcess(pid, valid)
}

func (t *Table) key() uint64 {
	t.last++
	return t.last
}

// makeRoom looks for dead tasks each time the table has doubled, so that the
// work is constant for each new task, however many come and go.
func (t *Table) makeRoom(tid int) error {
	if t.Len() < t.sweepAt {
		return nil
	}
	t.sweep()
	t.sweepAt = max(firstSweep, 2*t.Len())
	if t.sweepAt > t.limit {
		t.sweepAt = t.limit
	}
	if t.Len() >= t.limit {
		return &Error{tid, fmt.Sprintf("%d tasks at once", t.Len()), syscall.EMFILE}
	}
	return nil
}

// sweep forgets what is dead in one pass over each kind, so that its cost is the
// sum of their numbers, not the product.
func (t *Table) sweep() {
	for _, p := range t.procs {
		p.gone = sys.PidfdGone(p.fd)
	}
	for _, th := range t.threads {
		if th.proc.gone || th.held.gone() {
			t.dropThread(th)
		}
	}
	for _, p := range t.procs {
		if p.gone {
			t.release(p)
		}
	}
	t.bury()
}

func (t *Table) dropThread(th *thread) {
	th.held.close()
	delete(t.threads, th.tid)
	t.forget.ForgetThread(th.key)
}

// dropProcess forgets a process with the threads that were seen of it.
func (t *Table) dropProcess(p *process) {
	for _, th := range t.threads {
		if th.proc == p {
			t.dropThread(th)
		}
	}
	t.release(p)
}

// release forgets a process none of whose threads is held.
func (t *Table) release(p *process) {
	delete(t.procs, p.pid)
	t.forget.ForgetProcess(p.key)
	t.forget.ForgetThread(p.leader)
	if p.pid == t.spare || len(t.ended) == maxEnded || !unreaped(p.fd) {
		sys.Close(p.fd)
		return
	}
	t.ended = append(t.ended, p.fd)
}

// unreaped reaps a process that ended, if it became a child of this one, and
// tells whether it is still there: its parent may die without waiting for it,
// and then it will be a child of this one.
func unreaped(fd int) bool {
	return sys.PidfdReap(fd) != nil && sys.PidfdGone(fd) && current(fd)
}

// bury tries again to reap what ended before its parent.
func (t *Table) bury() {
	left := t.ended[:0]
	for _, fd := range t.ended {
		if unreaped(fd) {
			left = append(left, fd)
			continue
		}
		sys.Close(fd)
	}
	t.ended = left
}

// current tells whether the number of a pidfd's task is still its own. A zombie
// keeps its number, and the thread that takes over from a leader by executing
// gets it, so this is exactly "not another task".
func current(fd int) bool {
	return !errors.Is(sys.PidfdSignal(fd, 0), syscall.ESRCH)
}

// handle pins a thread's identity: its pidfd, or before Linux 6.9 its directory
// in /proc, which answers for no other task either.
type handle struct{ pidfd, dir int }

func hold(tid int) (handle, error) {
	fd, err := sys.PidfdThread(tid)
	if err == nil {
		return handle{fd, -1}, nil
	}
	if !errors.Is(err, syscall.EINVAL) {
		return handle{}, &Error{tid, "pidfd_open(PIDFD_THREAD)", err}
	}
	return holdDir(tid)
}

func holdDir(tid int) (handle, error) {
	dir, err := sys.OpenDir(fmt.Sprintf("/proc/%d", tid))
	if err != nil {
		return handle{}, &Error{tid, "opening /proc/TID", err}
	}
	return handle{-1, dir}, nil
}

func (h handle) current() bool {
	if h.pidfd >= 0 {
		return current(h.pidfd)
	}
	return sys.Present(h.dir)
}

func (h handle) gone() bool {
	if h.pidfd >= 0 {
		return sys.PidfdGone(h.pidfd)
	}
	return !sys.Present(h.dir)
}

func (h handle) close() {
	if h.pidfd >= 0 {
		sys.Close(h.pidfd)
	}
	if h.dir >= 0 {
		sys.Close(h.dir)
	}
}
