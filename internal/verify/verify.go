// Package verify proves that a program is safe to run: a *Verified is the only
// thing that can be interpreted or split.
//
// The proof follows package absint over every path: memory safety,
// initialisation, termination, references and locks, as the Linux verifier
// demands of an unprivileged program.
package verify

import (
	"errors"
	"fmt"

	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

// DefaultBudget is how many instructions are visited at most, unless Options
// say otherwise.
const DefaultBudget = 400_000

// stateBytes bounds the memory for states.
const stateBytes = 16 << 20

// Options of a verification.
type Options struct {
	// Budget is how many instructions may be visited; 0 is DefaultBudget.
	Budget int
}

// Verified is a program that has been proven safe. It cannot be made otherwise
// than by Program.
type Verified struct {
	code     *absint.Code
	visited  int
	frames   []int
	warnings []Warning
	tails    *tails
	leads    map[*prog.Program]bool // what its tail calls can find
	mayTrace bool                   // this program alone
}

// Program proves p safe, or says why it cannot with an *Error. The Verified
// holds a copy of p and of its frozen maps: nothing can change what was proven.
// The other maps stay p's own, because their identity is what the programs of
// one object share.
//
// The programs that tail calls can go on in are proven with it, within the same
// budget, and held by it.
func Program(p *prog.Program, o Options) (*Verified, error) {
	t := &tails{budget: o.Budget, of: map[*prog.Program]*Verified{}}
	if t.budget <= 0 {
		t.budget = DefaultBudget
	}
	return t.prove(p)
}

// one proves one program, and does not follow its tail calls.
func one(p *prog.Program, budget int) (*Verified, error) {
	p = clone(p)
	funcs, err := structure(p)
	if err != nil {
		return nil, err
	}
	c, visited, err := prove(absint.NewCode(p, funcs), budget)
	var limit *absint.LimitError
	if errors.As(err, &limit) {
		if d, n, e := prove(c.code.Coarse(), budget/2); e == nil {
			c, visited, err = d, n, nil
		}
	}
	if err != nil {
		return nil, explain(p, err)
	}
	if err := stackDepth(p, funcs, c.frames); err != nil {
		return nil, err
	}
	return &Verified{
		code: c.code, visited: visited, frames: c.frames, warnings: warnings(p, c.decides), leads: c.leads, mayTrace: c.mayTrace,
	}, nil
}

// prove follows every path of code, and checks each instruction on it.
func prove(code *absint.Code, budget int) (*check, int, error) {
	c := &check{
		code: code, frames: make([]int, len(code.Funcs)),
		decides: map[absint.Origin]int{}, leads: map[*prog.Program]bool{},
	}
	m := absint.NewMachine(code, absint.AnyInput())
	visited, err := m.Explore(m.Start(), c, absint.Limits{Visits: budget, Bytes: stateBytes})
	return c, visited, err
}

func clone(p *prog.Program) *prog.Program {
	c := *p
	c.Insns = append([]prog.Insn(nil), p.Insns...)
	c.Funcs = append([]prog.Func(nil), p.Funcs...)
	c.Lines = append([]prog.Line(nil), p.Lines...)
	c.Maps = make([]*prog.Map, len(p.Maps))
	for i, m := range p.Maps {
		if c.Maps[i] = m; m != nil && m.Frozen {
			frozen := *m
			frozen.Contents = append([]byte(nil), m.Contents...)
			c.Maps[i] = &frozen
		}
	}
	return &c
}

// Program is the program that was verified. It must not be changed.
func (v *Verified) Program() *prog.Program { return v.code.Prog }

// Code is the program prepared for abstract interpretation.
func (v *Verified) Code() *absint.Code { return v.code }

// Visited is how many instructions the proof visited.
func (v *Verified) Visited() int { return v.visited }

// Funcs are the program's functions in ascending order, the entry first. It
// must not be changed.
func (v *Verified) Funcs() []absint.Func { return v.code.Funcs }

// FrameSize is how many bytes of stack function i of Funcs uses, a multiple of 8.
func (v *Verified) FrameSize(i int) int { return v.frames[i] }

// StackDepth is the size of every function's frame, in the order of Funcs. Any
// chain of calls needs at most prog.StackSize bytes and prog.MaxCallFrames frames.
func (v *Verified) StackDepth() []int { return append([]int(nil), v.frames...) }

// Warnings are what a filter's author should know of, also about the programs
// that its tail calls go on in.
func (v *Verified) Warnings() []Warning {
	var all []Warning
	for _, w := range v.Programs() {
		for _, warning := range w.warnings {
			if w != v {
				warning.Text = "in program " + w.Program().Name + ": " + warning.Text
			}
			all = append(all, warning)
		}
	}
	return all
}

// check is the visitor that checks every instruction.
type check struct {
	code   *absint.Code
	frames []int
	// decides is where values of a source decide first.
	decides map[absint.Origin]int
	// leads are the programs that tail calls can find.
	leads map[*prog.Program]bool
	// mayTrace tells that a path does what may take a tracer.
	mayTrace bool
}

// failure is a problem at an instruction.
type failure struct {
	pc int
	*absint.Problem
}

func (c *check) Visit(s *absint.State) error {
	if p := c.code.Check(s); p != nil {
		return &failure{s.PC, p}
	}
	in := c.code.Prog.Insns[s.PC]
	if p := c.wait(s, in); p != nil {
		return &failure{s.PC, p}
	}
	c.measure(s)
	c.trace(in)
	if array, index, ok := c.code.TailCall(s); ok {
		for _, t := range within(array, index) {
			c.leads[t.Program] = true
		}
	}
	return nil
}

// Fork notes tests that a verdict may depend on.
func (c *check) Fork(pc int, from absint.Origin) { c.note(pc, from) }

// Exit notes verdicts that are computed, and those that may take a tracer.
func (c *check) Exit(s *absint.State) {
	r0 := &s.Top().Regs[prog.R0]
	c.note(s.PC, r0.Origin)
	if _, may := TracedAction(r0.Scalar); may {
		c.mayTrace = true
	}
}

// note remembers the first instruction at which a source mattered.
func (c *check) note(pc int, from absint.Origin) {
	for _, o := range [...]absint.Origin{absint.FromUser, absint.FromStorage} {
		if _, seen := c.decides[o]; from&o != 0 && !seen {
			c.decides[o] = pc
		}
	}
}

// measure notes how deep the stack is used.
func (c *check) measure(s *absint.State) {
	in := c.code.Prog.Insns[s.PC]
	switch in.Class() {
	case prog.ClassLDX:
		c.used(s, in.Src, int64(in.Off))
	case prog.ClassST, prog.ClassSTX:
		c.used(s, in.Dst, int64(in.Off))
	case prog.ClassJMP:
		if in.Op == prog.OpCallInsn && in.Src == 0 {
			for r := uint8(1); r <= 5; r++ {
				c.used(s, r, 0)
			}
		}
	}
}

func (c *check) used(s *absint.State, n uint8, off int64) {
	r := &s.Top().Regs[n]
	if r.Kind != absint.Stack {
		return
	}
	depth := int(-(r.S.Min+off)+7) &^ 7
	if f := s.Frames[r.Frame].Func; depth > c.frames[f] && depth <= prog.StackSize {
		c.frames[f] = depth
	}
}

// explain turns what ended an exploration into an *Error.
func explain(p *prog.Program, err error) *Error {
	var fail *failure
	var limit *absint.LimitError
	var loop *absint.LoopError
	switch {
	case errors.As(err, &fail):
		e := at(p, fail.pc, fail.Reason, fail.Remedy)
		e.State, e.Err = fail.State, fail.Problem
		return e
	case errors.As(err, &limit):
		remedy := "bound its loops, or test less in them"
		if limit.Visits {
			remedy = "bound its loops, test less in them, or raise the budget"
		}
		e := at(p, limit.PC, limit.Error(), remedy)
		e.Err = err
		return e
	case errors.As(err, &loop):
		e := at(p, loop.PC, loop.Error(), "count in the loop, and end it at a constant")
		e.Err = err
		return e
	}
	return &Error{Program: p.Name, Insn: -1, Reason: err.Error(), Err: err}
}

// frameAlign is what the kernel's JIT rounds a frame to.
const frameAlign = 16

// stackDepth bounds the stack of every chain of calls. There is no recursion:
// structure has seen to it.
func stackDepth(p *prog.Program, funcs []absint.Func, frames []int) error {
	calls := callGraph(p, funcs)
	depths := make([]int, len(funcs))
	var depth func(i int) int
	depth = func(i int) int {
		if depths[i] > 0 {
			return depths[i]
		}
		below := 0
		for _, c := range calls[i] {
			if d := depth(c.callee); d > below {
				below = d
			}
		}
		own := (frames[i] + frameAlign - 1) &^ (frameAlign - 1)
		if own == 0 {
			own = frameAlign
		}
		depths[i] = own + below
		return depths[i]
	}
	if d := depth(0); d > prog.StackSize && len(funcs) > 1 {
		return at(p, 0, fmt.Sprintf("its chains of calls need %d bytes of stack: expected at most %d", d, prog.StackSize),
			"use smaller arrays, or inline functions")
	}
	return nil
}
