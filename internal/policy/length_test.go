package policy_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"portcullis/filters"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/object"
	"portcullis/internal/policy"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// builtin is the program of a built-in filter.
func builtin(t testing.TB, name string) *prog.Program {
	t.Helper()
	data, _ := filters.Object(name)
	ps, err := object.Read(name, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("%s: no such program", name)
	return nil
}

// callset is the value of a built-in filter's set of calls, as a list of YAML.
func callset(t testing.TB, p *prog.Program, name string) string {
	t.Helper()
	for _, m := range p.Maps {
		for _, v := range m.Vars {
			if v.Name != name {
				continue
			}
			var names []string
			for _, c := range syscalls.All() {
				if word := binary.LittleEndian.Uint64(m.Contents[v.Offset+int(c.Nr/64)*8:]); word>>(c.Nr%64)&1 != 0 {
					names = append(names, c.Name)
				}
			}
			return "[" + strings.Join(names, ", ") + "]"
		}
	}
	t.Fatalf("no variable %s", name)
	return ""
}

func compiled(t testing.TB, name string, data []byte) *prog.Program {
	t.Helper()
	m, err := policy.Load(name, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Program(p, verify.Options{}); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLength: a policy becomes a program at most half as long again as a filter that says
// the same in C.
func TestLength(t *testing.T) {
	phases := builtin(t, "phases-process")
	inPlace := map[string]string{
		"phases-process": fmt.Sprintf(`
version: 1
default: allow
phases:
  - name: init
    allow: %s
    next: [{on: %s, to: serve}]
  - {name: serve, allow: %s}
`, callset(t, phases, "init_allow"), callset(t, phases, "switch_call"), callset(t, phases, "serve_allow")),
	}
	for _, name := range []string{"count-exec", "phases-process", "paths", "connect", "flow", "rate", "serialize", "count-process", "once"} {
		data := []byte(inPlace[name])
		if len(data) == 0 {
			var err error
			if data, err = os.ReadFile("testdata/length/" + name + ".yaml"); err != nil {
				t.Fatal(err)
			}
		}
		// Programs that tail calls go on in belong to the filter.
		c := 0
		v, err := verify.Program(builtin(t, name), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range v.Programs() {
			c += len(p.Program().Insns)
		}
		n := len(compiled(t, name+".yaml", data).Insns)
		t.Logf("%s: %d instructions, %d in C", name, n, c)
		if 2*n > 3*c {
			t.Errorf("%s: %d instructions: expected at most half more than the %d of C", name, n, c)
		}
	}
}

// many is a policy that names 300 calls in rules that differ from call to call.
func many() []byte {
	var b strings.Builder
	b.WriteString("version: 1\ndefault: EPERM\nrules:\n")
	for i, c := range syscalls.All()[:300] {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, "  - {allow: %s}\n", c.Name)
		case 1:
			fmt.Fprintf(&b, "  - {deny: %s, error: errno(%d)}\n", c.Name, 1+i)
		case 2:
			fmt.Fprintf(&b, "  - {allow: %s, if: {arg0: {lt: %d}, arg1: {any: 7}}}\n", c.Name, i)
		}
	}
	return []byte(b.String())
}

// BenchmarkCompile reads and compiles 300 rules.
func BenchmarkCompile(b *testing.B) {
	data := many()
	for i := 0; i < b.N; i++ {
		m, err := policy.Load("many.yaml", data, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := policy.Compile(m); err != nil {
			b.Fatal(err)
		}
	}
}

func TestManyRulesVerify(t *testing.T) { compiled(t, "many.yaml", many()) }
