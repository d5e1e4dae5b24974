package portcullis

import (
	"errors"
	"testing"

	"portcullis/internal/verify"
)

// TestAuditIsAnOption has Cmd.Audit reach the engine.
func TestAuditIsAnOption(t *testing.T) {
	for _, audit := range []bool{false, true} {
		if o := (&Cmd{Audit: audit}).options(); o.Audit != audit {
			t.Errorf("Audit %v became %v", audit, o.Audit)
		}
	}
}

// TestSuspectVerifies says which filter cannot be, before any record is read.
func TestSuspectVerifies(t *testing.T) {
	f, err := Load("count")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Suspect([]*Filter{f}); err != nil || s == nil {
		t.Errorf("%v, %v", s, err)
	}
	var refused *verify.Error
	f.SetBudget(1)
	if _, err := Suspect([]*Filter{f}); !errors.As(err, &refused) {
		t.Errorf("%v: expected that its budget is too small", err)
	}
}
