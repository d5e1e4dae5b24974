package policy

import (
	"math"

	"portcullis/internal/helper"
	"portcullis/internal/policy/asm"
	"portcullis/internal/prog"
)

// exits are where a test leads. The code of next follows it.
type exits struct{ yes, no, unknown, next asm.Label }

// registers is what a path through the program has found out already.
type registers struct {
	// path is the argument whose bytes regPath and regBytes are about, counted from 1.
	path int
}

// both is what is known if one of two paths was taken.
func both(a, b registers) registers {
	if a != b {
		return registers{}
	}
	return a
}

// test emits a test, and is what is known where it holds and where it does not.
func (c *compiler) test(t *test, to exits, in registers) (yes, no registers) {
	switch t.op {
	case Not:
		no, yes = c.test(&t.sub[0], exits{yes: to.no, no: to.yes, unknown: to.unknown, next: to.next}, in)
		return yes, no
	case All:
		return c.sequence(t.sub, to, in)
	case Any:
		// All with yes and no exchanged.
		no, yes = c.alternatives(t.sub, to, in)
		return yes, no
	}
	switch t.subject {
	case UID, GID:
		c.callerID(t, to)
		return in, in
	case Comm:
		c.callerName(t, to)
		return in, in
	case Path:
		in = c.path(t, to, in)
		return in, in
	case Address, Arguments, Text:
		in = c.memory(t, to, in)
		return in, in
	}
	c.load(t)
	c.compare(t, to)
	return in, in
}

// sequence emits tests that all have to hold. One that is unknown makes all unknown, though
// a later one may not hold: the stricter of both ways is taken all the same.
func (c *compiler) sequence(sub []test, to exits, in registers) (yes, no registers) {
	for i := range sub {
		e := to
		last := i == len(sub)-1
		if !last {
			e.yes = c.b.Label()
			e.next = e.yes
			e.unknown = c.later(to, to.unknown == to.yes, e.yes)
		}
		y, n := c.test(&sub[i], e, in)
		if i == 0 {
			no = n
		} else {
			no = both(no, n)
		}
		if in = y; !last {
			c.b.Bind(e.yes)
		}
	}
	return in, no
}

// later is where an unknown test leads that others follow: on to those, if unknown goes the
// way of what is looked for in the end, else that way at once.
func (c *compiler) later(to exits, on bool, next asm.Label) asm.Label {
	if on {
		return next
	}
	return to.unknown
}

// alternatives emits tests of which one has to hold; it returns no, yes.
func (c *compiler) alternatives(sub []test, to exits, in registers) (no, yes registers) {
	for i := range sub {
		e := to
		last := i == len(sub)-1
		if !last {
			e.no = c.b.Label()
			e.next = e.no
			e.unknown = c.later(to, to.unknown == to.no, e.no)
		}
		y, n := c.test(&sub[i], e, in)
		if i == 0 {
			yes = y
		} else {
			yes = both(yes, y)
		}
		if in = n; !last {
			c.b.Bind(e.no)
		}
	}
	return in, yes
}

// load emits R1 = the argument. There are no loads of less than 32 bits.
func (c *compiler) load(t *test) {
	size := uint8(prog.SizeW)
	if t.bits > 32 {
		size = prog.SizeDW
	}
	c.b.Load(size, asm.R1, regCtx, int16(offArgs+8*t.arg))
	if t.bits < 32 {
		c.and(1<<t.bits-1, t.bits)
	}
}

// opposite are the jumps that are taken where others are not.
var opposite = map[uint8]uint8{
	prog.OpJeq: prog.OpJne, prog.OpJne: prog.OpJeq, prog.OpJgt: prog.OpJle, prog.OpJle: prog.OpJgt,
	prog.OpJlt: prog.OpJge, prog.OpJge: prog.OpJlt,
}

// compare emits the test of R1.
func (c *compiler) compare(t *test, to exits) {
	switch t.compare {
	case IsNot:
		c.equals(t, exits{yes: to.no, no: to.yes, next: to.next})
	case MaskedIs:
		c.and(t.mask, t.bits)
		c.equals(t, to)
	case Less:
		c.branch(prog.OpJlt, t, t.values[0], to)
	case LessEqual:
		c.branch(prog.OpJle, t, t.values[0], to)
	case Greater:
		c.branch(prog.OpJgt, t, t.values[0], to)
	case GreaterEqual:
		c.branch(prog.OpJge, t, t.values[0], to)
	case Between:
		c.jump(prog.OpJlt, t, t.values[0], to.no)
		c.branch(prog.OpJle, t, t.values[1], to)
	case AllBits:
		c.and(t.values[0], t.bits)
		c.branch(prog.OpJeq, t, t.values[0], to)
	case AnyBit:
		c.and(t.values[0], t.bits)
		c.branch(prog.OpJne, t, 0, to)
	case NoBit:
		c.and(t.values[0], t.bits)
		c.branch(prog.OpJeq, t, 0, to)
	default:
		c.equals(t, to)
	}
}

// equals emits a test whether R1 is one of the values.
func (c *compiler) equals(t *test, to exits) {
	last := len(t.values) - 1
	for _, v := range t.values[:last] {
		c.jump(prog.OpJeq, t, v, to.yes)
	}
	c.branch(prog.OpJeq, t, t.values[last], to)
}

// and emits R1 &= mask.
func (c *compiler) and(mask uint64, bits int) {
	switch {
	case bits <= 32:
		c.b.Imm32(prog.OpAnd, asm.R1, int32(uint32(mask)))
	case mask <= math.MaxInt32:
		c.b.Imm(prog.OpAnd, asm.R1, int32(mask))
	default:
		c.b.Const(asm.R2, mask)
		c.b.Reg(prog.OpAnd, asm.R1, asm.R2)
	}
}

// branch emits a jump to yes where R1 OP v, and one to no, but for the one that comes next.
func (c *compiler) branch(op uint8, t *test, v uint64, to exits) {
	if to.yes == to.next {
		c.jump(opposite[op], t, v, to.no)
		return
	}
	c.jump(op, t, v, to.yes)
	if to.no != to.next {
		c.b.Jump(to.no)
	}
}

// jump emits a jump where R1 OP v.
func (c *compiler) jump(op uint8, t *test, v uint64, l asm.Label) {
	switch {
	case t.bits <= 32:
		c.b.If32(op, asm.R1, int32(uint32(v)), l)
	case v <= math.MaxInt32:
		c.b.If(op, asm.R1, int32(v), l)
	default:
		c.b.Const(asm.R2, v)
		c.b.IfReg(op, asm.R1, asm.R2, l)
	}
}

// callerID emits a test of the caller's uid, or gid.
func (c *compiler) callerID(t *test, to exits) {
	c.b.Call(helper.GetCurrentUidGid)
	c.b.Reg(prog.OpMov, asm.R1, asm.R0)
	if t.subject == GID {
		c.b.Imm(prog.OpRsh, asm.R1, 32)
	}
	c.compare(t, to)
}

// Offsets in the program's frame. What they are for does not overlap in time, but for the
// storages.
const (
	frameProcess = -8  // the process's storage
	frameThread  = -16 // the thread's
	frameTime    = -24
	frameBucket  = -32
	frameComm    = -32 // 16 bytes
)

// callerName emits a test of the caller's name.
func (c *compiler) callerName(t *test, to exits) {
	c.b.Reg(prog.OpMov, asm.R1, asm.R10)
	c.b.Imm(prog.OpAdd, asm.R1, frameComm)
	c.b.Imm(prog.OpMov, asm.R2, 16)
	c.b.Call(helper.GetCurrentComm)
	c.b.Load(prog.SizeDW, asm.R1, asm.R10, frameComm)
	c.b.Load(prog.SizeDW, asm.R2, asm.R10, frameComm+8)
	for _, name := range t.texts {
		var bytes [16]byte
		copy(bytes[:], name)
		other := c.b.Label()
		c.b.Const(asm.R3, word(bytes[:8]))
		c.b.IfReg(prog.OpJne, asm.R1, asm.R3, other)
		c.b.Const(asm.R3, word(bytes[8:]))
		c.b.IfReg(prog.OpJeq, asm.R2, asm.R3, to.yes)
		c.b.Bind(other)
	}
	if to.no != to.next {
		c.b.Jump(to.no)
	}
}

// word is up to eight bytes as a processor loads them.
func word(b []byte) uint64 {
	var w uint64
	for i := len(b) - 1; i >= 0; i-- {
		w = w<<8 | uint64(b[i])
	}
	return w
}

// function is a function that bodies call.
type function struct {
	name  string
	label asm.Label
	make  func()
}

func (f *function) emit() { f.make() }

// function is the label of a function, which make emits once.
func (c *compiler) function(name string, make func()) asm.Label {
	for _, f := range c.functions {
		if f.name == name {
			return f.label
		}
	}
	f := &function{name: name, label: c.b.Label()}
	f.make = func() {
		c.b.At(prog.Line{})
		c.b.Func(name)
		c.b.Bind(f.label)
		make()
	}
	c.functions = append(c.functions, f)
	return f.label
}
