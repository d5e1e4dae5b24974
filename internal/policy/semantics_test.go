package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis"
)

// TestSemantics runs the cases beside each policy: what a policy means is data.
func TestSemantics(t *testing.T) {
	for _, dir := range []string{"testdata/semantics", "../../policies"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no cases: %v", dir, err)
		}
		for _, f := range files {
			t.Run(filepath.Base(f), func(t *testing.T) { runCases(t, f) })
		}
	}
}

func runCases(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec := strings.TrimSuffix(file, ".txtar") + ".yaml"
	filter, err := portcullis.Load("./" + spec)
	if err != nil {
		t.Fatal(err)
	}
	// Each case has an installation of its own, and so state of its own.
	results, err := portcullis.TestCases(data, func([]string) ([]*portcullis.Filter, error) {
		return []*portcullis.Filter{filter}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, s := range r.Calls {
			if !s.OK {
				t.Errorf("%s:%d: %s: %s: %s (%s)", file, s.Line, r.Name, s.Text, s.Wrong, s.Why)
			}
		}
	}
}
