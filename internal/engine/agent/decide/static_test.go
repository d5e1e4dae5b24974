package decide

import (
	"strings"
	"testing"

	"portcullis/internal/prefilter"
)

func TestEventOfAStaticDenialNamesItsLine(t *testing.T) {
	var c collector
	in := install(t, Options{Observe: prefilter.ObserveDenials, Events: &c}, "static-verdicts")
	in.Decide(call(nowhere, &caller{}))
	if len(c) != 1 || c[0].Insn < 0 || !strings.Contains(c[0].Line, "conformance.c:") || c[0].Source == "" {
		t.Errorf("events %+v", c)
	}
}
