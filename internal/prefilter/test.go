package prefilter

import (
	"math"

	"portcullis/internal/cbpf"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// signBit turns the order of signed halves into that of unsigned ones.
const signBit = 1 << 31

// comparison is one test while it is written: the halves of both operands and
// where to go.
type comparison struct {
	*emitter
	split.Test
	holds, fails cbpf.Label
	signed       bool
}

// test writes an ending with a test.
func (em *emitter) test(e *ending) {
	c := &comparison{emitter: em, Test: e.test, holds: e.then.label, fails: e.els.label}
	switch e.test.Op {
	case prog.OpJsgt:
		c.Op, c.signed = prog.OpJgt, true
	case prog.OpJsge:
		c.Op, c.signed = prog.OpJge, true
	}
	if c.Op == prog.OpJle {
		c.between(e.then.label, e.els.label)
		return
	}
	if c.Op == prog.OpJeq && c.Value == 0 && c.With.Size == 0 && c.Size == 4 && c.Mask != math.MaxUint32 {
		c.Op, c.Value, c.holds, c.fails = prog.OpJset, c.Mask, c.fails, c.holds // no bit is set
	}
	em.compare(c)
}

// between compares with both ends.
func (c *comparison) between(holds, fails cbpf.Label) {
	low, high := *c, *c
	low.Op, low.Value, low.holds, low.fails = prog.OpJge, c.Low, c.NewLabel(), fails
	high.Op, high.holds, high.fails = prog.OpJgt, fails, holds
	c.compare(&low)
	c.Bind(low.holds)
	c.compare(&high)
}

func (em *emitter) compare(c *comparison) {
	wide := c.Size == 8 || c.With.Size == 8
	switch {
	case !wide:
		c.half(0, c.signed, c.op(), c.holds, c.fails)
	case c.Op == prog.OpJeq:
		c.half(0, false, cbpf.JeqK, cbpf.Next, c.fails) // which differs more often
		c.half(1, false, cbpf.JeqK, c.holds, c.fails)
	case c.Op == prog.OpJset:
		c.half(1, false, cbpf.JsetK, c.holds, cbpf.Next)
		c.half(0, false, cbpf.JsetK, c.holds, c.fails)
	default:
		c.order()
	}
}

func (c *comparison) op() uint16 {
	switch c.Op {
	case prog.OpJeq:
		return cbpf.JeqK
	case prog.OpJset:
		return cbpf.JsetK
	case prog.OpJgt:
		return cbpf.JgtK
	}
	return cbpf.JgeK
}

// order compares the upper halves, and where they are equal the lower ones.
func (c *comparison) order() {
	c.half(1, c.signed, cbpf.JgtK, c.holds, cbpf.Next)
	c.jump(1, c.signed, cbpf.JeqK, cbpf.Next, c.fails)
	c.half(0, false, c.op(), c.holds, c.fails)
}

// half compares the lower halves, 0, or the upper ones, 1, of both operands.
func (c *comparison) half(h uint32, signed bool, op uint16, t, f cbpf.Label) {
	if c.With.Size != 0 {
		c.load(c.With, h, signed)
		c.Emit(cbpf.Tax, 0)
	}
	if c.With.Size == 0 && op == cbpf.JsetK {
		c.loadWhole(c.Part, h) // the constant has the mask already
	} else {
		c.load(c.Part, h, signed)
	}
	c.jump(h, signed, op, t, f)
}

// jump compares what half has loaded once more.
func (c *comparison) jump(h uint32, signed bool, op uint16, t, f cbpf.Label) {
	if c.With.Size != 0 {
		c.Branch(op|srcX, 0, t, f)
		return
	}
	k := uint32(c.Value >> (32 * h))
	if signed {
		k ^= signBit
	}
	c.Branch(op, k, t, f)
}

// srcX makes a jump compare with X.
const srcX = cbpf.JeqX &^ cbpf.JeqK

// load leaves a half of a part in A. A part of four bytes has no upper half.
func (c *comparison) load(p split.Part, h uint32, signed bool) {
	mask := uint32(p.Mask >> (32 * h))
	if p.Size == 4 && h == 1 {
		mask = 0
	}
	if mask == 0 {
		c.Emit(cbpf.LdImm, 0)
	} else {
		c.loadWhole(p, h)
		if mask != ^uint32(0) {
			c.Emit(cbpf.AndK, mask)
		}
		if p.Right != 0 {
			c.Emit(cbpf.RshK, uint32(p.Right))
		}
	}
	if signed {
		c.Emit(cbpf.XorK, signBit)
	}
}

func (c *comparison) loadWhole(p split.Part, h uint32) {
	c.Emit(cbpf.LdAbs, uint32(p.Off)+4*h)
}
