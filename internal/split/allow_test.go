package split_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/object"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// TestCompiledRules: of a list of 200 calls in C, 16 of which have rules, nothing is
// left to the filter. Its compiler made sets of bits of the switches, and put masks
// in registers; testdata/allow.txt is what is to be found in that.
func TestCompiledRules(t *testing.T) {
	const file, golden = "../bench/testdata/filters/allow.o", "testdata/allow.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := object.Read(file, data)
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for _, p := range ps {
		if p.Name != "rules" {
			continue
		}
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree := split.Split(v)
		for _, c := range syscalls.All() {
			part := tree.Find(abi.ArchX86_64, c.Nr)
			if part.Kind() != split.Static {
				t.Errorf("%s is %s: %s", c.Name, part.Kind(), part.Leaf.Why.Text)
			}
			if part.Decision != nil {
				found.WriteString(c.Name + "\n" + outline(part.Decision, "  "))
			}
		}
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(golden, []byte(found.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if found.String() != string(want) {
		t.Errorf("found\n%s\nexpected\n%s", found.String(), want)
	}
}
