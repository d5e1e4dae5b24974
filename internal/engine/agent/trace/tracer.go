//go:build linux && amd64

package trace

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/pin"
	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/sys"
)

// Decider decides calls and keeps what tasks store; *decide.Installation is one.
type Decider interface {
	Decide(*decide.Call) decide.Decision
	// Inherit gives a new process a copy of its parent's storage; false: no room.
	Inherit(parent, child uint64) bool
	ForgetProcess(key uint64)
	ForgetThread(key uint64)
	// Expire reports a call that has waited for others for too long.
	Expire(c *decide.Call, limit time.Duration)
}

// Options shape a Tracer.
type Options struct {
	// Limit is how long a call may wait for others: DefaultLimit where 0.
	Limit time.Duration
	// Logf is told of what is neither routine nor an event.
	Logf func(format string, args ...any)
}

// DefaultLimit is how long a call may wait for others.
const DefaultLimit = 10 * time.Second

// Tracer traces one process tree. Its Run is one goroutine with a thread of its own.
type Tracer struct {
	decider Decider
	options Options

	mu      sync.RWMutex // of threads, and of what others read in them
	threads map[int]*thread
	unborn  map[int]bool // ended before their parents' stops named them
	lastKey uint64

	seize   chan request // once
	seized  chan error
	abandon sync.Once
	command int
	let     chan struct{} // closed when the command has ended
	end     End           // valid then
	stops   chan struct{}
	job     atomic.Bool // the command is in a job stop

	// waiting is held by the tracer as long as it waits: only then does an end free a
	// number. Whoever else takes it does not stay. steps are what was begun besides.
	waiting  sync.Mutex
	steps    atomic.Uint64
	tid      int // the tracer's
	patience time.Duration

	orphans  orphans
	spin     spin
	served   uint64
	batch    []seen
	last     End    // of the stop or end at hand
	failures uint64 // seldom's
	// What the call at hand needs.
	set    pin.Set
	caller *caller
	call   decide.Call
	asked  pending
	room   [shadow.SlotSize]byte

	turns turns
}

// A slot has room for all that one call can pin.
const _ = uint(shadow.SlotSize - pin.SlotBytes)

// request is to trace the process pid, which admit makes the command.
type request struct {
	pid   int
	admit func() error
}

// End is how the command ended, and what it had used until then.
type End struct {
	Status syscall.WaitStatus
	Usage  syscall.Rusage
}

// New makes a tracer that asks d. Run must follow.
func New(d Decider, o Options) *Tracer {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	t := &Tracer{
		decider: d, options: o, threads: map[int]*thread{}, unborn: map[int]bool{},
		seize: make(chan request, 1), seized: make(chan error, 1),
		let: make(chan struct{}), stops: make(chan struct{}, 1), patience: patience,
	}
	t.caller = newCaller(t)
	t.call.Caller, t.call.Pins = t.caller, &t.set
	t.turns.inside = map[uint32]int{}
	return t
}

// Seize begins to trace the process pid, a child of this one, and has admit make it the
// command, on the tracer's thread: after that it has one thread, which is stopped and
// has executed nothing.
func (t *Tracer) Seize(pid int, admit func() error) error {
	t.seize <- request{pid, admit}
	return <-t.seized
}

// Abandon ends a Run that waits for Seize, or whose Seize failed.
func (t *Tracer) Abandon() { t.abandon.Do(func() { close(t.seize) }) }

// Await waits until the command has ended, and says how. Nobody else can find out:
// waiting for a child that one's own process traces takes its stops for ends, so the
// tracer is the one who waits.
func (t *Tracer) Await() End {
	<-t.let
	return t.end
}

// Stops has an element each time the command was stopped by a signal.
func (t *Tracer) Stops() <-chan struct{} { return t.stops }

// Stopped tells whether the command is stopped by a signal. What /proc says of it is not
// enough to know that: it also stops for its tracer, as on the way to such a stop, and a
// SIGCONT there would undo it before it was one.
func (t *Tracer) Stopped() bool { return t.job.Load() }

// Run traces until no task of the tree is left. Where it ends before, what is left is
// killed: that tracees go with their tracer (PTRACE_O_EXITKILL) does not help where the
// thread does not end, as the main one does not.
func (t *Tracer) Run() error {
	runtime.LockOSThread() // the kernel knows tracers as threads
	defer runtime.UnlockOSThread()
	defer t.letGo()
	r, ok := <-t.seize
	if !ok {
		return nil
	}
	t.tid = sys.Gettid()
	err := t.begin(r)
	t.seized <- err
	if err != nil {
		return nil
	}
	defer t.orphans.sweep()
	defer t.guard()()
	if err = t.trace(); err != nil {
		t.killAll()
	}
	return err
}

// options of every tracee. None stops at its end: a task that is killed goes, whatever
// its tracer is doing.
const traced = sys.TraceExitKill | sys.TraceSysGood | sys.TraceSeccomp | sys.TraceFork |
	sys.TraceVfork | sys.TraceClone | sys.TraceExec

func (t *Tracer) begin(r request) error {
	sys.QuietStops()
	if err := sys.TraceSeize(r.pid, traced); err != nil {
		return err
	}
	if err := r.admit(); err != nil {
		return err
	}
	t.command = r.pid
	th := &thread{tid: r.pid}
	t.join(th, &process{pid: r.pid, key: t.newKey()}, &space{})
	t.add(th)
	if err := t.resume(th, 0); err != nil { // killed: its end is to come
		t.lost(sys.Stop{Tid: r.pid, Kind: sys.ExecStop}, err)
	}
	return nil
}

func (t *Tracer) letGo() {
	select {
	case <-t.let:
	default:
		close(t.let)
	}
}

func (t *Tracer) trace() error {
	for {
		t.waiting.Lock()
		stop, err := t.nextStop()
		s := t.see(stop, t.last)
		t.waiting.Unlock()
		switch err {
		case nil:
			t.take(s)
		case syscall.ECHILD:
			return nil
		default:
			return &WaitError{err}
		}
	}
}

// step takes one stop. A mistake never becomes a call that is made.
func (t *Tracer) step(s seen) {
	t.steps.Add(1)
	t.last = s.end
	defer func() {
		if r := recover(); r != nil {
			t.logf("tracing thread %d panicked at its %v stop, its process is killed: %v", s.Tid, s.Kind, r)
			kill(s.Stop)
		}
	}()
	th := s.ended
	if th == nil {
		th = t.known(s.Stop)
	}
	if err := t.dispatch(th, s.Stop); err != nil {
		t.lost(s.Stop, err)
	}
}

// kill kills the process of a thread that has stopped. The number of one that has ended
// is nobody's, or somebody else's.
func kill(stop sys.Stop) {
	if !over(stop) {
		_ = syscall.Kill(stop.Tid, syscall.SIGKILL)
	}
}

// lost is a request that failed for a stopped thread. One that is not there was
// killed, and its end is to come; anything else must not be let go on.
func (t *Tracer) lost(stop sys.Stop, err error) {
	if errors.Is(err, syscall.ESRCH) {
		return
	}
	t.seldom("tracing thread %d at its %v stop: %v: its process is killed", stop.Tid, stop.Kind, err)
	kill(stop)
}

func (t *Tracer) logf(format string, args ...any) {
	if t.options.Logf != nil {
		t.options.Logf(format, args...)
	}
}

// WaitError is a wait for stops that failed.
type WaitError struct{ Err error }

// Error is one line.
func (e *WaitError) Error() string { return "waiting for stops: wait4: " + e.Err.Error() }

// Unwrap is the errno.
func (e *WaitError) Unwrap() error { return e.Err }
