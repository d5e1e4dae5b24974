package static

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
)

// value is a number near others that are drawn.
func value(r *rand.Rand) uint64 {
	base := []uint64{0, 1, 5, 8, 0xff, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 5, 1 << 63, full}
	if r.Intn(4) == 0 {
		return r.Uint64()
	}
	return base[r.Intn(len(base))] + uint64(r.Intn(3)) - 1
}

func atom(r *rand.Rand, arg int) Atom {
	a := Atom{Arg: arg, Op: Op(r.Intn(7)), Value: value(r)}
	if a.Op == Masked {
		a.Mask = value(r)
		a.Value &= a.Mask
	}
	return a
}

func holds(u []Cube, x uint64) bool {
	for _, c := range u {
		if c.Holds([6]uint64{x}) {
			return true
		}
	}
	return false
}

func cubes(atoms []Atom) (u union) {
	for _, a := range atoms {
		u = append(u, Cube{a}.Simplify())
	}
	return u
}

// TestAtoms: what is made of two comparisons holds where they say.
func TestAtoms(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for i := 0; i < 800; i++ {
		a, b := atom(r, 0), atom(r, 0)
		for k := 0; k < 30; k++ {
			x := value(r)
			if got, want := holds(cubes(both(a, b)), x), a.Holds(x) && b.Holds(x); got != want {
				t.Fatalf("%v and %v at %#x: %v", a, b, x, got)
			}
			if got := holds(cubes(a.not()), x); got == a.Holds(x) {
				t.Fatalf("not %v at %#x: %v", a, x, got)
			}
			if got := holds(cubes(a.masked()), x); got != a.Holds(x) {
				t.Fatalf("%v in masks at %#x: %v", a, x, got)
			}
			if follows(a, b) && b.Holds(x) && !a.Holds(x) {
				t.Fatalf("%v does not follow from %v: %#x", a, b, x)
			}
		}
	}
}

// TestUnions: minus and and do what they say, of cubes over two arguments.
func TestUnions(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	draw := func() (u union) {
		for n := 1 + r.Intn(4); n > 0; n-- {
			c := Cube{atom(r, 0)}
			if r.Intn(2) == 0 {
				c = append(c, atom(r, 1))
			}
			u = append(u, c.Simplify())
		}
		return u
	}
	any := func(u union, args [6]uint64) bool {
		for _, c := range u {
			if c.Holds(args) {
				return true
			}
		}
		return false
	}
	said := 0
	for i := 0; i < 500; i++ {
		u, v := draw(), draw()
		w := &work{left: maxWork}
		and, minus := u.and(v, w), u.minus(v, w)
		if w.over {
			continue
		}
		said++
		for k := 0; k < 60; k++ {
			args := [6]uint64{value(r), value(r)}
			x, y := any(u, args), any(v, args)
			if any(and, args) != (x && y) || any(minus, args) != (x && !y) || any(u.compact(), args) != x {
				t.Fatalf("%v, %v at %#x: and %v, minus %v", u, v, args, any(and, args), any(minus, args))
			}
		}
	}
	if said < 400 {
		t.Errorf("%d of 500 were not too much", said)
	}
}

// TestDynamic: what needs more than numbers is open, and no less than what it is about.
func TestDynamic(t *testing.T) {
	m, err := policy.Parse("p.yaml", []byte(`
version: 1
default: EPERM
rules:
  - deny: openat
    if: {path: [/etc/]}
    error: ENOENT
  - allow: openat
    if: {flags: {none: O_CREAT}}
  - allow: [read, write, execve, kill, accept4, listen, rename]
  - kill: ptrace
limits:
  - calls: write
    if: {fd: 2}
    max: 10
phases:
  - name: init
    deny: [accept4]
    next:
      - {on: listen, to: serve}
  - name: serve
    deny: [kill]
order:
  - once: execve
serialize:
  - first: rename
    second: unlink
`))
	if err != nil {
		t.Fatal(err)
	}
	table, err := Decide(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		call string
		args [6]uint64
		want string
	}{
		{"read", [6]uint64{}, "allow"},
		{"write", [6]uint64{1}, "allow"},
		{"write", [6]uint64{2}, "open"},
		{"openat", [6]uint64{}, "open"},
		{"openat", [6]uint64{2: 0x40}, "open"}, // it may be another error
		{"execve", [6]uint64{}, "open"},
		{"kill", [6]uint64{}, "open"},
		{"accept4", [6]uint64{}, "open"},
		{"listen", [6]uint64{}, "open"},
		{"rename", [6]uint64{}, "open"},
		{"unlink", [6]uint64{}, "EPERM"},
		{"ptrace", [6]uint64{}, "kill"},
		{"mount", [6]uint64{}, "EPERM"},
	} {
		nr, _ := syscalls.Number(c.call)
		a, dynamic := table.Verdict(nr, c.args)
		got := a.String()
		if dynamic {
			got = "open"
		}
		if got != c.want {
			t.Errorf("%s %v: %s, expected %s", c.call, c.args, got, c.want)
		}
	}
	if a, _ := table.Verdict(5000, [6]uint64{}); a.String() != "ENOSYS" {
		t.Errorf("a number without a name: %s", a)
	}
	var parts []string
	for _, p := range table.Dynamic {
		parts = append(parts, p.What)
	}
	if got := strings.Join(parts, ", "); got != "a limit, an order, what is not to be at the same time, a phase, a phase, a rule that asks for more than numbers" {
		t.Errorf("dynamic: %s", got)
	}
}

// TestBounded: conditions that multiply end, and are left open.
func TestBounded(t *testing.T) {
	var sub []policy.Condition
	for arg := 0; arg < 6; arg++ {
		c := policy.Condition{Arg: "arg" + string(rune('0'+arg)), Compare: policy.AnyBit, Width: 64, Values: []policy.Value{{Number: full}}}
		sub = append(sub, c)
	}
	m := &policy.Model{Rules: []policy.Rule{{
		Action: policy.Action{Kind: policy.Allow}, Calls: []policy.Name{{Text: "@known"}},
		If: &policy.Condition{Op: policy.All, Sub: sub},
	}}}
	for i := 0; i < 6; i++ {
		m.Rules = append(m.Rules, m.Rules[0])
	}
	for i := range m.Rules {
		m.Rules[i].Calls = []policy.Name{{Text: "mmap"}}
	}
	table, err := Decide(m)
	if err != nil {
		t.Fatal(err)
	}
	nr, _ := syscalls.Number("mmap")
	if a, dynamic := table.Verdict(nr, [6]uint64{}); !dynamic || a.Permits() || len(table.Dynamic) == 0 {
		t.Errorf("%s, %v", a, dynamic)
	}
}

func TestDecideErrors(t *testing.T) {
	group := func(name string, calls ...string) policy.Group {
		g := policy.Group{Name: name}
		for _, c := range calls {
			g.Calls = append(g.Calls, policy.Name{Text: c})
		}
		return g
	}
	for want, m := range map[string]*policy.Model{
		`expected a call of x86-64 or a group, found "raed"`:         {Rules: []policy.Rule{{Calls: []policy.Name{{Text: "raed"}}}}},
		"groups are nested more than 16 deep":                        {Groups: []policy.Group{group("@a", "@a")}, Rules: []policy.Rule{{Calls: []policy.Name{{Text: "@a"}}}}},
		"the policy includes another: convert one that stands alone": {Include: []policy.Include{{Path: "x"}}},
		`read has no argument "flags"`:                               {Rules: []policy.Rule{{Calls: []policy.Name{{Text: "read"}}, If: &policy.Condition{Arg: "flags", Values: []policy.Value{{}}}}}},
		"a test of fd compares with nothing":                         {Rules: []policy.Rule{{Calls: []policy.Name{{Text: "read"}}, If: &policy.Condition{Arg: "fd"}}}},
	} {
		if _, err := Decide(m); err == nil || err.Error() != want {
			t.Errorf("%v; expected %s", err, want)
		}
	}
}

// TestGroupsOfGroups: groups that hold others many times over are as long as the calls in them.
func TestGroupsOfGroups(t *testing.T) {
	m := &policy.Model{Rules: []policy.Rule{{Action: policy.Action{Kind: policy.Allow}, Calls: []policy.Name{{Text: "@g0"}}}}}
	for i := 0; i < maxNesting-2; i++ {
		g := policy.Group{Name: fmt.Sprint("@g", i)}
		for j := 0; j < 50; j++ {
			g.Calls = append(g.Calls, policy.Name{Text: fmt.Sprint("@g", i+1)})
		}
		m.Groups = append(m.Groups, g)
	}
	m.Groups = append(m.Groups, policy.Group{Name: fmt.Sprint("@g", maxNesting-2), Calls: []policy.Name{{Text: "read"}}})
	d := &decider{model: m, names: map[string][]uint32{}}
	if all := d.named(policy.Name{Text: "@g10"}, maxNesting); len(all) != 1 || d.err != nil {
		t.Fatalf("%d calls in @g10, %v", len(all), d.err)
	}
	if _, err := Decide(m); err != nil {
		t.Error(err)
	}
}
