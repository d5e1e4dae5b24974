//go:build linux && amd64

package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"syscall"

	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/notify"
	"portcullis/internal/engine/agent/task"
	"portcullis/internal/engine/agent/trace"
	"portcullis/internal/engine/kernel"
	"portcullis/internal/engine/launch"
	"portcullis/internal/prefilter"
	"portcullis/internal/sys"
)

// errNoFilters is an empty stack.
var errNoFilters = &OptionError{"no filter given: expected at least one; to run a command without, use os/exec"}

// Start starts cmd, which describes the target, under a stack of filters, and
// supervises it where that is needed. cmd's pipes, context and streams work as
// with its own Start; SysProcAttr.Chroot and Ptrace are refused. If the stack
// keeps state, the calling process becomes non-dumpable and adopts orphaned
// descendants (prctl(2)). Those that it traces, or that a filter ever asked about, are
// reaped.
//
// Of others nothing is known, and once it has ended the kernel does not tell an
// orphan from a command that this process started itself and has yet to wait for.
// Taking the status of such a command would break its Wait, so they stay zombies
// until this process ends. One that starts nothing else, or knows what it starts,
// can wait for any child (wait4(2)), as the command-line tool does.
func Start(s *Stack, cmd *exec.Cmd, o Options) (*Process, error) {
	kind, err := o.kind()
	if err == nil {
		err = o.settle()
	}
	switch {
	case err != nil:
		return nil, err
	case len(s.Filters) == 0:
		return nil, errNoFilters
	case kind == Auto && kernel.Probe() == nil:
		kind = Kernel
	case kind == Auto:
		kind = Agent
	}
	if kind == Kernel {
		return startKernel(s, cmd, o)
	}
	return startAgent(s, cmd, o)
}

// startAgent lets the target's process come into being while the prefilter does.
func startAgent(s *Stack, cmd *exec.Cmd, o Options) (*Process, error) {
	planned := make(chan *plan, 1)
	go func() { planned <- newPlan(s, &o) }()
	notes := note(cmd, o.Context)
	stage, err := launch.Begin(cmd)
	p := <-planned
	switch {
	case err != nil:
		return nil, err
	case p.err != nil:
		stage.Abandon()
		return nil, p.err
	case p.traced:
		return startTraced(cmd, stage, p, notes, &o)
	}
	listener, err := stage.Install(p.cfg)
	switch {
	case err != nil:
		return nil, err
	case p.in == nil:
		return newProcess(cmd, Agent), nil
	}
	return supervise(newProcess(cmd, Agent), listener, p.in, &o)
}

// startTraced makes a stage a target that has a tracer from its first instruction.
func startTraced(cmd *exec.Cmd, stage *launch.Stage, p *plan, notes *noted, o *Options) (*Process, error) {
	started := newProcess(cmd, Agent)
	started.noted = notes
	started.tracer = trace.New(decider{p.in, p.slots}, trace.Options{Limit: o.WaitLimit, Logf: o.logf})
	started.traced = make(chan struct{})
	go func() {
		defer close(started.traced)
		if err := started.tracer.Run(); err != nil {
			o.logf("%v", err)
		}
	}()
	listener, err := stage.InstallTraced(p.cfg, started.tracer.Seize)
	if err != nil {
		started.tracer.Abandon()
		return nil, err
	}
	go started.awaitEnd()
	return supervise(started, listener, p.in, o)
}

// plan is what to install, and what then decides; in is nil for a static stack.
type plan struct {
	cfg    launch.Config
	in     *decide.Installation
	traced bool
	slots  prefilter.Slots
	err    error
}

// decider is an installation, for its tracer.
type decider struct {
	*decide.Installation
	slots prefilter.Slots
}

// SlotsGuarded is trace.Guarded.
func (d decider) SlotsGuarded() bool { return d.slots == prefilter.SlotsGuarded }

// Slots says what keeps a target from changing copies of its arguments here: before Linux
// 6.10 memory cannot be sealed.
func Slots() prefilter.Slots {
	if sys.MsealKnown() {
		return prefilter.SlotsSealed
	}
	return prefilter.SlotsGuarded
}

func newPlan(s *Stack, o *Options) *plan {
	listen := probing(s, o)
	token, err := newToken()
	if err != nil {
		return &plan{err: err}
	}
	where := Slots()
	pre, err := prefilter.Build(s.trees(), prefilter.Options{Lift: o.Lift, Observe: o.Observe, Token: token, Slots: where})
	if err != nil {
		return &plan{err: err}
	}
	p := &plan{cfg: launch.Config{Filter: classic(pre), Token: token, Log: o.Audit}, traced: pre.Traced(), slots: where}
	if p.traced {
		p.err = traceable()
	}
	if p.err != nil || !pre.Dynamic() {
		return p
	}
	p.in, p.err = decide.New(decideFilters(s), pre, decide.Options{Observe: o.Observe, Events: o.Events})
	if p.err == nil { // else it would be found out when the command runs
		p.err = sys.NotifSizes()
	}
	if p.err == nil {
		p.cfg.Listen, p.err = listen()
	}
	if p.err == nil {
		p.err = sys.Subreaper()
	}
	return p
}

// probing finds out what ListenProbe is, beside the work on the prefilter where
// the stack looks as if it needs it, and else when it is asked.
func probing(s *Stack, o *Options) func() (launch.Listen, error) {
	if !o.observes() && !s.hasMaps() {
		return launch.Resolve
	}
	type result struct {
		listen launch.Listen
		err    error
	}
	done := make(chan result, 1)
	go func() {
		l, err := launch.Resolve()
		done <- result{l, err}
	}()
	return func() (launch.Listen, error) { r := <-done; return r.listen, r.err }
}

// supervise serves the listener from here on, on a goroutine that ends with the
// last filtered task.
func supervise(p *Process, listener int, in *decide.Installation, o *Options) (*Process, error) {
	loop, err := notify.New(listener, in, p.table(in), o.logf)
	if err != nil {
		sys.Close(listener)
		_ = p.cmd.Process.Kill()
		_, waitErr := p.Wait()
		return nil, errors.Join(err, waitErr)
	}
	if p.tracer != nil {
		loop.Lends(p.tracer)
	}
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		if err := loop.Run(); err != nil {
			o.logf("%v: calls that need a decision now fail with ENOSYS", err)
		}
		if p.tracer != nil {
			<-p.traced
		}
	}()
	return p, nil
}

// table is who the callers of notifications are.
func (p *Process) table(in *decide.Installation) *task.Table {
	if p.tracer != nil {
		return task.NewKnown(p.tracer)
	}
	return task.NewTable(in, p.Pid())
}

func newToken() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if t := binary.LittleEndian.Uint64(b[:]); t != 0 { // 0 stands for no token
			return t, nil
		}
	}
}

func classic(pre *prefilter.Prefilter) []sys.FilterInsn {
	var insns []sys.FilterInsn
	for _, in := range pre.Program().Insns() {
		insns = append(insns, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return insns
}

func decideFilters(s *Stack) []decide.Filter {
	var fs []decide.Filter
	for _, f := range s.Filters {
		fs = append(fs, decide.Filter{Name: f.Name, Hash: f.Hash, Verified: f.Verified})
	}
	return fs
}

// Exec installs a stack on the calling process and executes path in its place,
// without a supervisor; on the agent engine the stack must be all static, else
// *DynamicError. It returns only if that fails, and then nothing has changed;
// what is only known later the process prints, and exits as launch.Exec says.
func Exec(s *Stack, path string, argv, env []string, o Options) error {
	kind, err := o.kind()
	if err == nil {
		err = o.settle()
	}
	switch {
	case err != nil:
		return err
	case len(s.Filters) == 0:
		return errNoFilters
	case o.permissive():
		return errPermissiveExec
	case kind == Kernel, kind == Auto && kernel.Probe() == nil:
		return execKernel(s, path, argv, env, o)
	}
	token, err := newToken()
	if err != nil {
		return err
	}
	pre, err := prefilter.Build(s.trees(), prefilter.Options{Lift: o.Lift, Token: token})
	switch {
	case err != nil:
		return err
	case pre.Dynamic():
		return &DynamicError{dynamicProgram(s)}
	}
	return launch.Exec(path, argv, env, launch.Config{Filter: classic(pre), Token: token, Log: o.Audit})
}

// dynamicProgram names a filter with a leaf that is not static.
func dynamicProgram(s *Stack) string {
	for i, f := range s.Filters {
		pre, err := prefilter.Build(s.trees()[i:i+1], prefilter.Options{})
		if err == nil && pre.Dynamic() {
			return f.Name
		}
	}
	return s.Filters[len(s.Filters)-1].Name
}

// Process is a target and what it started, under filters.
type Process struct {
	cmd    *exec.Cmd
	engine Kind
	done   chan struct{}
	tracer *trace.Tracer // nil for none
	traced chan struct{} // closed when it has ended
	noted  *noted        // nil without a tracer
	end    trace.End     // valid when noted says so
}

func newProcess(cmd *exec.Cmd, engine Kind) *Process {
	done := make(chan struct{})
	close(done) // without a supervisor there is nothing to wait for
	return &Process{cmd: cmd, engine: engine, done: done}
}

// Pid is the target's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Engine is what enforces.
func (p *Process) Engine() Kind { return p.engine }

// Signal sends a signal to the target, and is os.ErrProcessDone after its end. Use it
// where this process traces the target: its tracer takes the end, of which os.Process
// does not know. That one is sure of whom it means by a pidfd (pidfd_open(2)); without
// one, as before Go 1.23, it goes on to signal what has the number then.
func (p *Process) Signal(sig os.Signal) error {
	if p.noted != nil && p.noted.over() {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(sig)
}

// awaitEnd notes the end of a target that has a tracer.
func (p *Process) awaitEnd() {
	p.end = p.tracer.Await()
	close(p.noted.ended)
}

// Stops has an element after the target was stopped by a signal, if this process traces
// it; else it is nil. It holds one: stops that nobody took in between are one. Nobody else can wait for stops of a traced target.
func (p *Process) Stops() <-chan struct{} {
	if p.tracer == nil {
		return nil
	}
	return p.tracer.Stops()
}

// Stopped tells whether a target that this process traces is stopped by a signal.
func (p *Process) Stopped() bool { return p.tracer != nil && p.tracer.Stopped() }

// Wait waits for the target's end and for the copying of its streams, as
// exec.Cmd's Wait, whose error it returns. Only that WaitDelay has passed is not told
// of a target that has a tracer. Daemons the target left behind are supervised until
// Done.
func (p *Process) Wait() (*os.ProcessState, error) {
	if p.tracer == nil {
		err := p.cmd.Wait()
		return p.cmd.ProcessState, err
	}
	<-p.noted.ended // before, this process would take stops for the end
	err := p.cmd.Wait()
	if errors.Is(err, syscall.ECHILD) {
		err = p.taken()
	}
	return p.cmd.ProcessState, err
}

// taken makes up for the end of a target, of which its tracer took note: exec.Cmd has
// waited for the copying of its streams, but knows of no end. Its Process is left as it
// is: to release it would make the number -1 for an instant, which kill(2) takes for
// every process there is. Its pidfd is closed when it is collected.
func (p *Process) taken() error {
	state, err := sys.StateOf(p.Pid(), p.end.Status, &p.end.Usage)
	if err != nil {
		return err
	}
	if p.cmd.ProcessState = state; !state.Success() {
		return &exec.ExitError{ProcessState: state}
	}
	return p.noted.err()
}

// Done is closed when no filtered task is left that needs this process, or the
// supervision ended otherwise. What is still undecided when the process exits
// is denied with ENOSYS.
func (p *Process) Done() <-chan struct{} { return p.done }
