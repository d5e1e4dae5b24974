package policy

import (
	"errors"
	"math/rand"
	"testing"

	"portcullis/internal/absint"
	"portcullis/internal/verify"
)

// memoryRule draws a rule about memory.
func (d drawn) memoryRule() Rule {
	r := Rule{Action: d.action()}
	var cs []Condition
	path := func(arg string) Condition {
		c := Condition{Subject: Path, Arg: arg}
		for n := 1 + d.Intn(3); n > 0; n-- {
			c.Values = append(c.Values, values([]string{"/usr/", "/usr", "/a/very/long/path/to/something", "/tmp/x*", "./", "", "=/"}[d.Intn(7)])...)
		}
		return c
	}
	switch d.Intn(5) {
	case 0:
		r.Calls, cs = names("openat"), []Condition{path("path"), {Arg: "flags", Values: []Value{{Number: d.number()}}}, {Subject: UID, Values: []Value{{Number: 0}}}}
	case 1:
		r.Calls, cs = names("rename", "link", "symlink"), []Condition{path("arg0"), path("arg1")}
	case 2:
		all := []string{"127.0.0.1", "10.0.0.0/9:80-90", "[::1]:7", "[fd00::]/65", "unix:/run/x", "unix:@y*", "unix:*", "*:53", "none"}
		c := Condition{Subject: Address, Arg: "address"}
		for n := 1 + d.Intn(4); n > 0; n-- {
			c.Values = append(c.Values, values(all[d.Intn(len(all))])...)
		}
		r.Calls, cs = names("connect", "bind", "sendto", "sendmsg")[:1+d.Intn(4)], []Condition{c, {Arg: "fd", Values: []Value{{Number: d.number()}}}}
	case 3:
		c := Condition{Subject: Arguments, Arg: "argv"}
		for n := 1 + d.Intn(3); n > 0; n-- {
			c.Argv = append(c.Argv, values([]string{"a", "*", "a-longer-one"}...)[d.Intn(3):])
		}
		r.Calls, cs = names("execve"), []Condition{path("path"), c, {Subject: Comm, Values: values("sh")}}
	default:
		r.Calls, cs = names("mount"), []Condition{{Subject: Text, Arg: "type", Values: values("nfs", "fuse*")}, path("path")}
	}
	d.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
	c := Condition{Op: Op(1 + d.Intn(2)), Sub: cs[:1+d.Intn(len(cs))]}
	if d.Intn(3) == 0 {
		c = Condition{Op: Not, Sub: []Condition{c}}
	}
	r.If = &c
	return r
}

// TestMemoryIsProven: rules about memory that compile are proven safe, however they are put
// together, and refused only where that takes too long.
func TestMemoryIsProven(t *testing.T) {
	proven := 0
	for seed := int64(0); seed < 40; seed++ {
		d := drawn{rand.New(rand.NewSource(seed)), 0}
		m := &Model{Default: d.action(), Links: LinksTrusted}
		for n := 1 + d.Intn(4); n > 0; n-- {
			m.Rules = append(m.Rules, d.memoryRule())
		}
		if d.Intn(2) == 0 {
			m.Limits = []Limit{{Calls: names("openat"), If: d.memoryRuleOf("openat").If, Max: 3, Per: d.owner()}}
		}
		p, err := Compile(m)
		var v *verify.Error
		var limit *absint.LimitError
		switch {
		case err == nil:
			proven++
			if n := len(p.Insns); n > 4000 {
				t.Errorf("seed %d: %d instructions", seed, n)
			}
		case errors.As(err, &v) && errors.As(v, &limit):
		default:
			t.Errorf("seed %d: %v: %+v\n%s", seed, err, errors.Unwrap(err), Write(m))
		}
	}
	if proven < 35 {
		t.Errorf("%d of 40 policies were proven: expected nearly all", proven)
	}
}

func (d drawn) memoryRuleOf(call string) Rule {
	for {
		if r := d.memoryRule(); in(r.Calls, call) {
			return r
		}
	}
}
