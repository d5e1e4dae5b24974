package effect

import (
	"fmt"
	"math/bits"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/event"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// String is the outcome for people: "ALLOW", "ERRNO(1) EPERM", "notify".
func (o Outcome) String() string {
	if o.Kind != split.Static {
		return o.Kind.String()
	}
	return event.Verdict(o.Verdict)
}

// Move says what sort of change it is: "allowed" or "refused" where a call is made, or not
// made, that was not, or was; "verdict" where only the answer is another; "dynamic" where it
// now takes state to decide, "static" where it no longer does, and "leaf" where somebody
// else is asked.
func (c *Change) Move() string {
	before, after := c.Before.Kind == split.Static, c.After.Kind == split.Static
	switch {
	case before && !after:
		return "dynamic"
	case !before && after:
		return "static"
	case !before:
		return "leaf"
	}
	switch was, is := passes(c.Before.Verdict), passes(c.After.Verdict); {
	case is && !was:
		return "allowed"
	case was && !is:
		return "refused"
	}
	return "verdict"
}

func passes(v abi.Verdict) bool { return v.Action() == abi.Allow || v.Action() == abi.Log }

// dictionary is the constants of the sets that were asked for.
type dictionary map[string][]named

// named is a number with a name.
type named struct {
	name string
	v    uint64
}

func (d dictionary) of(set string) []named {
	if all, ok := d[set]; ok || set == "" {
		return all
	}
	all := []named{}
	for _, name := range symbol.Names(set) {
		v, _ := symbol.Constant(set, name)
		all = append(all, named{name, v})
	}
	d[set] = all
	return all
}

// words are the conditions of a change for people, by the names of the call's arguments.
func (d dictionary) words(c *Change, nr uint32) string {
	var words []string
	for _, w := range c.When {
		words = append(words, d.condition(w, c.Arch, nr))
	}
	return strings.Join(words, " && ")
}

func (d dictionary) condition(c Condition, arch abi.Arch, nr uint32) string {
	t := c.Test
	left, set := d.part(t.Part, arch, nr)
	if t.With.Size != 0 {
		right, _ := d.part(t.With, arch, nr)
		if t.Op == prog.OpJset {
			return fmt.Sprintf("%s & %s %s 0", left, right, sign("!=", "=", c.Holds))
		}
		return fmt.Sprintf("%s %s %s", left, c.operator(), right)
	}
	value := func(v uint64) string { return d.masked(v, set, t.Part) }
	switch t.Op {
	case prog.OpJset:
		return fmt.Sprintf("%s & %s %s 0", left, d.value(t.Value, set), sign("!=", "=", c.Holds))
	case prog.OpJle:
		return fmt.Sprintf("%s %s %s..%s", left, sign("in", "not in", c.Holds), value(t.Low), value(t.Value))
	case prog.OpJsgt, prog.OpJsge:
		shift := 64 - 8*int(t.Size)
		return fmt.Sprintf("%s %s %d", left, c.operator(), int64(t.Value<<shift)>>shift)
	}
	return fmt.Sprintf("%s %s %s", left, c.operator(), value(t.Value))
}

func sign(holds, fails string, h bool) string {
	if h {
		return holds
	}
	return fails
}

func (c Condition) operator() string {
	switch c.Test.Op {
	case prog.OpJeq:
		return sign("=", "!=", c.Holds)
	case prog.OpJgt:
		return sign(">", "<=", c.Holds)
	case prog.OpJge:
		return sign(">=", "<", c.Holds)
	case prog.OpJsgt:
		return sign("s>", "s<=", c.Holds)
	}
	return sign("s>=", "s<", c.Holds)
}

func whole(size uint8) uint64 { return ^uint64(0) >> (64 - 8*size) }

// part is a part by the argument's name, and the set of its constants. ".low" and ".high"
// are halves of an argument of which the kernel looks at both.
func (d dictionary) part(p split.Part, arch abi.Arch, nr uint32) (name, set string) {
	if p.Off < abi.OffArgs {
		return p.String(), ""
	}
	i := int(p.Off-abi.OffArgs) / 8
	a := symbol.Argument{Name: fmt.Sprintf("arg%d", i)}
	narrow := false
	if known := symbol.Arguments(nr); arch == abi.ArchX86_64 && i < len(known) {
		a = known[i]
		narrow = a.Bits() <= 32
	}
	name = a.Name
	switch {
	case p.Size == 4 && p.Off%8 == 4:
		name += ".high"
	case p.Size == 4 && !narrow:
		name += ".low"
	case p.Size == 8 && narrow:
		name += ".whole"
	}
	if p.Mask != whole(p.Size) {
		name += " & " + d.value(p.Mask, a.Set)
	}
	if p.Right != 0 {
		name += fmt.Sprintf(" >> %d", p.Right)
	}
	return name, a.Set
}

// masked is a number that a part is compared with. That no bit of several flags is set is
// 0, though there may be a name for it, as O_RDONLY; where the mask has a name and several
// bits it is a field, as O_ACCMODE. Small numbers without a set are in decimal.
func (d dictionary) masked(v uint64, set string, p split.Part) string {
	plain := p.Mask == whole(p.Size)
	field := false
	for _, n := range d.of(set) {
		field = field || n.v == p.Mask && bits.OnesCount64(p.Mask) > 1
	}
	if v == 0 && !plain && !field || set == "" && plain && v < 4096 {
		return fmt.Sprint(v)
	}
	return d.value(v, set)
}

// value is a number by the name of a constant, or of several that have one bit each.
func (d dictionary) value(v uint64, set string) string {
	var flags []string
	left := v
	for _, n := range d.of(set) {
		if n.v == v {
			return n.name
		}
		if bits.OnesCount64(n.v) == 1 && left&n.v != 0 {
			flags, left = append(flags, n.name), left&^n.v
		}
	}
	switch {
	case v == 0:
		return "0"
	case left == 0 && len(flags) <= 6:
		return strings.Join(flags, "|")
	}
	return fmt.Sprintf("%#x", v)
}
