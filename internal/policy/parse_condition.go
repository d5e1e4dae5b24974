package policy

import (
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// condition reads what has to hold: a mapping of tests, all of which have to.
func (d *decoder) condition(n *yaml.Node, depth int) *Condition {
	c := &Condition{Pos: d.pos(n), Op: All}
	if depth > maxDepth {
		d.fail(n, "make rules of it", "conditions are nested more than %d deep", maxDepth)
		return c
	}
	d.mapping(n, "a condition", func(key, value *yaml.Node) {
		c.Sub = append(c.Sub, d.part(key, value, depth)...)
	})
	if d.err == nil && len(c.Sub) == 0 {
		d.fail(n, "leave if: out", "the condition is empty")
	}
	if len(c.Sub) == 1 {
		return &c.Sub[0]
	}
	return c
}

// part is what one key of a condition asks for.
func (d *decoder) part(key, value *yaml.Node, depth int) []Condition {
	c := Condition{Pos: d.pos(key)}
	switch key.Value {
	case "all", "any":
		if c.Op = All; key.Value == "any" {
			c.Op = Any
		}
		d.list(value, key.Value, func(e *yaml.Node) {
			if sub := d.condition(e, depth+1); d.err == nil {
				c.Sub = append(c.Sub, *sub)
			}
		})
		if d.err == nil && len(c.Sub) == 0 {
			d.fail(value, "", "%s: expected conditions, found none", key.Value)
		}
	case "not":
		c.Op = Not
		c.Sub = []Condition{*d.condition(value, depth+1)}
	case "caller":
		return d.caller(value)
	case "argv":
		c.Subject, c.Arg = Arguments, "argv"
		d.list(value, "argv", func(e *yaml.Node) { c.Argv = append(c.Argv, d.argv(e)) })
		if d.err == nil && len(c.Argv) == 0 {
			d.fail(value, "", "argv: expected lists of arguments, found none")
		}
	default:
		d.argument(key, value, &c)
	}
	return []Condition{c}
}

// argv is one list of arguments.
func (d *decoder) argv(n *yaml.Node) []Value {
	var vs []Value
	d.list(n, "argv", func(e *yaml.Node) { vs = append(vs, Value{Pos: d.pos(e), Text: d.scalar(e, "an argument")}) })
	if d.err == nil && len(vs) == 0 {
		d.fail(n, "", "argv: expected arguments, found an empty list")
	}
	return vs
}

// caller is what is asked of who makes the call.
func (d *decoder) caller(n *yaml.Node) []Condition {
	var cs []Condition
	number := func(key string, s Subject) field {
		return field{key, func(v *yaml.Node) {
			c := Condition{Pos: d.pos(v), Subject: s}
			d.test(v, &c)
			cs = append(cs, c)
		}}
	}
	d.fields(n, "caller", number("uid", UID), number("gid", GID), field{"comm", func(v *yaml.Node) {
		c := Condition{Pos: d.pos(v), Subject: Comm}
		d.values(v, &c.Values)
		cs = append(cs, c)
	}})
	if d.err == nil && len(cs) == 0 {
		d.fail(n, "", "caller: expected uid, gid or comm")
	}
	return cs
}

// argument is what is asked of one argument.
func (d *decoder) argument(key, value *yaml.Node, c *Condition) {
	c.Arg = d.word(key, "the name of an argument")
	if value.Kind != yaml.MappingNode {
		d.either(value, "values", func(e *yaml.Node) { c.Values = append(c.Values, d.maybeEmpty(e)) })
		if len(c.Values) > 0 && isPath(c.Values[0].Text) {
			c.Subject = Path
		} else {
			d.written(value, c.Values)
		}
		return
	}
	for i := 0; i+1 < len(value.Content); i += 2 {
		switch value.Content[i].Value {
		case "path", "address", "text":
			d.fields(value, "a test of memory",
				field{"path", func(v *yaml.Node) {
					c.Subject = Path
					d.either(v, "paths", func(e *yaml.Node) { c.Values = append(c.Values, d.maybeEmpty(e)) })
				}},
				field{"address", func(v *yaml.Node) { c.Subject = Address; d.values(v, &c.Values) }},
				field{"text", func(v *yaml.Node) { c.Subject = Text; d.values(v, &c.Values) }},
			)
			if d.err == nil && len(value.Content) != 2 {
				d.fail(value, "use all: or any: for more tests", "expected one of path, address and text")
			}
			return
		}
	}
	d.test(value, c)
}

func isPath(s string) bool {
	return s == "" || strings.HasPrefix(s, "=/") || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./")
}

func (d *decoder) values(n *yaml.Node, to *[]Value) {
	d.either(n, "values", func(e *yaml.Node) { *to = append(*to, d.value(e)) })
	d.written(n, *to)
}

// written refuses an empty list, and values of no text, which are paths.
func (d *decoder) written(n *yaml.Node, vs []Value) {
	if d.err == nil && len(vs) == 0 {
		d.fail(n, "", "expected a value, found an empty list")
	}
	for _, v := range vs {
		if d.err == nil && v.Text == "" {
			d.err = Wrong(v.Pos, "", "expected a value, found \"\" behind one that is no path")
		}
	}
}

// maybeEmpty is a value of a list of paths, in which "" stands for no path at all.
func (d *decoder) maybeEmpty(n *yaml.Node) Value {
	if d.check(n) && n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "" {
		return Value{Pos: d.pos(n)}
	}
	return d.value(n)
}

func (d *decoder) value(n *yaml.Node) Value {
	return Value{Pos: d.pos(n), Text: d.scalar(n, "a value")}
}

// test reads a test of a number: a value, a list of them, or a mapping with an operator.
func (d *decoder) test(n *yaml.Node, c *Condition) {
	if n.Kind != yaml.MappingNode {
		d.values(n, &c.Values)
		return
	}
	var said []string
	test := func(key string, how Compare, read func(v *yaml.Node)) field {
		return field{key, func(v *yaml.Node) { said, c.Compare = append(said, key), how; read(v) }}
	}
	several := func(v *yaml.Node) { d.values(v, &c.Values) }
	single := func(v *yaml.Node) { c.Values = []Value{d.value(v)} }
	var from, to Value
	d.fields(n, "a test", test("is", Is, several), test("not", IsNot, several), test("lt", Less, single), test("le", LessEqual, single),
		test("gt", Greater, single), test("ge", GreaterEqual, single), test("all", AllBits, single), test("any", AnyBit, single),
		test("none", NoBit, single), test("mask", MaskedIs, func(v *yaml.Node) { c.Mask = d.value(v) }),
		test("from", Between, func(v *yaml.Node) { from = d.value(v) }), test("to", Between, func(v *yaml.Node) { to = d.value(v) }),
		field{"width", func(v *yaml.Node) { c.Width = 32 + 32*d.choice(v, "32", "64") }})
	sort.Strings(said)
	switch all := strings.Join(said, " "); {
	case all == "is mask":
		c.Compare = MaskedIs
	case all == "from to":
		c.Values = []Value{from, to}
	case len(said) != 1 || all == "mask" || all == "from" || all == "to":
		d.fail(n, "use all: or any: for more tests", "expected one test: is, not, lt, le, gt, ge, all, any, none, mask with is, or from with to")
	}
}
