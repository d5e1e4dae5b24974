package portcullis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"portcullis/internal/engine"
	"portcullis/internal/event"
	"portcullis/internal/prefilter"
)

// Engine says what enforces a stack of filters.
type Engine string

// The engines. Auto takes Kernel where the running kernel has it, else Agent.
const (
	Auto   Engine = "auto"
	Agent  Engine = "agent"
	Kernel Engine = "kernel"
)

// Cmd is a command to be run under filters. It has the common fields and methods of
// exec.Cmd, with the filters beside them; it is used once. Of exec.Cmd it lacks
// StdinPipe, StdoutPipe and StderrPipe (os.Pipe makes one for Stdin, Stdout or Stderr),
// Cancel and WaitDelay, Environ and String.
type Cmd struct {
	Path        string
	Args        []string
	Env         []string
	Dir         string
	Stdin       io.Reader
	Stdout      io.Writer
	Stderr      io.Writer
	ExtraFiles  []*os.File
	SysProcAttr *syscall.SysProcAttr

	// Filters is the stack, the first installed first: all are asked, the most
	// restrictive answer counts. At least one is needed.
	Filters []*Filter
	// Engine is Auto where empty.
	Engine Engine
	// Lift names the guards to leave out, such as "io_uring".
	Lift []string
	// Events receives what was decided, if not nil: see Observe. It is called
	// from one goroutine.
	Events func(Event)
	// EventQueue is how many events may wait for Events before further ones are lost, and
	// counted: 1,024 if it is 0. At most 1<<20.
	EventQueue int
	// Observe chooses which decisions become events.
	Observe Observe
	// Permissive has filters deny nothing: what they would deny is reported to Events,
	// whatever Observe is, and let through, TRAP and KILL too. Guards still deny, and so
	// does what could not be decided or copied. It takes the agent engine, which Auto then
	// is, and a supervisor even where the stack is static. ObserveAll cannot be had with it.
	Permissive bool

	// WaitLimit is how long a call may wait for others where a filter asks for that
	// (bpf_wait_syscall), before it fails with ETIMEDOUT: a millisecond to 24 hours,
	// DefaultWaitLimit where 0.
	WaitLimit time.Duration

	// Audit has the kernel write denials to its audit log (dmesg, where there is no auditd):
	// those that /proc/sys/kernel/seccomp/actions_logged names. What the command's process
	// tree is denied by other filters is not among them, unless they ask for it too.
	Audit bool

	// Log takes a line for what is neither routine nor an event; nil for none. It is
	// called from several goroutines of this command, one at a time.
	Log io.Writer

	// Process is set by Start, ProcessState by Wait.
	Process      *os.Process
	ProcessState *os.ProcessState

	err     error
	ctx     context.Context
	running *engine.Process
	done    chan struct{}
}

// DefaultWaitLimit is Cmd's WaitLimit where that is 0.
const DefaultWaitLimit = engine.DefaultWaitLimit

// Event is one decision, as --events prints it.
type Event = event.Event

// Observe chooses which decisions become events.
type Observe = prefilter.Observe

// What is observed: only what the agent decides anyway, every denial, or all calls but
// rt_sigreturn, exit and exit_group, which are let through unseen where no filter has to
// be asked.
const (
	ObserveNone    = prefilter.ObserveNone
	ObserveDenials = prefilter.ObserveDenials
	ObserveAll     = prefilter.ObserveAll
)

// Command describes the program to run, found in PATH as exec.Command does.
func Command(name string, arg ...string) *Cmd {
	c := exec.Command(name, arg...)
	return &Cmd{Path: c.Path, Args: c.Args, err: c.Err}
}

// CommandContext is Command with a context whose end kills the process.
func CommandContext(ctx context.Context, name string, arg ...string) *Cmd {
	c := Command(name, arg...)
	c.ctx = ctx
	return c
}

// Run starts the command and waits for its end. A non-zero exit is an
// *exec.ExitError.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns what it wrote to standard output. It does not
// fill ExitError.Stderr.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("portcullis: Stdout already set")
	}
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns what it wrote to standard output
// and standard error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("portcullis: Stdout or Stderr already set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Start verifies the filters where that was not done and starts the command
// under them. On failure nothing runs.
//
// If an agent has decisions to make, this process becomes non-dumpable and the
// parent of orphans (PR_SET_DUMPABLE and PR_SET_CHILD_SUBREAPER of prctl(2)). It
// reaps those that it traces, or that a filter ever asked about. Another, that ended
// without a call to be decided, looks like a command that this process started by
// itself, whose status is not to be taken away, so it stays a zombie until this process
// ends: a long-lived program whose commands leave many of these behind starts the
// commands from a process of their own.
//
// On the agent engine, filters that pin memory (bpf_safe_read_user), order calls (bpf_wait_syscall), follow
// forks (BPF_F_CLONE), or by their state answer with what only the kernel can carry out
// (TRAP, TRACE, KILL_THREAD), make this process trace the command and all that it
// starts, by ptrace(2). Nobody else can trace or debug those then. What this process
// starts with os/exec is left alone, but no SIGCHLD says any more that a child was
// stopped, and nothing here may wait for any child (wait4(2) of -1): it would take
// what the tracer waits for. Where tracing is forbidden, Start fails.
func (c *Cmd) Start() error {
	stack, target, err := c.prepare()
	if err != nil {
		return err
	}
	o := c.options()
	queue := c.sink(&o)
	running, err := engine.Start(stack, target, o)
	if err != nil {
		queue.Close()
		return err
	}
	c.running, c.Process, c.done = running, target.Process, make(chan struct{})
	go func() {
		<-running.Done()
		queue.Close()
		close(c.done)
	}()
	return nil
}

// Wait waits for the command's end, as exec.Cmd's Wait does. Daemons that it
// left behind stay under the filters and are served until Done. It is called once.
func (c *Cmd) Wait() error {
	if c.running == nil {
		return errNotStarted
	}
	var err error
	c.ProcessState, err = c.running.Wait()
	return err
}

// Stops has an element after the command was stopped by a signal, if it is traced (see
// Start); else it is nil. It holds one: stops that nobody took in between are one. A traced command must be waited for by Wait alone: to
// every other wait of this process the kernel reports stops as if they were ends. It is
// for after Start.
func (c *Cmd) Stops() <-chan struct{} {
	if c.running == nil {
		return nil
	}
	return c.running.Stops()
}

// Stopped tells whether a traced command is stopped by a signal. It is for after Start.
func (c *Cmd) Stopped() bool { return c.running != nil && c.running.Stopped() }

// Signal sends a signal to the command; it is os.ErrProcessDone after its end. To a
// command that is traced (see Start) signals are sent by it and not by Process: without
// pidfds (pidfd_open(2)), as before Go 1.23, Process knows of no end that the tracer has
// taken, and of a number only that may be another process' by then.
func (c *Cmd) Signal(sig os.Signal) error {
	if c.running == nil {
		return errNotStarted
	}
	return c.running.Signal(sig)
}

// Done is closed when no process is left that this one decides for and every
// event has been delivered. When the program exits before, what is left of the
// tree gets ENOSYS for every call that needs a decision. It is nil before Start.
func (c *Cmd) Done() <-chan struct{} { return c.done }

// Exec replaces the calling process by the command, without a supervisor: for
// stacks that are all static, else it fails with *DynamicError. After an error
// nothing has happened. What cannot be known beforehand, such as a file that is
// no program, is printed on standard error by what then is no longer the calling
// program, which exits with status 126 or 127, or with 125 if installing the
// filters failed. Stdin, Stdout, Stderr, Dir, ExtraFiles and Events have no meaning here.
func (c *Cmd) Exec() error {
	stack, target, err := c.prepare()
	if err != nil {
		return err
	}
	env := target.Env
	if env == nil {
		env = os.Environ()
	}
	return engine.Exec(stack, target.Path, target.Args, env, c.options())
}

// DynamicError is a stack that needs a supervisor where there can be none.
type DynamicError = engine.DynamicError

// errUsed is the answer to a second Start, errNotStarted to what is for after the first.
var (
	errUsed       = errors.New("portcullis: already started")
	errNotStarted = errors.New("portcullis: not started")
	errEventQueue = &engine.OptionError{Reason: "EventQueue: expected 0 to 1048576 events"}
	// errPermissiveAll is two kinds of observation at once.
	errPermissiveAll = &engine.OptionError{Reason: "a permissive command reports denials alone: expected Observe to be ObserveNone or ObserveDenials, found ObserveAll"}
)

// prepare verifies the stack and describes the command to the engine.
func (c *Cmd) prepare() (*engine.Stack, *exec.Cmd, error) {
	switch {
	case c.err != nil:
		return nil, nil, c.err
	case c.running != nil:
		return nil, nil, errUsed
	case c.Permissive && c.Observe == ObserveAll:
		return nil, nil, errPermissiveAll
	case c.EventQueue < 0 || c.EventQueue > maxEventQueue:
		return nil, nil, errEventQueue
	}
	stack, err := newStack(c.Filters)
	if err != nil {
		return nil, nil, err
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	target := exec.CommandContext(ctx, c.Path)
	target.Err = nil // Path has been looked up, or was given as it is
	target.Path, target.Args = c.Path, c.Args
	target.Env, target.Dir, target.ExtraFiles = c.Env, c.Dir, c.ExtraFiles
	target.Stdin, target.Stdout, target.Stderr = c.Stdin, c.Stdout, c.Stderr
	target.SysProcAttr = c.SysProcAttr
	return stack, target, nil
}

func (c *Cmd) options() engine.Options {
	o := engine.Options{Engine: engine.Kind(c.Engine), Observe: c.Observe, WaitLimit: c.WaitLimit, Audit: c.Audit, Log: c.Log, Context: c.ctx}
	if c.Permissive {
		o.Observe = prefilter.ObservePermissive
	}
	for _, g := range c.Lift {
		o.Lift = append(o.Lift, prefilter.Guard(g))
	}
	return o
}

// Events that wait for a slow Events function, where nothing is said and at most.
const (
	eventQueue    = 1024
	maxEventQueue = 1 << 20
)

// sink puts a queue between the engine, which must not wait, and Events.
func (c *Cmd) sink(o *engine.Options) closer {
	if c.Events == nil {
		return closer{}
	}
	size := c.EventQueue
	if size == 0 {
		size = eventQueue
	}
	q := event.NewQueue(size, func(e *event.Event) { c.Events(*e) })
	if o.Observe == prefilter.ObservePermissive { // a log without denials must not look like one of a strict run
		q.Emit(&event.Event{Kind: event.KindPermissive, Time: time.Now(), Insn: -1, Engine: string(Agent)})
	}
	o.Events = q
	return closer{q}
}

// closer closes a queue if there is one.
type closer struct{ q *event.Queue }

// Close delivers what is queued.
func (c closer) Close() {
	if c.q != nil {
		c.q.Close()
	}
}

func newStack(fs []*Filter) (*engine.Stack, error) {
	s := &engine.Stack{}
	for _, f := range fs {
		if err := f.Verify(); err != nil {
			return nil, err
		}
		s.Filters = append(s.Filters, engine.Filter{Name: f.Name(), Hash: f.hash, Verified: f.verified, Tree: f.tree})
	}
	return s, nil
}
