package decide

import (
	"fmt"
	"sync"

	"portcullis/internal/abi"
	"portcullis/internal/event"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// Caller is the task that makes a call. Each method finds out only when called.
type Caller interface {
	interp.Task
	// Tid and Pid are its thread and process ids, for events; 0 if not known.
	Tid() int
	Pid() int
	// Err is what could not be found out, nil if all.
	Err() error
}

// Pins is what of a traced call's memory was pinned in its evaluation.
type Pins interface {
	// Empty tells whether nothing was, nor failed to be.
	Empty() bool
}

// Call is one system call that waits for a decision.
type Call struct {
	Data   abi.SeccompData
	Caller Caller
	// Pins is nil for a notification; a call of which it is not is held by a tracer.
	Pins Pins
}

// Filter is one filter of a stack.
type Filter struct {
	// Name and Hash are for events.
	Name, Hash string
	Verified   *verify.Verified
}

// Options are an installation's.
type Options struct {
	// Observe is what the prefilter was built with.
	Observe prefilter.Observe
	// Events takes what is reported; nil for nothing.
	Events event.Sink
}

// Installation is one stack of filters on one process tree, with its state.
// Its lock makes the evaluations of all filters of one call a step that no
// other evaluation sees half of: state is exact, as if calls came one by one.
type Installation struct {
	mu      sync.Mutex
	filters []filter
	maps    maps.Set
	dead    graveyard
	pre     *prefilter.Prefilter
	options Options
	env     env
	records []event.Event // of the decision that is being made
}

type filter struct {
	Filter
	machine *interp.Machine
	rings   []*maps.Ring // in the order in which the program refers to them
}

// New prepares a stack, the oldest filter first, behind its prefilter. Maps of
// programs of one object are shared. It fails for a map type that the agent
// lacks.
func New(stack []Filter, pre *prefilter.Prefilter, o Options) (*Installation, error) {
	in := &Installation{maps: maps.Set{}, pre: pre, options: o}
	for _, f := range stack {
		for _, v := range f.Verified.Programs() {
			if err := in.maps.Add(v.Program().Maps); err != nil {
				return nil, fmt.Errorf("filter %s: %w", f.Name, err)
			}
		}
		m, err := interp.New(f.Verified, in.maps)
		if err != nil {
			return nil, err
		}
		in.filters = append(in.filters, filter{f, m, in.rings(f.Verified)})
	}
	in.env.in = in
	return in, nil
}

// rings are the ring buffers that v, and what its tail calls go on in, can write to.
func (in *Installation) rings(v *verify.Verified) []*maps.Ring {
	var rings []*maps.Ring
	seen := map[*maps.Ring]bool{}
	for _, w := range v.Programs() {
		for _, spec := range w.Program().Maps {
			if r, ok := in.maps[spec].(*maps.Ring); ok && !seen[r] {
				seen[r] = true
				rings = append(rings, r)
			}
		}
	}
	return rings
}

// ForgetProcess drops what task storage holds for a process that ended. It may
// be called from within a decision, by what a Caller's method finds out, so it
// only takes note for the next one.
func (in *Installation) ForgetProcess(key uint64) { in.dead.add(maps.Process, key) }

// ForgetThread does for a thread what ForgetProcess does for a process.
func (in *Installation) ForgetThread(key uint64) { in.dead.add(maps.Thread, key) }

// graveyard holds the keys of tasks whose storage is to be freed.
type graveyard struct {
	mu   sync.Mutex
	keys [2][]uint64 // by maps.Space
}

func (g *graveyard) add(space maps.Space, key uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[space] = append(g.keys[space], key)
}

// clear frees what it holds in set.
func (g *graveyard) clear(set maps.Set) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for space, keys := range g.keys {
		for _, key := range keys {
			set.Forget(maps.Space(space), key)
		}
		g.keys[space] = keys[:0]
	}
}

// Inherit gives a new process a copy of what its parent's storage with BPF_F_CLONE
// holds. It is false where there is no room: then the new one must not run.
func (in *Installation) Inherit(parent, child uint64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dead.clear(in.maps)
	return in.maps.Inherit(parent, child)
}

// Decide evaluates one call. It looks at the prefilter again and believes that
// rather than the fact that it was asked.
func (in *Installation) Decide(c *Call) Decision {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dead.clear(in.maps)
	leaf := in.pre.Decide(&c.Data)
	r := static(leaf)
	switch {
	case (c.Pins != nil) != (leaf.Kind == split.Trace):
		r = stray(c, r)
	case leaf.Kind != split.Static && !leaf.Observed:
		r = in.evaluate(c)
		r.leaf = leaf
	}
	if r.decision = c.decision(r.verdict); r.fault == nil && !r.stray {
		in.permit(c, &r)
	}
	in.deliver(c)
	in.report(c, &r)
	return r.decision
}

// stray is what becomes of a call that was brought by another way than its leaf's.
// A stop with a static leaf that lets the call pass was asked for by a filter of the
// target's own, for a tracer that there is not. Nothing else can be.
func stray(c *Call, r ruling) ruling {
	r.stray = true
	if c.Pins != nil && r.leaf.Kind == split.Static {
		r.verdict = abi.Strictest(abi.Trace, r.verdict)
	} else {
		r.verdict = abi.KillProcess
	}
	return r
}

// ruling is what was decided and why.
type ruling struct {
	leaf     prefilter.Leaf
	filter   int           // index of the one that decided; -1 for a guard
	pc       int           // the instruction that explains it, -1 if none
	program  *prog.Program // that pc is in, nil for the filter's own
	verdict  abi.Verdict
	decision Decision
	fault    error // why the filters could not decide
	stray    bool  // the call came by another way than its leaf's
	lifted   bool  // the verdict denies, and is not enforced
}

// static is what the prefilter knows by itself.
func static(leaf prefilter.Leaf) ruling {
	r := ruling{filter: leaf.Filter, pc: -1, verdict: leaf.Verdict, leaf: leaf}
	if leaf.Why != (split.Reason{}) {
		r.pc = leaf.Why.Insn
	}
	return r
}

// evaluate runs every filter, whatever the others say: each keeps its own state.
func (in *Installation) evaluate(c *Call) ruling {
	in.env.Caller = c.Caller
	r := ruling{filter: -1, pc: -1, verdict: abi.Allow}
	for i := range in.filters {
		in.env.filter = i
		res := in.filters[i].machine.Run(&in.env, &c.Data)
		in.drain(c, &in.filters[i])
		if res.Fault != nil && r.fault == nil {
			r = ruling{filter: i, pc: res.PC, program: res.Program, verdict: abi.KillProcess, fault: res.Fault}
		}
		v := abi.Verdict(res.Ret)
		if r.fault == nil && (i == 0 || abi.Strictest(v, r.verdict) == v) {
			r.filter, r.pc, r.program, r.verdict = i, res.PC, res.Program, v
		}
	}
	if err := c.Caller.Err(); err != nil && r.fault == nil {
		r.fault, r.verdict = err, abi.KillProcess
	}
	return r
}

// permit lets a denial of a filter pass where denials are only to be seen.
// Guards and faults are none of a filter's.
func (in *Installation) permit(c *Call, r *ruling) {
	if in.options.Observe != prefilter.ObservePermissive || r.leaf.Guard != "" {
		return
	}
	switch r.verdict.Effective().Action() {
	case abi.Allow, abi.Log:
	default:
		r.decision, r.lifted = c.proceed(), true
	}
}

// env is the Caller as a running filter sees it, with the filter's own outlet.
type env struct {
	Caller
	in     *Installation
	filter int
}
