package portcullis_test

import (
	"testing"

	"portcullis"
)

// Check counts what Explain lists.
func TestCheckCountsWhatExplainLists(t *testing.T) {
	const traced = "internal/engine/agent/trace/testdata/filters/trace.o:"
	specs := append(portcullis.Builtins(), traced+"open", traced+"inherit", traced+"serial", traced+"trap")
	for _, spec := range specs {
		f, err := portcullis.Load(spec)
		if err != nil {
			t.Fatal(err)
		}
		report, err := f.Check()
		if err != nil {
			t.Fatal(err)
		}
		all, err := f.Explain()
		if err != nil {
			t.Fatal(err)
		}
		leaves := map[string]int{}
		for _, d := range all {
			leaves[d.Leaf]++
		}
		if report.Static != leaves["static"] || report.Notify != leaves["notify"] || report.Trace != leaves["trace"] {
			t.Errorf("%s: checked %d, %d, %d; explained %v", spec, report.Static, report.Notify, report.Trace, leaves)
		}
		if report.Clones && !report.Traced || spec == traced+"inherit" && !report.Clones {
			t.Errorf("%s: clones %v, traced %v", spec, report.Clones, report.Traced)
		}
	}
}
