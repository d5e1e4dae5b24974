package policy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"portcullis/internal/verify"
)

// loaded is Load with files from memory.
func loaded(text string, files map[string]string) (*Model, error) {
	return Load("policy.yaml", []byte(text), func(name string) ([]byte, error) {
		data, ok := files[strings.TrimPrefix(name, "./")]
		if !ok {
			return nil, errors.New("no such file")
		}
		return []byte(data), nil
	})
}

// load is loaded, and Compile.
func load(text string, files map[string]string) error {
	m, err := loaded(text, files)
	if err == nil {
		_, err = Compile(m)
	}
	return err
}

func TestErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/errors/errors.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(data).Files {
		t.Run(f.Name, func(t *testing.T) {
			want, text, _ := strings.Cut(string(f.Data), "\n")
			err := load(text, map[string]string{"policy.yaml": text})
			var e *Error
			if !errors.As(err, &e) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"size":   {"version: 1\n#" + strings.Repeat("x", MaxSize), "expected a policy of at most"},
		"depth":  {"version: 1\nrules: " + strings.Repeat("[", 20000), "not YAML"},
		"flow":   {"version: 1\nrules: " + strings.Repeat("{a: ", 20000), "not YAML"},
		"rules":  {"version: 1\nrules:\n" + strings.Repeat("  - allow: read\n", maxItems+1), "entries, expected at most"},
		"values": {"version: 1\nlinks: trusted\nrules:\n  - {allow: openat, if: {path: [" + strings.Repeat("/a, ", maxPatterns+1) + "]}}\n", "a list of 257 entries"},
		"work":   {"version: 1\nrules:\n" + strings.Repeat("  - {deny: \"@system-service\", if: {arg0: [1, 2, 3, 4]}}\n", 3000), "more than 65536 tests"},
		"length": {"version: 1\nlinks: trusted\nrules:\n" + strings.Repeat("  - {deny: [openat, open, stat, mkdir], if: {path: ["+strings.Repeat("/"+strings.Repeat("a", 100)+", ", 200)+"/b]}}\n", 20), "becomes more than 32768 instructions: make it simpler"},
		"apart":  {"version: 1\nserialize:\n" + strings.Repeat("  - {first: rename, second: chmod}\n", maxStates+1), "257 serializations: expected at most 256"},
		"edges":  {"version: 1\nflow:\n" + strings.Repeat("  - edges: ["+strings.Repeat("{from: start, to: dup}, ", 2049)+"]\n", 2), "flows of 4098 edges"},
		"long":   {"version: 1\nname: " + strings.Repeat("a", 5000), "expected a name, found 5000 bytes"},
	} {
		if err := load(c.text, nil); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %.300v, want one line with %s", name, err, c.want)
		}
	}
}

func TestIncludes(t *testing.T) {
	chain := map[string]string{}
	for i := 0; i < 12; i++ {
		chain["p"+string(rune('a'+i))+".yaml"] = "version: 1\ninclude: p" + string(rune('a'+i+1)) + ".yaml\n"
	}
	if err := load("version: 1\ninclude: pa.yaml\n", chain); err == nil || !strings.Contains(err.Error(), "more than 8 deep") {
		t.Errorf("a deep chain: %v", err)
	}
	wide := "version: 1\ninclude: [" + strings.Repeat("x.yaml, ", 65) + "]\n"
	if err := load(wide, map[string]string{"x.yaml": "version: 1\n"}); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("many: %v", err)
	}
	circle := map[string]string{"d/a.yaml": "version: 1\ninclude: ../d/b.yaml\n", "d/b.yaml": "version: 1\ninclude: a.yaml\n"}
	err := load("version: 1\ninclude: d/a.yaml\n", circle)
	if err == nil || err.Error() != `d/b.yaml:2:10: "a.yaml" includes itself, at last: leave one of them out` {
		t.Errorf("a circle: %v", err)
	}
	err = load("version: 1\ninclude: d/bad.yaml\n", map[string]string{"d/bad.yaml": "version: 1\nrules:\n  - allow: x\n"})
	if err == nil || !strings.HasPrefix(err.Error(), `d/bad.yaml:3:12: there is no call`) {
		t.Errorf("an error in what is included: %v", err)
	}
}

// TestIncludedBeside: of two policies that are included none takes the place of what the
// other says.
func TestIncludedBeside(t *testing.T) {
	files := map[string]string{
		"a.yaml": "version: 1\ninclude: c.yaml\nlimits: [{name: few, calls: read, max: 1}]\n",
		"b.yaml": "version: 1\ninclude: c.yaml\nlimits: [{name: few, calls: write, max: 1}]\n",
		"c.yaml": "version: 1\ngroups: {\"@x\": read}\nphases: [{name: p, allow: read}]\nlimits: [{calls: dup, max: 1}]\n",
		"d.yaml": "version: 1\ngroups: {\"@x\": write}\n",
		"e.yaml": "version: 1\nphases: [{name: q, allow: write}]\n",
	}
	m, err := loaded("version: 1\ninclude: [a.yaml, b.yaml]\n", files)
	if err != nil || len(m.Limits) != 3 || len(m.Groups) != 1 || len(m.Phases) != 1 {
		t.Errorf("two that include a third: %+v, %v", m, err)
	}
	for _, c := range [][2]string{
		{"include: [a.yaml, d.yaml]", `./d.yaml:2:10: group "@x" is there twice, also at ./c.yaml:2:10: give one another name`},
		{"include: [a.yaml, e.yaml]", `./e.yaml:2:10: there are also phases at ./c.yaml:3:10: have them in the policy that includes both`},
		{"include: [a.yaml, d.yaml]\ngroups: {\"@x\": dup}", ""},
		{"include: [a.yaml, e.yaml]\nphases: [{name: r, deny: dup}]", ""},
	} {
		err := load("version: 1\n"+c[0]+"\n", files)
		if got := fmt.Sprint(err); got != c[1] && (err != nil || c[1] != "") {
			t.Errorf("%s:\ngot  %v\nwant %s", c[0], err, c[1])
		}
	}
}

// FuzzCompile: what is taken is verified, and written and read again it is the same program.
func FuzzCompile(f *testing.F) {
	for _, dir := range []string{"testdata/semantics/", "testdata/length/", "../../policies/"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range files {
			if strings.HasSuffix(e.Name(), ".yaml") {
				data, err := os.ReadFile(dir + e.Name())
				if err != nil {
					f.Fatal(err)
				}
				f.Add(data)
			}
		}
	}
	f.Add(Write(whole()))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Load("fuzz.yaml", data, nil)
		if err != nil {
			return
		}
		p, err := Compile(m)
		if err != nil {
			return
		}
		// Many tests of paths take more steps of proof than there are: no other refusal is right.
		if _, err := verify.Program(p, verify.Options{Budget: 4_000_000}); err != nil {
			t.Fatalf("%v\n%s", err, listing(p))
		}
		again, err := Load("again.yaml", Write(m), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, Write(m))
		}
		q, err := Compile(again)
		if err != nil || len(q.Insns) != len(p.Insns) {
			t.Fatalf("written and read it is another program: %v\n%s", err, Write(m))
		}
	})
}
