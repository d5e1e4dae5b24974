// Package engine puts a stack of filters on a command, by the engine the
// running kernel offers, and says what it offers.
package engine

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"portcullis/internal/event"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// Kind names what enforces.
type Kind string

// The engines. Auto is Kernel where the running kernel has it, else Agent.
const (
	Auto   Kind = "auto"
	Agent  Kind = "agent"
	Kernel Kind = "kernel"
)

// Filter is one filter, ready to be enforced.
type Filter struct {
	// Name and Hash are for events.
	Name, Hash string
	Verified   *verify.Verified
	// Tree is Verified, split.
	Tree *split.Tree
}

// Stack is the filters of a command, the first installed first.
type Stack struct{ Filters []Filter }

func (s *Stack) trees() []*split.Tree {
	var trees []*split.Tree
	for _, f := range s.Filters {
		trees = append(trees, f.Tree)
	}
	return trees
}

func (s *Stack) hasMaps() bool {
	for _, f := range s.Filters {
		if len(f.Verified.Program().Maps) > 0 {
			return true
		}
	}
	return false
}

// Options shape an installation. Their zero value takes the best engine, lifts
// no guard and reports nothing.
type Options struct {
	// Context is the one that the command was made with, which it does not tell; nil for
	// none.
	Context context.Context
	// Engine is Auto where empty.
	Engine Kind
	// Lift names guards to leave out.
	Lift []prefilter.Guard
	// Observe chooses which decisions become events. With ObservePermissive the filters'
	// denials are not enforced, which takes the agent engine.
	Observe prefilter.Observe
	// Events takes them; nil for none. It is called by the goroutine that
	// decides: it must not block.
	Events event.Sink
	// WaitLimit is how long a call may wait for others (bpf_wait_syscall), from
	// ShortestWaitLimit to LongestWaitLimit: DefaultWaitLimit where 0.
	WaitLimit time.Duration
	// Audit has the kernel log what it denies for the filters and guards: audit_seccomp in
	// kernel/auditsc.c.
	Audit bool
	// Log takes a line for what is neither routine nor an event; nil for none. Start
	// has one line written at a time.
	Log io.Writer
}

// How long a call may wait for others. Whoever waits counts milliseconds in an int.
const (
	DefaultWaitLimit  = 10 * time.Second
	ShortestWaitLimit = time.Millisecond
	LongestWaitLimit  = 24 * time.Hour
)

// CheckWaitLimit is an *OptionError if no call may wait that long.
func CheckWaitLimit(d time.Duration) error {
	if d < ShortestWaitLimit || d > LongestWaitLimit {
		return &OptionError{fmt.Sprintf("expected a wait limit of 1ms to 24h, such as 500ms; found %v", d)}
	}
	return nil
}

// settle puts defaults in the place of what is 0, and a lock before the log.
func (o *Options) settle() error {
	if o.WaitLimit == 0 {
		o.WaitLimit = DefaultWaitLimit
	}
	if err := CheckWaitLimit(o.WaitLimit); err != nil {
		return err
	}
	if o.Log != nil {
		o.Log = &oneAtATime{w: o.Log}
	}
	return nil
}

// oneAtATime is a writer for several goroutines: those that decide, that trace and that
// watch them all have something to say.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes.
func (w *oneAtATime) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// observes tells whether there is anything to report.
func (o *Options) observes() bool { return o.Observe != prefilter.ObserveNone }

// permissive tells whether denials of filters are only to be seen.
func (o *Options) permissive() bool { return o.Observe == prefilter.ObservePermissive }

// A permissive installation on the engine that cannot be, and without a supervisor.
var (
	errKernelEnforces = &OptionError{"the kernel engine enforces what filters deny and cannot be permissive: expected engine auto or agent"}
	errPermissiveExec = &OptionError{"a permissive stack takes a supervisor, which lets through what the filters deny: use Start instead of Exec"}
)

func (o *Options) logf(format string, args ...any) {
	if o.Log != nil {
		fmt.Fprintf(o.Log, "portcullis: "+format+"\n", args...)
	}
}

// kind is the engine asked for.
func (o *Options) kind() (Kind, error) {
	switch {
	case o.permissive() && o.Engine == Kernel:
		return "", errKernelEnforces
	case o.permissive() && (o.Engine == "" || o.Engine == Auto):
		return Agent, nil
	case o.Engine == "":
		return Auto, nil
	case o.Engine == Auto, o.Engine == Agent, o.Engine == Kernel:
		return o.Engine, nil
	}
	return "", &OptionError{fmt.Sprintf("engine %q: expected %s, %s or %s", o.Engine, Auto, Agent, Kernel)}
}

// OptionError is an option, or a combination of them, that is not possible.
type OptionError struct{ Reason string }

// Error is one line.
func (e *OptionError) Error() string { return e.Reason }

// DynamicError is a stack that needs a supervisor where there can be none.
type DynamicError struct {
	// Program is a filter that needs it.
	Program string
}

// Error is one line.
func (e *DynamicError) Error() string {
	return fmt.Sprintf("filter %s decides some calls by its state, which takes a supervisor: expected a stack that is all static; use Start instead of Exec", e.Program)
}

// PlatformError is a system no engine enforces on.
type PlatformError struct{}

// Error is one line.
func (e *PlatformError) Error() string {
	return fmt.Sprintf("filters are enforced on linux/amd64 only, this is %s/%s: they can be checked and explained here", runtime.GOOS, runtime.GOARCH)
}

// Feature is one thing an engine needs, as found on this system.
type Feature struct {
	// Engine is what needs it.
	Engine Kind
	// Name is the feature's; Have tells whether it is here.
	Name string
	Have bool
	// Needed tells whether the engine cannot enforce filters that keep state without it.
	Needed bool
	// Detail is what was found; Remedy what to do where Have is false.
	Detail, Remedy string
}
