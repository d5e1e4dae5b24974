package split

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// summary is what an exploration found out about calls that it does not tell apart.
type summary struct {
	// verdict is the first constant returned; ends counts the exits seen.
	verdict abi.Verdict
	ends    int
	// open is why more than one constant may be returned.
	open *Reason
	// state is the first effect or read of state.
	state *Reason
	// trace is the first thing only a traced leaf can do; action the first
	// exit with an action only a tracer can take unless it is static.
	trace, action *Reason
	// fork is the first conditional jump both sides of which are possible.
	fork *Reason
	// byNr tells whether the number decides something that is open for the range,
	// pure whether a path to an exit touches no state.
	byNr, pure bool
	// pins tells whether an argument's memory may be read for good.
	pins bool
	// tails are the tail calls, one entry a place and target.
	tails []tail
}

// divisible tells whether a part of the range may have a better leaf.
func (s *summary) divisible() bool {
	return s.byNr && (s.pure || s.trace != nil || s.action != nil)
}

// settled tells whether s is a leaf that nothing can make dearer.
func (s *summary) settled() bool { return s.trace != nil && s.pins }

// leaf is the decision s amounts to.
func (s *summary) leaf() Leaf {
	switch {
	case s.trace != nil:
		return Leaf{Kind: Trace, Why: *s.trace, Pins: s.pins}
	case s.state == nil && s.open == nil && s.ends > 0:
		return Leaf{Kind: Static, Verdict: s.verdict}
	case s.action != nil:
		return Leaf{Kind: Trace, Why: *s.action}
	case s.state != nil:
		return Leaf{Kind: Notify, Why: *s.state}
	case s.open != nil:
		return Leaf{Kind: Notify, Why: *s.open}
	}
	return Leaf{Kind: Notify, Why: Reason{Text: "no path to a verdict was found"}}
}

// collector is the visitor that fills a partition.
type collector struct {
	partition
	v    *verify.Verified
	code *absint.Code
	p    *prog.Program
	nr   absint.Numbers // of the state visited last
	// mayTrace is what the proof says of v.
	mayTrace bool
	// pinned tells that some calls may pin.
	pinned bool
}

// newCollector asks once for what the proof says: of many programs that tail calls go
// on in, each has to look at all.
func (f *follower) newCollector(v *verify.Verified, calls absint.Numbers) *collector {
	may, asked := f.mayTrace[v]
	if !asked {
		may = v.MayTrace()
		f.mayTrace[v] = may
	}
	return &collector{v: v, code: v.Code(), p: v.Program(), partition: newPartition(calls), mayTrace: may}
}

func (c *collector) reason(pc int, format string, args ...any) *Reason {
	return &Reason{Insn: pc, Line: c.p.LineOf(pc), Text: fmt.Sprintf(format, args...)}
}

// Visit looks for state and effects.
func (c *collector) Visit(s *absint.State) error {
	c.nr = s.Nr
	in := c.p.Insns[s.PC]
	switch in.Class() {
	case prog.ClassLDX:
		c.access(s, in.Src, "reads")
	case prog.ClassST, prog.ClassSTX:
		c.access(s, in.Dst, "changes")
	case prog.ClassJMP:
		if array, index, ok := c.code.TailCall(s); ok {
			c.tail(s, array, index)
		} else if sig := c.code.Signature(in); sig != nil {
			c.call(s, sig)
		}
	}
	if c.settled(s) {
		return absint.Enough{}
	}
	return nil
}

// settled tells whether nothing can change the leaves of the calls of s any more, or
// nothing that follows s: they are traced and may pin, or have touched state in a
// program that never takes a tracer.
//
// What parts such calls by number was passed on the way: it is on the path that
// settled them.
func (c *collector) settled(s *absint.State) bool {
	if s.Touched && !c.mayTrace {
		return true
	}
	in := c.p.Insns[s.PC]
	return c.pinned && (absint.IsBranch(in) || in.Op == prog.OpCallInsn) && c.all(s.Nr, (*summary).settled)
}

// dependsOnNr notes that something was left open which a part of the calls might
// decide. Without it, every part has the leaf of the whole.
func (c *collector) dependsOnNr(from absint.Origin) {
	if from&absint.FromNr != 0 {
		c.each(c.nr, func(x *summary) { x.byNr = true })
	}
}

// access notes what touches a map that is not frozen.
func (c *collector) access(s *absint.State, n uint8, does string) {
	r := &s.Top().Regs[n]
	if _, known := r.Const(); !known && !r.ByNumber() {
		c.dependsOnNr(r.Origin)
	}
	if !c.shared(r) {
		return
	}
	c.touch(s, func() *Reason { return c.reason(s.PC, "%s map %s", does, c.p.Maps[r.Map].Name) })
}

// touch notes the first effect or read of state on a path: the others are of no
// more calls.
func (c *collector) touch(s *absint.State, why func() *Reason) {
	if s.Touched {
		return
	}
	s.Touched = true
	first(c, func(x *summary) **Reason { return &x.state }, why)
}

// first sets a reason of the calls visited last that have none.
func first(c *collector, of func(*summary) **Reason, why func() *Reason) {
	var r *Reason
	c.each(c.nr, func(x *summary) {
		if to := of(x); *to == nil {
			if r == nil {
				r = why()
			}
			*to = r
		}
	})
}

func (c *collector) call(s *absint.State, sig *helper.Signature) {
	c.touch(s, func() *Reason { return c.reason(s.PC, "calls %s", sig.Name) })
	if sig.Effect&helper.Pins != 0 {
		c.pinned = true
		c.each(c.nr, func(x *summary) { x.pins = true })
	}
	if text := traceOnly(sig); text != "" {
		first(c, func(x *summary) **Reason { return &x.trace }, func() *Reason { return c.reason(s.PC, "%s", text) })
	}
}

// traceOnly says why a call of a helper needs a traced leaf; empty if it does not.
func traceOnly(sig *helper.Signature) string {
	switch {
	case sig.Effect&helper.Pins != 0:
		return sig.Name + " pins an argument"
	case sig.Effect&helper.Waits != 0:
		return sig.Name + " orders system calls"
	}
	return ""
}

// Fork notes the first jump that is not decided by nr and arch.
func (c *collector) Fork(pc int, from absint.Origin) {
	c.dependsOnNr(from)
	first(c, func(x *summary) **Reason { return &x.fork }, func() *Reason {
		return c.reason(pc, "the verdict depends on the call's arguments")
	})
}

// Exit notes the verdicts that are possible.
func (c *collector) Exit(s *absint.State) {
	r0 := s.Top().Regs[prog.R0].Scalar.Truncate()
	if action := c.traced(s.PC, r0); action != nil {
		first(c, func(x *summary) **Reason { return &x.action }, func() *Reason { return action })
	}
	v, known := r0.Const()
	if !known {
		c.dependsOnNr(s.Top().Regs[prog.R0].Origin)
	}
	c.each(c.nr, func(x *summary) {
		x.pure = x.pure || !s.Touched
		x.ends++
		switch {
		case known && x.ends == 1:
			x.verdict = abi.Verdict(v)
		case known && abi.Verdict(v) == x.verdict || x.open != nil:
		case known && x.fork != nil:
			x.open = x.fork
		default:
			x.open = c.several(s.PC, known)
		}
	})
}

// several says why there is no single verdict where no test of arguments is to
// blame.
func (c *collector) several(pc int, known bool) *Reason {
	if known {
		return c.reason(pc, "there are several verdicts")
	}
	return c.reason(pc, "the verdict is computed")
}

// traced tells whether a verdict may be one that only a tracer can carry out. None is
// where the proof of the program has found none: then the leaf of a program that takes
// no tracer never says otherwise, however much less exact this exploration is.
func (c *collector) traced(pc int, r0 absint.Scalar) *Reason {
	if a, may := verify.TracedAction(r0); may && c.mayTrace {
		return c.reason(pc, "may return %s", a)
	}
	return nil
}
