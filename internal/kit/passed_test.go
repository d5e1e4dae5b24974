package kit_test

import (
	"os"
	"path/filepath"
	"testing"

	"portcullis/internal/kit"
)

// run is a test that comes to an end.
type run struct {
	*testing.T
	failed bool
	end    func()
}

func (r *run) Name() string     { return "TestOfATest" }
func (r *run) Failed() bool     { return r.failed }
func (r *run) Cleanup(f func()) { r.end = f }

// What failed, and what passed with other files, has not passed.
func TestPassed(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "file")
	for i, step := range []struct {
		content string
		failed  bool
		want    bool
	}{
		{"a", true, false}, {"a", false, false}, {"a", false, true}, {"b", false, false}, {"b", false, true}, {"a", false, true},
	} {
		if err := os.WriteFile(file, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &run{T: t, failed: step.failed, end: func() {}}
		if got := kit.Passed(r, file); got != step.want {
			t.Errorf("step %d: passed before: %v, expected %v", i, got, step.want)
		}
		r.end()
	}
}
