package static

// Tangled tells whether libseccomp may miss a match of one of two rules with the
// conditions c and d, whose atoms are in the order of arguments. It puts rules into one
// tree: comparisons that they begin with in common once, and beside each other what
// differs, the later argument first. Having entered a branch it does not come back to
// those beside it, and of an order of 64 bits it compares the halves apart.
func (c Cube) Tangled(d Cube) bool {
	for len(c) > 0 && len(d) > 0 && c[0] == d[0] {
		c, d = c[1:], d[1:]
	}
	if len(c) == 0 || len(d) == 0 {
		return true
	}
	x, y := c[0], d[0]
	switch {
	case x.Arg > y.Arg:
		return len(c) > 1
	case x.Arg < y.Arg:
		return len(d) > 1
	case x.Op.Orders() || y.Op.Orders():
		return len(c)+len(d) > 2 || x.Value>>32 != y.Value>>32 || len(both(x, y)) > 0
	}
	return len(both(x, y)) > 0 && len(c)+len(d) > 2
}
