// Package static finds what a policy decides of a call by its number and its arguments
// alone, in a form that has no order: actions under conditions of which at most one holds.
//
// Arguments are 64 bits. An Atom is one comparison, as libseccomp has them; a Cube holds
// if all of its Atoms do, and has one Atom for an argument at most; a union of Cubes holds
// if one of them does. Every comparison is also a union of masked ones, and of those two on
// one argument are one or none: so all that policies ask of numbers has this form, if not
// always a short one. What gets too long is for others to decide.
package static

import (
	"fmt"
	"math/bits"
	"sort"

	"portcullis/internal/policy"
	"portcullis/internal/policy/symbol"
)

// Op is how an Atom compares.
type Op uint8

// The comparisons of libseccomp, without signs.
const (
	Equal Op = iota
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	// Masked holds if what Mask leaves of the argument is Value.
	Masked
)

// Orders tells whether it is a comparison of larger and smaller.
func (o Op) Orders() bool { return o >= Less && o <= GreaterEqual }

// Atom compares an argument with a value.
type Atom struct {
	// Arg is the argument's index, 0 to 5.
	Arg         int
	Op          Op
	Value, Mask uint64
}

const (
	full = ^uint64(0)
	word = uint64(1)<<32 - 1
)

// Holds tells whether the argument x passes.
func (a Atom) Holds(x uint64) bool {
	switch a.Op {
	case Equal:
		return x == a.Value
	case NotEqual:
		return x != a.Value
	case Less:
		return x < a.Value
	case LessEqual:
		return x <= a.Value
	case Greater:
		return x > a.Value
	case GreaterEqual:
		return x >= a.Value
	}
	return x&a.Mask == a.Value
}

// Cube is conditions all of which have to hold; none of them holds always.
type Cube []Atom

// Holds tells whether the arguments pass.
func (c Cube) Holds(args [6]uint64) bool {
	for _, a := range c {
		if !a.Holds(args[a.Arg]) {
			return false
		}
	}
	return true
}

// Simplify drops what always holds, as libseccomp does: a mask of no bits. A mask of all
// bits is none.
func (c Cube) Simplify() Cube {
	var out Cube
	for _, a := range c {
		switch {
		case a.Op == Masked && a.Mask == full:
			out = append(out, Atom{Arg: a.Arg, Op: Equal, Value: a.Value})
		case a.Op != Masked || a.Mask != 0:
			out = append(out, a)
		}
	}
	return out
}

// Disjoint tells whether no arguments pass c and d both, as far as one argument shows it.
func (c Cube) Disjoint(d Cube) bool {
	for _, a := range c {
		for _, b := range d {
			if a.Arg == b.Arg && len(both(a, b)) == 0 {
				return true
			}
		}
	}
	return false
}

// Condition is the cube as a policy has it for a call, every argument with all of its
// bits; false if the policy has no name for an argument.
func (c Cube) Condition(nr uint32, pos policy.Pos) (policy.Condition, bool) {
	all := policy.Condition{Pos: pos, Op: policy.All}
	for _, a := range c {
		name, ok := argument(nr, a.Arg)
		if !ok {
			return all, false
		}
		all.Sub = append(all.Sub, a.condition(name, pos))
	}
	if len(all.Sub) == 1 {
		return all.Sub[0], true
	}
	return all, true
}

// argument is what a policy calls an argument of a call. The second of prctl is arg2, as
// in its manual: so a number does not always do.
func argument(nr uint32, index int) (string, bool) {
	names := []string{fmt.Sprintf("arg%d", index)}
	if known := symbol.Arguments(nr); index < len(known) {
		names = append([]string{known[index].Name}, names...)
	}
	for _, n := range names {
		if a, ok := symbol.Find(nr, n); ok && a.Index == index {
			return n, true
		}
	}
	return "", false
}

func (a Atom) condition(name string, pos policy.Pos) policy.Condition {
	c := policy.Condition{Pos: pos, Arg: name, Width: 64, Values: []policy.Value{{Number: a.Value}}}
	c.Compare = [...]policy.Compare{
		policy.Is, policy.IsNot, policy.Less, policy.LessEqual, policy.Greater, policy.GreaterEqual, policy.MaskedIs,
	}[a.Op]
	if a.Op == Masked {
		c.Mask = policy.Value{Number: a.Mask}
	}
	return c
}

// span is the numbers from lo to hi.
type span struct{ lo, hi uint64 }

// spans are the numbers that pass a, in order; false for masks.
func (a Atom) spans() ([]span, bool) {
	v := a.Value
	switch a.Op {
	case Equal:
		return []span{{v, v}}, true
	case NotEqual:
		return outside([]span{{v, v}}, full), true
	case Less:
		return outside([]span{{v, full}}, full), true
	case LessEqual:
		return []span{{0, v}}, true
	case Greater:
		return outside([]span{{0, v}}, full), true
	case GreaterEqual:
		return []span{{v, full}}, true
	}
	return nil, false
}

// within are the numbers of so many bits that pass a; false if other bits matter, or they
// are no range.
func (a Atom) within(bits uint64) ([]span, bool) {
	if a.Op != Masked {
		spans, ok := a.spans()
		return spans, ok && bits == full
	}
	free := bits &^ a.Mask
	if a.Mask&^bits != 0 || free&(free+1) != 0 {
		return nil, false
	}
	return []span{{a.Value, a.Value | free}}, true
}

// outside is what is in none of the spans, up to the largest number.
func outside(spans []span, largest uint64) []span {
	sort.Slice(spans, func(i, j int) bool { return spans[i].lo < spans[j].lo })
	var out []span
	next, more := uint64(0), true
	for _, s := range spans {
		if s.hi > largest {
			s.hi = largest
		}
		if more && s.lo > next && s.lo <= largest {
			out = append(out, span{next, s.lo - 1})
		}
		if more && s.hi >= next {
			next, more = s.hi+1, s.hi != largest
		}
	}
	if more {
		out = append(out, span{next, largest})
	}
	return out
}

// meet is what is in a span of both lists.
func meet(a, b []span) []span {
	var out []span
	for _, s := range a {
		for _, t := range b {
			if lo, hi := larger(s.lo, t.lo), smaller(s.hi, t.hi); lo <= hi {
				out = append(out, span{lo, hi})
			}
		}
	}
	return out
}

func larger(a, b uint64) uint64 {
	if a > b {
		return a
	}
	return b
}

func smaller(a, b uint64) uint64 {
	if a < b {
		return a
	}
	return b
}

// wide are atoms of which one holds for the numbers in spans: one or two where a
// comparison says it, else masked ones.
func wide(arg int, spans []span) []Atom {
	if gap := outside(append([]span(nil), spans...), full); len(gap) == 1 && gap[0].lo == gap[0].hi {
		return []Atom{{Arg: arg, Op: NotEqual, Value: gap[0].lo}}
	}
	var out []Atom
	for _, s := range spans {
		switch {
		case s.lo == s.hi:
			out = append(out, Atom{Arg: arg, Op: Equal, Value: s.lo})
		case s.lo == 0 && s.hi == full:
			out = append(out, Atom{Arg: arg, Op: Masked})
		case s.lo == 0:
			out = append(out, Atom{Arg: arg, Op: LessEqual, Value: s.hi})
		case s.hi == full:
			out = append(out, Atom{Arg: arg, Op: GreaterEqual, Value: s.lo})
		default:
			out = append(out, blocks(arg, s, full)...)
		}
	}
	return out
}

// blocks are masked atoms, each for a power of two of numbers, that cover a span of the
// bits in within, which are the lowest.
func blocks(arg int, s span, within uint64) []Atom {
	var out []Atom
	for lo := s.lo; ; {
		size := uint64(1)
		for size <= within/2 && lo&(2*size-1) == 0 && 2*size-1 <= s.hi-lo {
			size *= 2
		}
		if lo == 0 && s.hi == within {
			return append(out, Atom{Arg: arg, Op: Masked})
		}
		out = append(out, Atom{Arg: arg, Op: Masked, Mask: within &^ (size - 1), Value: lo})
		if s.hi-lo < size {
			return out
		}
		lo += size
	}
}

// masked are atoms with masks that together are a.
func (a Atom) masked() []Atom {
	switch a.Op {
	case Masked:
		return []Atom{a}
	case Equal:
		return []Atom{{Arg: a.Arg, Op: Masked, Mask: full, Value: a.Value}}
	}
	spans, _ := a.spans()
	var out []Atom
	for _, s := range spans {
		out = append(out, blocks(a.Arg, s, full)...)
	}
	return out
}

// both are atoms of which one holds where a and b do; none if that is never.
func both(a, b Atom) []Atom {
	if a == b {
		return []Atom{a}
	}
	s, sa := a.spans()
	t, sb := b.spans()
	switch {
	case sa && sb:
		return wide(a.Arg, meet(s, t))
	case a.Op == Equal && b.Holds(a.Value), a.Op != Equal && b.Op == Masked && b.Mask == 0:
		return []Atom{a}
	case b.Op == Equal && a.Holds(b.Value), b.Op != Equal && a.Op == Masked && a.Mask == 0:
		return []Atom{b}
	}
	var out []Atom
	for _, x := range a.masked() {
		for _, y := range b.masked() {
			if (x.Value^y.Value)&x.Mask&y.Mask == 0 {
				out = append(out, Atom{Arg: a.Arg, Op: Masked, Mask: x.Mask | y.Mask, Value: x.Value | y.Value})
			}
		}
	}
	return out
}

// not are atoms of which one holds where a does not.
func (a Atom) not() []Atom {
	opposite := map[Op]Op{Equal: NotEqual, NotEqual: Equal, Less: GreaterEqual, GreaterEqual: Less, LessEqual: Greater, Greater: LessEqual}
	if op, ok := opposite[a.Op]; ok {
		n := Atom{Arg: a.Arg, Op: op, Value: a.Value}
		if spans, _ := n.spans(); len(spans) == 0 {
			return nil
		}
		return []Atom{n}
	}
	var out []Atom
	for m := a.Mask; m != 0; m &= m - 1 {
		bit := uint64(1) << bits.TrailingZeros64(m)
		out = append(out, Atom{Arg: a.Arg, Op: Masked, Mask: bit, Value: bit &^ a.Value})
	}
	return out
}
