package policy

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/symbol"
)

// test is a Condition for one call: its names are registers and numbers.
type test struct {
	op  Op
	sub []test
	pos Pos

	subject Subject
	arg     int // the register
	length  int // the register with the length of an Address
	dirfd   int // the register with the directory of a Path, or noDirectory
	how     int // the register with the struct open_how of a Path, or noHow
	bits    int // how many of the register count
	compare Compare
	mask    uint64
	values  []uint64

	paths     []pattern
	texts     []string
	addresses []endpoint
	argv      [][]string
	// optional tells that NULL is no Path or Text, and that the kernel reads nothing there.
	optional bool
	// place is where an Address is.
	place place
}

// place is where a call has its address.
type place uint8

// The places. An address of no family ends a connection, and is IPv4 elsewhere.
const (
	bound place = iota
	connected
	// sent is an address that may be left out, inMessage one of a struct msghdr, likewise.
	sent
	inMessage
)

// noDirectory is the dirfd of a test of a path that is relative to the working directory.
const noDirectory = -1

// noHow is the how of a test of a path that is looked up as usual.
const noHow = 0

// resolveTest makes a test of a condition for a call.
func resolveTest(c *Condition, nr uint32) (*test, error) {
	t := &test{op: c.Op, pos: c.Pos, subject: c.Subject}
	if c.Op != Test {
		for i := range c.Sub {
			s, err := resolveTest(&c.Sub[i], nr)
			if err != nil {
				return nil, err
			}
			t.sub = append(t.sub, *s)
		}
		if len(t.sub) == 0 || c.Op == Not && len(t.sub) != 1 {
			return nil, Wrong(c.Pos, "", "a condition of %d others", len(t.sub))
		}
		// What the kernel alone can tell comes first: then nobody has to be asked where that
		// decides. It makes no difference else, for tests change nothing.
		sort.SliceStable(t.sub, func(i, j int) bool { return t.sub[i].cost() < t.sub[j].cost() })
		return t, nil
	}
	switch c.Subject {
	case UID, GID:
		t.bits, t.compare = 32, c.Compare
		return t, t.numbers(c, "")
	case Comm:
		for _, v := range c.Values {
			if len(v.Text) > 15 || v.Text == "" {
				return nil, Wrong(v.Pos, "", "expected a name of 1 to 15 bytes, found %s", Shown(v.Text))
			}
			t.texts = append(t.texts, v.Text)
		}
		return t, nil
	}
	a, ok := symbol.Find(nr, c.Arg)
	if !ok {
		a, ok = messageOf(c, nr)
	}
	if !ok {
		return nil, noArgument(c, nr)
	}
	t.arg = a.Index
	switch c.Subject {
	case Path:
		return t, t.path(c, nr, a)
	case Address:
		return t, t.address(c, nr, a)
	case Arguments:
		return t, t.argument(c, a)
	case Text:
		return t, t.text(c, nr, a)
	}
	if t.bits = a.Bits(); c.Width != 0 {
		t.bits = c.Width
	}
	t.compare = c.Compare
	return t, t.numbers(c, a.Set)
}

// messageOf is the argument in which there is the address that a condition is about, where that
// is none of its own.
func messageOf(c *Condition, nr uint32) (symbol.Argument, bool) {
	if c.Subject != Address || c.Arg != "address" {
		return symbol.Argument{}, false
	}
	for _, a := range symbol.Arguments(nr) {
		if a.Name == "mmsg" || a.Arg.Shape == args.Msghdr && a.Arg.Dir == args.In {
			return a, true
		}
	}
	return symbol.Argument{}, false
}

func noArgument(c *Condition, nr uint32) error {
	name, _ := syscalls.Name(nr)
	var has []string
	for _, a := range symbol.Arguments(nr) {
		has = append(has, a.Name)
	}
	remedy := "it has none"
	if len(has) > 0 {
		remedy = "it has " + strings.Join(has, ", ")
	}
	return Wrong(c.Pos, remedy, "%s has no argument %s", name, Shown(c.Arg))
}

// numbers reads the values of a test of a number.
func (t *test) numbers(c *Condition, set string) error {
	if c.Compare == MaskedIs {
		v, err := t.number(c.Mask, set)
		if err != nil {
			return err
		}
		t.mask = v
	}
	for _, v := range c.Values {
		n, err := t.number(v, set)
		if err != nil {
			return err
		}
		if c.Compare == MaskedIs && n&^t.mask != 0 {
			return Wrong(v.Pos, "", "%s has bits that the mask takes away: it is never equal", v)
		}
		t.values = append(t.values, n)
	}
	switch {
	case len(t.values) == 0:
		return Wrong(c.Pos, "", "a test of no value")
	case c.Compare == Between && (len(t.values) != 2 || t.values[0] > t.values[1]):
		return Wrong(c.Pos, "", "expected a range from a number to one that is not smaller")
	case c.Compare != Is && c.Compare != IsNot && c.Compare != MaskedIs && c.Compare != Between && len(t.values) != 1:
		return Wrong(c.Pos, "", "%d values: expected one", len(t.values))
	case c.Compare >= AllBits && t.values[0] == 0:
		return Wrong(c.Pos, "compare it with is: 0", "a test of no bit")
	}
	return nil
}

// number is one value, which has to fit into the bits that count. A negative one is as the
// kernel takes it.
func (t *test) number(v Value, set string) (uint64, error) {
	n, unknown := v.Number, ""
	if v.Text != "" {
		n, unknown = symbol.Evaluate(set, v.Text)
	}
	if unknown != "" {
		return 0, unknownConstant(v, set, unknown)
	}
	if t.bits == 64 {
		return n, nil
	}
	if n>>t.bits != 0 && int64(n)>>(t.bits-1) != -1 {
		return 0, Wrong(v.Pos, "compare all of it with width: 64", "%s does not fit into the %d bits that the kernel looks at", v, t.bits)
	}
	return n & (1<<t.bits - 1), nil
}

func unknownConstant(v Value, set, name string) error {
	remedy := ""
	switch {
	case strings.Trim(name[:1], "+-0123456789") == "":
		remedy = numberRemedy
	case set == "":
		remedy = "write the number: no names are known for this argument"
	default:
		if best := closest(name, symbol.Names(set)); best != "" {
			remedy = "perhaps " + best + " is meant"
		} else if sets := symbol.Sets(name); len(sets) > 0 {
			remedy = "it belongs to another argument"
		}
	}
	return Wrong(v.Pos, remedy, "expected a number or a name of the argument's, found %s", Shown(name))
}

// pinned tells whether the memory of an argument can be pinned whatever the others are.
func pinned(c *Condition, nr uint32, a symbol.Argument, shapes ...args.Shape) error {
	call, _ := args.Of(nr)
	for _, s := range shapes {
		if a.Arg.Shape != s {
			continue
		}
		if why, ok := call.Pinnable(a.Index); !ok {
			return Wrong(c.Pos, "", "%s of %s cannot be looked at: %s", a.Name, call.Name, why)
		}
		return nil
	}
	return Wrong(c.Pos, "", "%s of %s is not %s", a.Name, call.Name,
		map[Subject]string{Path: "a path", Text: "a text", Address: "a socket address", Arguments: "a list of arguments"}[c.Subject])
}

// cost orders tests: numbers, the caller, memory.
func (t *test) cost() int {
	most := 0
	for i := range t.sub {
		most = max(most, t.sub[i].cost())
	}
	if t.op != Test || t.subject == Argument {
		return most
	}
	if t.subject == UID || t.subject == GID || t.subject == Comm {
		return 1
	}
	return 2
}

// key tells tests apart: equal keys are equal programs.
func (t *test) key() string {
	var b strings.Builder
	t.write(&b)
	return b.String()
}

func (t *test) write(b *strings.Builder) {
	b.WriteString("(" + strconv.Itoa(int(t.op)))
	for i := range t.sub {
		t.sub[i].write(b)
	}
	if t.op == Test {
		fmt.Fprint(b, ",", t.subject, t.arg, t.length, t.dirfd, t.how, t.bits, t.compare, t.mask, t.values, t.optional, t.place)
		fmt.Fprintf(b, "%#v%q%#v%q", t.paths, t.texts, t.addresses, t.argv)
	}
	b.WriteString(")")
}
