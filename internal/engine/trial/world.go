// Package trial asks a stack of filters about calls that nobody makes, by tasks
// made up for it: what a filter decides can be tested without a kernel.
//
// A World is an installation of the agent engine, guards included, between
// synthetic tasks that fork, execute and exit as they are told, a clock that
// moves when it is told, and a source of random numbers that is always the same.
package trial

import (
	"fmt"
	"sort"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/event"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// Filter is one filter of a stack.
type Filter struct {
	// Name and Hash are for events.
	Name, Hash string
	Verified   *verify.Verified
	Tree       *split.Tree
}

// World is one installation with its tasks. At first there is one process with
// one thread, both of number 1. It is not for concurrent use.
type World struct {
	in     *decide.Installation
	pre    *prefilter.Prefilter
	held   held
	tasks  map[int]*thread
	keys   uint64 // the last key given out
	clock  uint64 // nanoseconds since boot
	random uint64
	events []event.Event
}

// process is a thread group.
type process struct {
	pid     int
	key     uint64
	threads map[int]*thread
	memory  memory
	uid     uint32
	gid     uint32
}

// thread is one task. The number of a process's first is that of the process.
type thread struct {
	tid  int
	key  uint64
	comm [16]byte
	proc *process
}

// Call is a call to ask about.
type Call struct {
	Data abi.SeccompData
	// Text replaces arguments by pointers to these strings, each with a NUL
	// behind it, in memory that is there for this call.
	Text [6]*string
}

// start is the clock at first: not 0, which filters may take for never.
const start = uint64(time.Second)

// New makes a world for a stack, the first filter first. It fails where the
// agent engine could not enforce the stack.
func New(stack []Filter) (*World, error) {
	var trees []*split.Tree
	var filters []decide.Filter
	for _, f := range stack {
		trees = append(trees, f.Tree)
		filters = append(filters, decide.Filter{Name: f.Name, Hash: f.Hash, Verified: f.Verified})
	}
	pre, err := prefilter.Build(trees, prefilter.Options{Observe: prefilter.ObserveAll})
	if err != nil {
		return nil, err
	}
	w := &World{pre: pre, tasks: map[int]*thread{}, clock: start, random: 1}
	w.in, err = decide.New(filters, pre, decide.Options{Observe: prefilter.ObserveAll, Events: w})
	if err != nil {
		return nil, err
	}
	return w, w.Process(1)
}

// Emit takes an event of the installation.
func (w *World) Emit(e *event.Event) { w.events = append(w.events, *e) }

// Ask decides a call of a thread. The last event is the verdict; what filters
// printed and recorded comes before it. A filter that faulted has said why in
// its Text. A call does nothing by itself: the thread that is killed lives on,
// and a fork makes no process. The events are good until the next call.
func (w *World) Ask(tid int, c *Call) ([]event.Event, error) {
	t, err := w.find(tid)
	if err != nil {
		return nil, err
	}
	d, kept := c.Data, t.proc.memory
	for i, text := range c.Text {
		if text != nil {
			d.Args[i] = textBase + uint64(i)*textStep
			if err := t.proc.memory.write(d.Args[i], *text+"\x00"); err != nil {
				return nil, err
			}
		}
	}
	w.events = w.events[:0]
	w.in.Decide(w.hold(&d, t))
	t.proc.memory = kept
	if len(w.events) == 0 {
		return nil, fmt.Errorf("the call has no verdict: this is a defect of the engine")
	}
	return w.events, nil
}

// TaskError is a task that is not there, or is there already.
type TaskError struct {
	Number int
	Reason string
}

// Error is one line.
func (e *TaskError) Error() string { return fmt.Sprintf("task %d: %s", e.Number, e.Reason) }

func (w *World) find(tid int) (*thread, error) {
	if t := w.tasks[tid]; t != nil {
		return t, nil
	}
	var known []int
	for n := range w.tasks {
		known = append(known, n)
	}
	sort.Ints(known)
	return nil, &TaskError{tid, fmt.Sprintf("there is no such task: expected one of %v, or a line that makes it", known[:min(len(known), 8)])}
}

// maxTasks bounds what a file can make.
const maxTasks = 1 << 16

// free tells whether a number can be given to a new task.
func (w *World) free(tid int) error {
	switch {
	case tid < 1 || tid > 1<<22:
		return &TaskError{tid, "expected a number from 1 to 4194304"}
	case w.tasks[tid] != nil:
		return &TaskError{tid, "there is such a task already: expected a number that is free"}
	case len(w.tasks) >= maxTasks:
		return &TaskError{tid, fmt.Sprintf("expected at most %d tasks at a time", maxTasks)}
	}
	return nil
}

func (w *World) key() uint64 {
	w.keys++
	return w.keys
}

func (w *World) add(p *process, tid int, comm [16]byte) {
	t := &thread{tid: tid, key: w.key(), proc: p, comm: comm}
	w.tasks[tid], p.threads[tid] = t, t
}

// Process makes a process with one thread that no other process is the parent of.
func (w *World) Process(pid int) error {
	if err := w.free(pid); err != nil {
		return err
	}
	p := &process{pid: pid, key: w.key(), threads: map[int]*thread{}, uid: 1000, gid: 1000}
	w.add(p, pid, comm("task"))
	return nil
}

// Fork makes a process with one thread, as fork(2) called by a thread does.
func (w *World) Fork(parent, child int) error {
	t, err := w.find(parent)
	if err == nil {
		err = w.free(child)
	}
	if err != nil {
		return err
	}
	p := &process{pid: child, key: w.key(), threads: map[int]*thread{}, uid: t.proc.uid, gid: t.proc.gid, memory: t.proc.memory.fork()}
	if !w.in.Inherit(t.proc.key, p.key) {
		return &TaskError{child, "there is no room for a copy of its parent's storage: expected fewer processes"}
	}
	w.add(p, child, t.comm)
	return nil
}

// Thread makes a thread in the process of another.
func (w *World) Thread(of, tid int) error {
	t, err := w.find(of)
	if err == nil {
		err = w.free(tid)
	}
	if err != nil {
		return err
	}
	w.add(t.proc, tid, t.comm)
	return nil
}

// Exec is an execve(2) by a thread that succeeded: the other threads of its
// process end, it goes on under the number of the process, and memory is new.
func (w *World) Exec(tid int) error {
	t, err := w.find(tid)
	if err != nil {
		return err
	}
	p := t.proc
	for n := range p.threads {
		if n != p.pid {
			w.drop(p.threads[n])
		}
	}
	if p.threads[p.pid] == nil { // the leader had exited
		w.add(p, p.pid, t.comm)
	}
	p.threads[p.pid].comm = t.comm
	p.memory = memory{}
	return nil
}

// Exit ends a thread, and with its last thread a process.
func (w *World) Exit(tid int) error {
	t, err := w.find(tid)
	if err != nil {
		return err
	}
	w.drop(t)
	if len(t.proc.threads) == 0 {
		w.in.ForgetProcess(t.proc.key)
	}
	return nil
}

func (w *World) drop(t *thread) {
	delete(w.tasks, t.tid)
	delete(t.proc.threads, t.tid)
	w.in.ForgetThread(t.key)
}

// Wait lets time pass. There is none that goes by itself.
func (w *World) Wait(d time.Duration) { w.clock += uint64(d) }

// Name sets a thread's command name, of which 15 bytes count.
func (w *World) Name(tid int, name string) error {
	t, err := w.find(tid)
	if err == nil {
		t.comm = comm(name)
	}
	return err
}

func comm(name string) (c [16]byte) {
	copy(c[:15], name)
	return c
}

// User sets the ids of a thread's process.
func (w *World) User(tid int, uid, gid uint32) error {
	t, err := w.find(tid)
	if err == nil {
		t.proc.uid, t.proc.gid = uid, gid
	}
	return err
}

// Write puts bytes into the memory of a thread's process.
func (w *World) Write(tid int, addr uint64, data string) error {
	t, err := w.find(tid)
	if err != nil {
		return err
	}
	return t.proc.memory.write(addr, data)
}

// caller is a thread as a filter sees it.
type caller struct {
	w *World
	*thread
}

func (c caller) PidTgid() uint64 { return uint64(c.proc.pid)<<32 | uint64(c.tid) }
func (c caller) UidGid() uint64  { return uint64(c.proc.gid)<<32 | uint64(c.proc.uid) }
func (c caller) Comm() [16]byte  { return c.comm }
func (c caller) Process() uint64 { return c.proc.key }
func (c caller) Thread() uint64  { return c.key }
func (c caller) Now() uint64     { return c.w.clock }
func (c caller) BootNow() uint64 { return c.w.clock }
func (c caller) Tid() int        { return c.tid }
func (c caller) Pid() int        { return c.proc.pid }
func (c caller) Err() error      { return nil }

// Rand is splitmix64: the same numbers in every run.
func (c caller) Rand() uint32 {
	c.w.random += 0x9e3779b97f4a7c15
	z := c.w.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32(z ^ z>>31)
}

func (c caller) ReadUser(dst []byte, addr uint64) (int, error) {
	return c.proc.memory.read(dst, addr)
}
