//go:build linux && amd64

package trace

import (
	"syscall"

	"portcullis/internal/engine/agent/task"
	"portcullis/internal/sys"
)

// Flags of clone(2).
const (
	cloneVM     = 0x100
	cloneParent = 0x8000
	cloneThread = 0x10000
)

// forked is a thread that has made another task.
func (t *Tracer) forked(th *thread, stop sys.Stop) error {
	id, err := sys.TraceMessage(th.tid)
	if err != nil {
		return err
	}
	flags, err := forkFlags(th.tid)
	if err != nil {
		return err
	}
	child, flags := t.child(th, int(id), flags)
	switch {
	case child == nil: // it has ended
	case !t.descend(th, child, flags):
		_ = syscall.Kill(child.tid, syscall.SIGKILL)
	case child.stopped:
		if err := t.release(child); err != nil {
			t.lost(sys.Stop{Tid: child.tid, Kind: sys.TrapStop}, err)
		}
	}
	return t.resume(th, 0)
}

// child is the task that a fork stop of its parent is about, and the flags by which it
// became; nil for one that has ended, whether or not another task has its number.
func (t *Tracer) child(parent *thread, id int, flags uint32) (*thread, uint32) {
	dead, child := t.unborn[id], t.threads[id]
	delete(t.unborn, id)
	switch {
	case child != nil && child.proc != nil && sys.IsThread(child.proc.pid, id): // whose parent has said so
		return nil, 0
	case child != nil && child.proc != nil:
		t.disown(child)
		child = nil
	case child == nil && !sys.IsTracee(id):
		return nil, 0
	}
	if dead && !related(parent, id, &flags) {
		return nil, 0
	}
	if child == nil {
		child = &thread{tid: id, fresh: true}
		t.add(child)
	}
	return child, flags
}

// related tells whether a task can be the child that a fork stop is about, though one
// that had its number has died without having been named by any: either this stop was
// to name that one, or its parent was killed before. Where it can be another child of
// the same process it shares the memory of none, so that it gets slots of its own; where
// it can be a sibling's nobody can tell, and it dies.
func related(parent *thread, id int, flags *uint32) bool {
	switch {
	case *flags&cloneThread != 0:
		return sys.IsThread(parent.proc.pid, id)
	case *flags&cloneParent != 0:
		_ = syscall.Kill(id, syscall.SIGKILL)
		return false
	}
	*flags &^= cloneVM
	pid, err := task.ParentOf(id)
	return err == nil && pid == parent.proc.pid
}

// disown drops a thread whose number is another task's: it has its process' first one's,
// by an execve that is not over, and will find nobody under its former number. It dies.
func (t *Tracer) disown(th *thread) {
	t.seldom("thread %d executes, and its number is another's already: its process %d is killed", th.tid, th.proc.pid)
	_ = syscall.Kill(th.proc.pid, syscall.SIGKILL)
	t.remove(th)
	t.drop(th)
}

// arrived is the thread of a stop of a kind that can be a newborn's first one. A newborn
// may have the number of a thread that has taken its process' first one's.
func (t *Tracer) arrived(th *thread) *thread {
	if th.proc == nil || th.fresh || sys.IsThread(th.proc.pid, th.tid) {
		return th
	}
	t.disown(th)
	th = &thread{tid: th.tid}
	t.add(th)
	return th
}

// forkFlags are those of the call that a thread is in. Registers do not change while
// it is, and the guards leave no other calls that make tasks.
func forkFlags(tid int) (uint32, error) {
	var regs sys.Regs
	if err := sys.TraceRegs(tid, &regs); err != nil {
		return 0, err
	}
	switch regs.OrigRax {
	case syscall.SYS_FORK:
		return 0, nil
	case syscall.SYS_VFORK:
		return cloneVM, nil
	case syscall.SYS_CLONE:
		return uint32(regs.Rdi), nil
	}
	return 0, &StateError{tid, "a call of fork, vfork or clone", int(regs.OrigRax)}
}

// descend makes a newborn what its parent and the flags say. False: it must not run.
func (t *Tracer) descend(parent, child *thread, flags uint32) bool {
	p, in, ok := parent.proc, parent.space, true
	if flags&cloneThread == 0 {
		p = &process{pid: child.tid, key: t.newKey()}
		ok = t.decider.Inherit(parent.proc.key, p.key)
	}
	if flags&cloneVM == 0 {
		in = &space{}
	}
	t.join(child, p, in)
	if parent.call.mask != 0 { // it starts with the registers of its parent's call
		child.inherited = &current{args: parent.call.args, mask: parent.call.mask}
	}
	return ok
}

// born is a newborn's first stop.
func (t *Tracer) born(th *thread, stop sys.Stop) error {
	th.jobStop = stop.Kind == sys.JobStop
	if th.proc != nil {
		return t.release(th)
	}
	th.stopped = true
	th.watch = t.watchNewborn(th.tid)
	return nil // until its parent has said whose it is
}

// release lets a newborn run.
func (t *Tracer) release(th *thread) error {
	th.watch.stop()
	th.watch, th.fresh, th.stopped = nil, false, false
	if c := th.inherited; c != nil {
		th.inherited = nil
		if err := setArgs(th.tid, c.mask, &c.args); err != nil {
			return err
		}
	}
	if th.jobStop { // its process is stopped
		return sys.TraceListen(th.tid)
	}
	return t.resume(th, 0)
}

// executed is a thread whose process has another program now. If it was not the first
// one, it is from now on, and has the number of the one that was, of which there was no
// word. Nothing that was asked of that number in between was about the thread that has
// it now: until its stop here is waited for, the kernel answers ESRCH
// (looks_like_a_spurious_pid in kernel/ptrace.c, Linux 5.13), and it is taken as soon as
// it is; see gather.
func (t *Tracer) executed(th *thread) error {
	former, err := sys.TraceMessage(th.tid)
	if err != nil {
		return err
	}
	if int(former) != th.tid {
		if th = t.succeed(th, int(former)); th == nil {
			return &StateError{int(former), "a known thread that executes", 0}
		}
	}
	t.leaveCall(th)
	t.abandonWait(th)
	th.pending, th.trap = nil, nil
	t.leaveSpace(th)
	t.mu.Lock()
	th.space = &space{threads: 1}
	t.mu.Unlock()
	return t.resume(th, 0)
}

// succeed gives a thread the number of its process' first one, which is gone without
// having been reported.
func (t *Tracer) succeed(first *thread, former int) *thread {
	th := t.threads[former]
	if th == nil || th.proc == nil || th.proc != first.proc {
		return nil
	}
	t.remove(th)
	t.drop(first)
	t.mu.Lock()
	defer t.mu.Unlock()
	th.tid = first.tid
	t.threads[th.tid] = th
	return th
}

// ended is a task that is no more.
func (t *Tracer) ended(th *thread) {
	th.watch.stop()
	if th.proc == nil {
		t.unborn[th.tid] = true
		return
	}
	t.drop(th)
	if th.tid == th.proc.pid {
		t.dropAll(th.proc)
	}
	switch th.tid {
	case t.command:
		t.end, t.command = t.last, 0 // the number may soon be another's
		t.letGo()
	case th.proc.pid:
		t.orphans.note(th.tid)
	}
}

// dropAll counts out what is left of a process whose first thread has ended. The kernel
// reports that end last (delay_group_leader in kernel/exit.c): a thread that is left has
// got that one's number by an execve of which there was no word, as it failed late or
// was killed on the way.
func (t *Tracer) dropAll(p *process) {
	if p.threads == 0 {
		return
	}
	for _, th := range t.threads {
		if th.proc == p {
			t.remove(th)
			th.watch.stop()
			t.drop(th)
		}
	}
}

// drop counts a thread out of everything.
func (t *Tracer) drop(th *thread) {
	t.leaveCall(th)
	t.abandonWait(th)
	if m := th.mapping; m != nil {
		t.unmap(th)
		_ = m.memory.Close()
	}
	t.leaveSpace(th)
	t.decider.ForgetThread(th.key)
	if th.proc.threads--; th.proc.threads == 0 {
		t.decider.ForgetProcess(th.proc.key)
	}
}

// leaveSpace counts a thread out of its address space, and has the threads that wait
// for slots there go on without it.
func (t *Tracer) leaveSpace(th *thread) {
	s := th.space
	if s.mapper == th {
		s.mapper = nil
	}
	s.leave()
	if s.threads > 0 && s.mapper == nil {
		t.next(s)
	}
}

func (t *Tracer) abandonWait(th *thread) {
	if th.hold != nil {
		t.turns.drop(th)
		th.hold = nil
	}
}
