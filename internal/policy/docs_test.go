package policy

import (
	"os"
	"regexp"
	"testing"

	"portcullis/internal/verify"
)

// TestDocumentsCompile: every example of the manual is a policy.
func TestDocumentsCompile(t *testing.T) {
	data, err := os.ReadFile("../../docs/POLICIES.md")
	if err != nil {
		t.Fatal(err)
	}
	s := readSchema(t)
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(data), -1)
	if len(found) < 10 {
		t.Fatalf("%d examples: expected more", len(found))
	}
	for _, f := range found {
		m, err := Load("example.yaml", []byte(f[1]), Ready)
		if err != nil {
			t.Errorf("%v\n%s", err, f[1])
			continue
		}
		p, err := Compile(m)
		if err != nil {
			t.Errorf("%v\n%s", err, f[1])
			continue
		}
		if _, err := verify.Program(p, verify.Options{}); err != nil {
			t.Errorf("%v\n%s", err, f[1])
		}
		if why := valid(t, s, []byte(f[1])); why != "" {
			t.Errorf("not valid by the schema: %s\n%s", why, f[1])
		}
	}
}
