package oci

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
	"portcullis/internal/verify"
)

// tableOf is what a policy decides.
func tableOf(t testing.TB, m *policy.Model) *static.Table {
	table, err := static.Decide(m)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// again writes a policy and reads it.
func again(t testing.TB, m *policy.Model) (*policy.Model, []byte, []Loss) {
	data, losses, err := Write(m)
	if err != nil {
		t.Fatalf("%v\n%s", err, policy.Write(m))
	}
	back, _, err := Read("again.json", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return back, data, losses
}

// differ finds arguments about which two tables do not agree.
func differ(r *rand.Rand, a, b *static.Table, tries int) (abi.SeccompData, bool) {
	for _, c := range syscalls.All() {
		for i := 0; i < tries; i++ {
			d := abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64}
			for k := range d.Args {
				d.Args[k] = interesting(r)
			}
			x, _ := a.Verdict(c.Nr, d.Args)
			y, _ := b.Verdict(c.Nr, d.Args)
			if x.Verdict() != y.Verdict() {
				return d, true
			}
			if a.Find(c.Nr).Cases == nil && b.Find(c.Nr).Cases == nil {
				break
			}
		}
	}
	return abi.SeccompData{}, false
}

// TestProfilesComeBack: a profile, read, written and read again, decides the same.
func TestProfilesComeBack(t *testing.T) {
	for _, g := range recorded(t, "testdata/libseccomp.txt") {
		m, _, err := Read(g.name, g.profile)
		if err != nil {
			t.Fatal(err)
		}
		back, data, losses := again(t, m)
		if d, differs := differ(rand.New(rand.NewSource(2)), tableOf(t, m), tableOf(t, back), 200); differs {
			t.Errorf("%s: %d %#x differ; losses %v\n%s", g.name, d.Nr, d.Args, losses, data)
		}
	}
}

// TestCompiled: the program of a profile decides as libseccomp's does, as far as the
// guards let the calls come to it.
func TestCompiled(t *testing.T) {
	for _, g := range recorded(t, "testdata/libseccomp.txt") {
		m, losses, err := Read(g.name, g.profile)
		if err != nil {
			t.Fatal(err)
		}
		run := compiled(t, m)
		table, loose := tableOf(t, m), overlapping(losses)
		r := rand.New(rand.NewSource(3))
		for _, c := range syscalls.All() {
			for i := 0; i < 100 && !loose[c.Name]; i++ {
				d := abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64}
				for k := range d.Args {
					d.Args[k] = interesting(r)
				}
				want, _ := table.Verdict(c.Nr, d.Args)
				if got := abi.Verdict(run.Run(nil, &d).Ret); got != want.Verdict() {
					t.Errorf("%s: %s %#x: %s, the table says %s", g.name, c.Name, d.Args, got, want)
					break
				}
			}
		}
	}
}

// compiled is a machine for a policy that needs nothing of the outside.
func compiled(t *testing.T, m *policy.Model) *interp.Machine {
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := maps.NewSet(v.Program().Maps)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// drawn is a policy of rules about numbers, one after the other.
func drawn(r *rand.Rand) *policy.Model {
	calls := []string{"read", "openat", "socket", "clone", "mmap", "ioctl", "prctl", "kill", "@swap"}
	m := &policy.Model{Default: action(r), Unknown: action(r)}
	for n := r.Intn(12); n > 0; n-- {
		rule := policy.Rule{Action: action(r), Calls: []policy.Name{{Text: calls[r.Intn(len(calls))]}, {Text: calls[r.Intn(len(calls))]}}}
		if r.Intn(4) > 0 {
			c := condition(r, 2)
			rule.If = &c
		}
		m.Rules = append(m.Rules, rule)
	}
	return m
}

func action(r *rand.Rand) policy.Action {
	a := policy.Action{Kind: []policy.ActionKind{policy.Allow, policy.Log, policy.Errno, policy.Trap, policy.KillThread, policy.Kill}[r.Intn(6)]}
	if a.Kind == policy.Errno {
		a.Data = []uint16{1, 13, 38}[r.Intn(3)]
	}
	return a
}

func condition(r *rand.Rand, depth int) policy.Condition {
	if op := policy.Op(r.Intn(5)); depth > 0 && op > policy.Test && op <= policy.Not {
		c := policy.Condition{Op: op, Sub: []policy.Condition{condition(r, depth-1)}}
		if op != policy.Not {
			c.Sub = append(c.Sub, condition(r, depth-1))
		}
		return c
	}
	c := policy.Condition{Arg: []string{"arg0", "arg4"}[r.Intn(2)], Width: 32 + 32*r.Intn(2), Compare: policy.Compare(r.Intn(int(policy.NoBit) + 1))}
	n := 1
	switch c.Compare {
	case policy.Is, policy.IsNot:
		n = 1 + r.Intn(3)
	case policy.Between:
		n = 2
	}
	for ; n > 0; n-- {
		c.Values = append(c.Values, policy.Value{Number: interesting(r)})
	}
	c.Mask = policy.Value{Number: interesting(r)}
	if c.Width == 32 {
		for i := range c.Values {
			c.Values[i].Number &= 0xffffffff
		}
		c.Mask.Number &= 0xffffffff
	}
	if c.Compare == policy.Between && c.Values[0].Number > c.Values[1].Number {
		c.Values[0], c.Values[1] = c.Values[1], c.Values[0]
	}
	if c.Compare >= policy.AllBits && c.Values[0].Number == 0 {
		c.Values[0].Number = 6
	}
	if c.Compare == policy.MaskedIs {
		c.Values[0].Number &= c.Mask.Number
	}
	return c
}

// TestTables: the table of a policy says what the policy does, and so does its profile,
// whether it is written with an order or without.
func TestTables(t *testing.T) {
	static := 0
	for seed := int64(0); seed < 40; seed++ {
		r := rand.New(rand.NewSource(seed))
		m := drawn(r)
		table := tableOf(t, m)
		if len(table.Dynamic) > 0 {
			continue // too much to be said
		}
		static++
		agrees(t, r, m, table)
		back, _, _ := again(t, m)
		agrees(t, r, back, table)
	}
	if static < 20 {
		t.Errorf("only %d of 40 policies are static", static)
	}
}

// agrees compares a policy's program with its table.
func agrees(t *testing.T, r *rand.Rand, m *policy.Model, table *static.Table) {
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatalf("%v\n%s", err, policy.Write(m))
	}
	if _, err := verify.Program(p, verify.Options{}); err != nil {
		t.Fatalf("%v\n%s", err, policy.Write(m))
	}
	run := compiled(t, m)
	for _, c := range syscalls.All() {
		for i := 0; i < 100; i++ {
			d := abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64}
			for k := range d.Args {
				d.Args[k] = interesting(r)
			}
			want, _ := table.Verdict(c.Nr, d.Args)
			if got := abi.Verdict(run.Run(nil, &d).Ret); got != want.Verdict() {
				t.Fatalf("%s %#x: %s, the table says %s\n%s", c.Name, d.Args, got, want, policy.Write(m))
			}
			if table.Find(c.Nr).Cases == nil {
				break
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"container.json", "audit.json", "corners.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/profiles", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"name":"prctl","action":"SCMP_ACT_KILL"}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := Read("fuzz.json", data)
		if err != nil {
			var e *policy.Error
			if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%T %q", err, err)
			}
			return
		}
		table, err := static.Decide(m)
		if err != nil {
			t.Fatal(err)
		}
		back, written, _ := again(t, m)
		if d, differs := differ(rand.New(rand.NewSource(1)), table, tableOf(t, back), 3); differs && len(table.Dynamic) == 0 {
			t.Errorf("%d %#x differ\n%s\n%s", d.Nr, d.Args, data, written)
		}
	})
}
