package portcullis_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadPolicy(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "top.txt", "version: 1\ninclude: sub/base.yaml\nrules:\n  - deny: ptrace\n")
	write(t, dir, "sub/base.yaml", "version: 1\ndefault: allow\n")
	f, err := portcullis.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(); err != nil {
		t.Fatal(err)
	}
	if f.Name() != "top.txt" || len(f.Variables()) != 0 {
		t.Errorf("name %s, variables %v", f.Name(), f.Variables())
	}
	hash := f.Hash()
	write(t, dir, "sub/base.yaml", "version: 1\ndefault: kill\n")
	again, err := portcullis.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() == hash {
		t.Error("what is included is another file, and the hash is the same")
	}
	if err := f.Set("max", "1"); err == nil || !strings.Contains(err.Error(), "max") {
		t.Errorf("a variable that does not exist: %v", err)
	}
}

func TestPolicyErrors(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"call.yaml":    {"version: 1\nrules:\n  - deny: foo\n", ":3:11: there is no call of x86-64 named \"foo\""},
		"include.yaml": {"version: 1\ninclude: ../missing.yaml\n", ":2:10: including \"../missing.yaml\""},
		"pipe.yaml":    {"version: 1\ninclude: /dev/zero\n", "expected a policy, found a device"},
		"empty.yaml":   {"", ": an empty file: expected a policy"},
		"typo.yaml":    {"Version: 1\n", ":1:1: a policy has no field \"Version\""},
		"object.yaml":  {"\x7fELF", "object.yaml"},
	} {
		file := write(t, dir, name, c.text)
		_, err := portcullis.Load(file)
		var load *portcullis.LoadError
		if !errors.As(err, &load) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %s", name, err, c.want)
		}
	}
}

func TestPoliciesByName(t *testing.T) {
	f, err := portcullis.Load("few-programs")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := f.Check(); err != nil || r.Program != "few-programs" || r.Notify == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func ExampleLoadPolicy() {
	f, err := portcullis.LoadPolicy("policy.yaml", []byte(`
version: 1
default: allow
rules:
  - deny: ptrace
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := f.Check()
	fmt.Println(r.Program, r.Static, r.Notify, err)
	// Output: policy 385 0 <nil>
}
