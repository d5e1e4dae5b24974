package static

import (
	"portcullis/internal/policy"
	"portcullis/internal/policy/symbol"
)

// dynamic tells whether c asks about more than numbers in arguments.
func (f *finder) dynamic(c *policy.Condition) bool {
	if c.Op == policy.Test {
		return c.Subject != policy.Argument
	}
	for i := range c.Sub {
		if f.dynamic(&c.Sub[i]) {
			return true
		}
	}
	return false
}

// condition is where c holds, or where it does not if want is false; what cannot be known
// here holds as unknown says.
func (f *finder) condition(c *policy.Condition, want, unknown bool) union {
	switch {
	case f.err != nil || f.work.over:
		return nil
	case c.Op == policy.Not:
		return f.condition(&c.Sub[0], !want, unknown)
	case c.Op == policy.Test && c.Subject != policy.Argument:
		if unknown {
			return always()
		}
		return nil
	case c.Op == policy.Test:
		return f.test(c, want)
	case (c.Op == policy.All) == want:
		all := always()
		for i := range c.Sub {
			all = all.and(f.condition(&c.Sub[i], want, unknown), f.work)
		}
		return all
	}
	var any union
	for i := range c.Sub {
		any = append(any, f.condition(&c.Sub[i], want, unknown)...)
		f.work.spend(len(any))
	}
	return any.compact()
}

// test is a test of the number in an argument.
func (f *finder) test(c *policy.Condition, want bool) union {
	a, ok := symbol.Find(f.nr, c.Arg)
	if !ok {
		f.fail(c.Pos, "%s has no argument %q", f.call.Name, c.Arg)
		return nil
	}
	bits := c.Width
	if bits == 0 {
		bits = a.Bits()
	}
	t := tester{arg: a.Index, within: full >> (64 - bits)}
	for _, v := range c.Values {
		t.values = append(t.values, f.number(a, v)&t.within)
	}
	if len(t.values) == 0 || c.Compare == policy.Between && len(t.values) != 2 {
		f.fail(c.Pos, "a test of %s compares with nothing", c.Arg)
		return nil
	}
	if spans, ok := t.spans(c.Compare); ok {
		if !want {
			spans = outside(spans, t.within)
		}
		f.work.spend(len(spans))
		return t.cubes(spans)
	}
	u := t.masks(c.Compare, f.number(a, c.Mask))
	if !want {
		return always().minus(u, f.work)
	}
	return u
}

func (f *finder) number(a symbol.Argument, v policy.Value) uint64 {
	if v.Text == "" {
		return v.Number
	}
	n, unknown := symbol.Evaluate(a.Set, v.Text)
	if unknown != "" {
		f.fail(v.Pos, "expected a number or a constant of %s, found %q", a.Name, unknown)
	}
	return n
}

// tester is what one argument is tested for, in the bits of within.
type tester struct {
	arg    int
	within uint64
	values []uint64
}

// spans are the numbers that pass a comparison; false for those of bits.
func (t *tester) spans(how policy.Compare) ([]span, bool) {
	v := t.values[0]
	var same []span
	for _, v := range t.values {
		same = append(same, span{v, v})
	}
	switch how {
	case policy.Is:
		return same, true
	case policy.IsNot:
		return outside(same, t.within), true
	case policy.Less:
		return outside([]span{{v, t.within}}, t.within), true
	case policy.LessEqual:
		return []span{{0, v}}, true
	case policy.Greater:
		return outside([]span{{0, v}}, t.within), true
	case policy.GreaterEqual:
		return []span{{v, t.within}}, true
	case policy.Between:
		if v > t.values[1] {
			return nil, true
		}
		return []span{{v, t.values[1]}}, true
	}
	return nil, false
}

// cubes are spans as conditions. Of the lower half of an argument only masks can speak.
func (t *tester) cubes(spans []span) union {
	var atoms []Atom
	if t.within == full {
		atoms = wide(t.arg, spans)
	} else {
		for _, s := range spans {
			atoms = append(atoms, blocks(t.arg, s, t.within)...)
		}
	}
	var u union
	for _, a := range atoms {
		u = append(u, Cube{a}.Simplify())
	}
	return u
}

// masks are the comparisons of bits.
func (t *tester) masks(how policy.Compare, mask uint64) union {
	masked := func(mask, value uint64) union {
		if value&^mask != 0 {
			return nil
		}
		return union{Cube{{Arg: t.arg, Op: Masked, Mask: mask, Value: value}}.Simplify()}
	}
	var u union
	v := t.values[0]
	switch how {
	case policy.AllBits:
		return masked(v, v)
	case policy.NoBit:
		return masked(v, 0)
	case policy.AnyBit:
		for m := v; m != 0; m &= m - 1 {
			u = append(u, masked(m&-m, m&-m)...)
		}
		return u
	}
	for _, v := range t.values {
		u = append(u, masked(mask&t.within, v)...)
	}
	return u
}
