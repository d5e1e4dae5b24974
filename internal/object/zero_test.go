package object

import (
	"testing"

	"portcullis/filters/testdata"
)

// The compiler marks code of its own with line 0, which is no place to send a
// reader to: such code belongs to the line before it.
func TestNoLineZero(t *testing.T) {
	ps, err := Read("conformance", testdata.Conformance)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		for _, l := range p.Lines {
			if l.Line == 0 {
				t.Errorf("program %s: instruction %d is on line 0 of %s", p.Name, l.Insn, l.File)
			}
		}
	}
}
