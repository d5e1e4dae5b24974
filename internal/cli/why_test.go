package cli

import (
	"testing"
	"time"
)

// TestAuditIsAskedFor has run --audit reach the command.
func TestAuditIsAskedFor(t *testing.T) {
	for _, audit := range []bool{false, true} {
		o := runFlags{filters: []string{"no-exec"}, waitLimit: time.Second, audit: audit}
		if cmd, err := o.command(&app{}, []string{"true"}); err != nil || cmd.Audit != audit {
			t.Errorf("--audit=%v: %v", audit, err)
		}
	}
}
