package static

import "sort"

// union is cubes of which one has to hold; none of them never holds.
type union []Cube

// always holds for every call.
func always() union { return union{nil} }

// maxCubes bounds a union: rules that people write have a few.
const maxCubes = 2048

// work counts cubes that are made, so that conditions of a hostile policy end.
type work struct {
	left int
	over bool
}

// spend tells whether n more cubes can be made.
func (w *work) spend(n int) bool {
	if w.left -= n; w.left < 0 || n > maxCubes {
		w.over = true
	}
	return !w.over
}

// join is where c holds and a does, as cubes.
func (c Cube) join(a Atom) union {
	if a.Op == Masked && a.Mask == 0 {
		return union{c}
	}
	for i, b := range c {
		if b.Arg != a.Arg {
			continue
		}
		var out union
		for _, m := range both(b, a) {
			d := append(append(Cube(nil), c[:i]...), c[i+1:]...)
			out = append(out, append(d, m).sorted())
		}
		return out
	}
	return union{append(append(Cube(nil), c...), a).sorted()}
}

func (c Cube) sorted() Cube {
	c = c.Simplify()
	sort.SliceStable(c, func(i, j int) bool { return c[i].Arg < c[j].Arg })
	return c
}

// and is where u and v hold both.
func (u union) and(v union, w *work) union {
	var out union
	for _, c := range u {
		for _, d := range v {
			part := union{c}
			for _, a := range d {
				var next union
				for _, e := range part {
					next = append(next, e.join(a)...)
				}
				if part = next; !w.spend(len(part) + 1) {
					return nil
				}
			}
			out = append(out, part...)
		}
		if !w.spend(len(out)) {
			return nil
		}
	}
	return out.compact()
}

// minus is where u holds and no cube of v does. Cubes that have nothing in common stay
// as they are: rules of policies mostly do not.
func (u union) minus(v union, w *work) union {
	if rest, ok := v.opposite(); ok {
		return u.and(rest, w)
	}
	for _, d := range v {
		var out union
		for _, c := range u {
			if c.Disjoint(d) {
				out = append(out, c)
				continue
			}
			for _, a := range d {
				for _, n := range a.not() {
					out = append(out, c.join(n)...)
				}
			}
			if !w.spend(len(out)) {
				return nil
			}
		}
		u = out.compact()
	}
	return u
}

// opposite is where no cube of u holds, if they are about one argument and are ranges of
// it, or of its lower half: cubes one after the other would take the detour over bits.
func (u union) opposite() (union, bool) {
	if len(u) < 2 {
		return nil, false
	}
	t := tester{within: full}
	if len(u[0]) == 1 && u[0][0].Op == Masked && u[0][0].Mask <= word {
		t.within = word
	}
	var all []span
	for _, c := range u {
		if len(c) != 1 || c[0].Arg != u[0][0].Arg {
			return nil, false
		}
		spans, ok := c[0].within(t.within)
		if !ok {
			return nil, false
		}
		all = append(all, spans...)
	}
	t.arg = u[0][0].Arg
	return t.cubes(outside(all, t.within)), true
}

// compact drops cubes that hold only where another does.
func (u union) compact() union {
	if len(u) > 128 {
		return u // it costs the square
	}
	var out union
	for i, c := range u {
		needed := true
		for j, d := range u {
			if i != j && d.covers(c) && (j < i || !c.covers(d)) {
				needed = false
			}
		}
		if needed {
			out = append(out, c)
		}
	}
	return out
}

// covers tells whether every condition of c is one of d, or follows from it: then c holds
// where d does.
func (c Cube) covers(d Cube) bool {
	for _, a := range c {
		found := false
		for _, b := range d {
			if a.Arg == b.Arg {
				found = follows(a, b)
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// follows tells whether a holds wherever b does.
func follows(a, b Atom) bool {
	switch {
	case a == b:
		return true
	case b.Op == Equal:
		return a.Holds(b.Value)
	case a.Op == Masked && b.Op == Masked:
		return a.Mask&^b.Mask == 0 && b.Value&a.Mask == a.Value
	}
	s, sa := a.spans()
	t, sb := b.spans()
	return sa && sb && len(meet(outside(s, full), t)) == 0
}

// SameCubes tells whether a and b hold for the same arguments; false, too, where that is too
// much to find out.
func SameCubes(a, b []Cube) bool {
	w := &work{left: maxWork}
	more, fewer := union(a).minus(b, w), union(b).minus(a, w)
	return !w.over && len(more) == 0 && len(fewer) == 0
}

// Others are cubes of which one holds where none of cubes does; false if they are too many.
func Others(cubes []Cube) ([]Cube, bool) {
	w := &work{left: maxWork}
	rest := always().minus(cubes, w)
	return rest, !w.over
}
