package effect

import (
	"math/bits"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// literal is a test of a call's data with its outcome.
type literal struct {
	test  split.Test
	holds bool
}

// answer says whether a conjunction of literals can hold.
type answer uint8

const (
	never answer = iota
	possible
	// unknown is an answer that took too much, or that the solver has no way to.
	unknown
)

// A call's data is looked at as halves of 32 bits: nr, arch, then two for each of the
// instruction pointer and the arguments. Half i is the bytes 4*i … 4*i+3.
const halves = 16

// maxCoupled is how many halves may depend on each other, by tests that compare them.
const maxCoupled = 5

// solveSteps bounds the work for one conjunction.
const solveSteps = 50_000

// solve looks for data for which all literals hold. It takes its steps from work.
//
// It decides the bits of all halves from the highest to the lowest. What the bits so far
// say about a comparison is one of three states, as for a machine that compares two
// numbers digit by digit; that no end is reached from some states is remembered.
// Comparisons of halves that no test connects are independent of each other.
func solve(arch abi.Arch, lits []literal, work *int) (abi.SeccompData, answer) {
	var value [halves]uint32
	value[abi.OffArch/4] = uint32(arch)
	all := make([]*check, 0, len(lits)+1)
	for _, l := range lits {
		c, ok := newCheck(l)
		if !ok {
			return abi.SeccompData{}, unknown
		}
		all = append(all, c)
	}
	all = append(all, fixed(abi.OffArch, uint64(arch)))
	for _, part := range connected(all) {
		s := &search{checks: part.checks, vars: part.vars, value: &value, dead: map[string]bool{}, left: solveSteps}
		if len(part.vars) > maxCoupled {
			return abi.SeccompData{}, unknown
		}
		holds := s.run()
		*work -= solveSteps - s.left
		switch {
		case holds:
		case s.left <= 0:
			return abi.SeccompData{}, unknown
		default:
			return abi.SeccompData{}, never
		}
	}
	return data(&value), possible
}

func fixed(off uint8, v uint64) *check {
	p := split.Part{Off: off, Size: 4, Mask: 0xffffffff}
	c, _ := newCheck(literal{split.Test{Part: p, Op: prog.OpJeq, Value: v}, true})
	return c
}

func data(value *[halves]uint32) abi.SeccompData {
	whole := func(off int) uint64 { return uint64(value[off/4]) | uint64(value[off/4+1])<<32 }
	d := abi.SeccompData{
		Nr: int32(value[abi.OffNr/4]), Arch: abi.Arch(value[abi.OffArch/4]),
		InstructionPointer: whole(abi.OffInstructionPointer),
	}
	for i := range d.Args {
		d.Args[i] = whole(abi.OffArgs + 8*i)
	}
	return d
}

// operand is a number of up to two halves: constants, or parts of the data.
type operand struct {
	half [2]int8 // the lower first; -1 for a constant
	mask [2]uint32
	k    [2]uint32
}

// bit is bit j of a half of the operand.
func (o *operand) bit(h int, j uint, value *[halves]uint32) uint32 {
	w := o.k[h]
	if o.half[h] >= 0 {
		w = value[o.half[h]] & o.mask[h]
	}
	return w >> j & 1
}

func constant(k uint64) operand {
	return operand{half: [2]int8{-1, -1}, k: [2]uint32{uint32(k), uint32(k >> 32)}}
}

// partOf is a part without its shift: what would be shifted out is not looked at.
func partOf(p split.Part) operand {
	mask := p.Mask &^ (1<<p.Right - 1)
	o := operand{half: [2]int8{int8(p.Off / 4), -1}, mask: [2]uint32{uint32(mask), uint32(mask >> 32)}}
	if p.Size == 8 {
		o.half[1] = o.half[0] + 1
	}
	return o
}

// check is a literal in the form in which it is decided bit by bit.
type check struct {
	literal
	// left and right are compared; for OpJle, a second comparison is with low.
	left, right, low operand
	signed           bool
	// wide tells that upper halves are compared as well.
	wide bool
}

// newCheck is false for a test that cannot be decided bit by bit: of parts with
// different shifts.
func newCheck(l literal) (*check, bool) {
	t := l.test
	c := &check{literal: l, left: partOf(t.Part), signed: t.Op == prog.OpJsgt || t.Op == prog.OpJsge}
	c.wide = t.Size == 8 || t.With.Size == 8 || t.Value > 0xffffffff || t.Low > 0xffffffff
	if t.With.Size != 0 {
		c.right = partOf(t.With)
		return c, t.Right == t.With.Right
	}
	high, low, k := bits.Len64(t.Value), bits.Len64(t.Low), uint8(t.Right)
	if high+int(k) > 64 || low+int(k) > 64 {
		return nil, false
	}
	c.right, c.low = constant(t.Value<<k), constant(t.Low<<k)
	if c.signed && t.Size == 4 {
		c.right.k[1] = 0 // the comparison is of 32 bits
	}
	return c, true
}

// vars are the halves that c depends on.
func (c *check) vars() (vars []int8) {
	for _, o := range []operand{c.left, c.right} {
		for _, h := range o.half {
			if h >= 0 {
				vars = append(vars, h)
			}
		}
	}
	return vars
}

// States of a comparison of halves, two bits each: the lower half, the upper half, then
// the same of the second comparison. For OpJset the first bit says that a common bit was found.
const (
	same = iota
	less
	more
)

// step takes bit j into account.
func (c *check) step(state uint8, j uint, value *[halves]uint32) uint8 {
	for h := 0; h < 2; h++ {
		a, b := c.left.bit(h, j, value), c.right.bit(h, j, value)
		if c.test.Op == prog.OpJset {
			state |= uint8(a & b)
			continue
		}
		if c.signed && j == 31 && (h == 1) == (c.test.Size == 8) {
			a, b = a^1, b^1
		}
		state = compare(state, uint(2*h), a, b)
		if c.test.Op == prog.OpJle {
			state = compare(state, uint(4+2*h), a, c.low.bit(h, j, value))
		}
	}
	return state
}

func compare(state uint8, at uint, a, b uint32) uint8 {
	if state>>at&3 != same || a == b {
		return state
	}
	if a < b {
		return state | less<<at
	}
	return state | more<<at
}

// outcome is that of a comparison: the upper halves', and the lower ones' where those are equal.
func outcome(state uint8) uint8 {
	if high := state >> 2 & 3; high != same {
		return high
	}
	return state & 3
}

// fits tells whether a state at the end is one in which the literal holds.
func (c *check) fits(state uint8) bool {
	cmp, holds := outcome(state&15), false
	switch c.test.Op {
	case prog.OpJeq:
		holds = cmp == same
	case prog.OpJgt, prog.OpJsgt:
		holds = cmp == more
	case prog.OpJset:
		holds = state != 0
	case prog.OpJle:
		holds = cmp != more && outcome(state>>4) != less
	default:
		holds = cmp != less
	}
	return holds == c.holds
}

// lost tells whether no end can be one in which the literal holds any more.
func (c *check) lost(state uint8) bool {
	switch c.test.Op {
	case prog.OpJset:
		return state != 0 && !c.holds
	case prog.OpJeq:
		return c.holds && state != 0
	case prog.OpJle:
		return c.holds && (c.decided(state&15) == more || c.decided(state>>4) == less)
	}
	return c.decided(state&15) != same && !c.fits(state)
}

// decided is what lower bits cannot change of a comparison; same for nothing.
func (c *check) decided(state uint8) uint8 {
	if c.wide {
		return state >> 2 & 3
	}
	return outcome(state)
}

// component is checks that share halves.
type component struct {
	checks []*check
	vars   []int8
}

// connected parts checks into those that share no half.
func connected(all []*check) []component {
	var parts []component
	for _, c := range all {
		joined := component{checks: []*check{c}}
		for _, v := range c.vars() {
			joined.add(v)
		}
		rest := parts[:0:0]
		for _, p := range parts {
			if !p.shares(joined.vars) {
				rest = append(rest, p)
				continue
			}
			joined.checks = append(p.checks, joined.checks...)
			for _, v := range p.vars {
				joined.add(v)
			}
		}
		parts = append(rest, joined)
	}
	return parts
}

func (p *component) add(v int8) {
	for _, known := range p.vars {
		if known == v {
			return
		}
	}
	p.vars = append(p.vars, v)
}

func (p *component) shares(vars []int8) bool {
	for _, v := range vars {
		for _, own := range p.vars {
			if v == own {
				return true
			}
		}
	}
	return false
}

// search is the search in one component.
type search struct {
	checks []*check
	vars   []int8
	value  *[halves]uint32
	dead   map[string]bool
	left   int
}

func (s *search) run() bool { return s.from(32, make([]byte, len(s.checks)+1)) }

// from decides the bits below j, for states of which the last byte is j.
func (s *search) from(j int, states []byte) bool {
	states[len(s.checks)] = byte(j)
	if j == 0 {
		for i, c := range s.checks {
			if !c.fits(states[i]) {
				return false
			}
		}
		return true
	}
	if s.left--; s.left <= 0 || s.dead[string(states)] {
		return false
	}
	for choice := 0; choice < 1<<len(s.vars); choice++ {
		for i, v := range s.vars {
			s.value[v] = s.value[v]&^(1<<(j-1)) | uint32(choice>>i&1)<<(j-1)
		}
		if next := s.advance(states, uint(j-1)); next != nil && s.from(j-1, next) {
			return true
		}
	}
	if s.left > 0 {
		s.dead[string(states)] = true
	}
	return false
}

// advance is the states after one more bit; nil if a literal is lost.
func (s *search) advance(states []byte, j uint) []byte {
	next := make([]byte, len(states))
	for i, c := range s.checks {
		if next[i] = c.step(states[i], j, s.value); c.lost(next[i]) {
			return nil
		}
	}
	return next
}
