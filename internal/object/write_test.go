package object_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/filters"
	"portcullis/filters/testdata"
	"portcullis/internal/object"
	"portcullis/internal/policy"
	"portcullis/internal/prog"
	"portcullis/policies"
)

// objects are all that a compiler wrote and Read takes: the built-in filters, those of tests,
// and ready policies.
func objects(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"conformance": testdata.Conformance, "bench": testdata.Bench}
	for _, name := range append(filters.Names(), filters.Mitigations()...) {
		all[name], _ = filters.Object(name)
	}
	paths, err := filepath.Glob("testdata/*.o")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := object.Read(path, data); err == nil {
			all[filepath.Base(path)] = data
		}
	}
	for _, name := range policies.Names() {
		all["policy-"+name] = compiledPolicy(t, name)
	}
	if len(all) < 40 {
		t.Fatalf("%d objects: expected all built-in filters among them", len(all))
	}
	return all
}

// compiledPolicy is the object of a ready policy, as convert writes it.
func compiledPolicy(t testing.TB, name string) []byte {
	t.Helper()
	text, _ := policies.Policy(name)
	m, err := policy.Load(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	data, err := object.Write([]*prog.Program{p})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sortedNames are the names of objects in an order that stays.
func sortedNames(all map[string][]byte) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// described is all that there is to a set of programs, as text in which they and
// their maps have numbers instead of addresses.
func described(ps []*prog.Program) string {
	var b strings.Builder
	numbers := map[*prog.Map]int{}
	place := map[*prog.Program]int{}
	for i, p := range ps {
		place[p] = i
	}
	for _, p := range ps {
		fmt.Fprintf(&b, "program %q license %q\n%s", p.Name, p.License, describedCode(p))
		for _, m := range p.Maps {
			n, known := numbers[m]
			if !known {
				n = len(numbers)
				numbers[m] = n
			}
			fmt.Fprintf(&b, "map %d\n", n)
			if !known {
				b.WriteString(describedMap(m, place))
			}
		}
	}
	return b.String()
}

func describedCode(p *prog.Program) string {
	var b strings.Builder
	for _, f := range p.Funcs {
		fmt.Fprintf(&b, "func %+v\n", f)
	}
	for i, in := range p.Insns {
		fmt.Fprintf(&b, "%d %+v\n", i, in)
	}
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "%+v\n", l)
	}
	return b.String()
}

func describedMap(m *prog.Map, place map[*prog.Program]int) string {
	var b strings.Builder
	c := *m
	c.Contents, c.Tails, c.Record, c.Vars = nil, nil, nil, nil
	fmt.Fprintf(&b, "%+v\n%v %x\n", c, m.Contents != nil, m.Contents)
	for _, v := range m.Vars {
		fmt.Fprintf(&b, "var %+v = %q\n", v, m.Value(v))
	}
	for _, t := range m.Tails {
		n, ok := place[t.Program]
		fmt.Fprintf(&b, "tail %d %d %v\n", t.Index, n, ok)
	}
	if m.Record != nil {
		fmt.Fprintf(&b, "record %q %d\n", m.Record.Name, m.Record.Size)
		for _, f := range m.Record.Fields {
			fmt.Fprintf(&b, "field %+v\n", f)
		}
	}
	return b.String()
}

// written writes programs and reads them again.
func written(t testing.TB, name string, ps []*prog.Program) (data []byte, again []*prog.Program) {
	t.Helper()
	data, err := object.Write(ps)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	again, err = object.Read(name, data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return data, again
}

func TestWrittenIsReadAgain(t *testing.T) {
	all := objects(t)
	for _, name := range sortedNames(all) {
		ps, err := object.Read(name, all[name])
		if err != nil {
			t.Fatal(err)
		}
		data, again := written(t, name, ps)
		if diff := cmp.Diff(described(ps), described(again)); diff != "" {
			t.Errorf("%s: read and read again:\n%s", name, diff)
		}
		if twice, _ := written(t, name, again); !bytes.Equal(data, twice) {
			t.Errorf("%s: the same programs were written in two ways", name)
		}
	}
}
