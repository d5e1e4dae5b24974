package cli

import (
	"testing"

	"portcullis/internal/engine"
)

func needAgent(t *testing.T) {
	t.Helper()
	for _, f := range engine.Probe() {
		if f.Engine == engine.Agent && f.Needed && !f.Have {
			t.Skipf("needs %s (agent engine): %s", f.Name, f.Remedy)
		}
	}
}

func needTracing(t *testing.T) {
	t.Helper()
	needAgent(t)
	for _, f := range engine.Probe() {
		if (f.Name == "tracing" || f.Name == "process_vm_readv") && !f.Have {
			t.Skipf("needs %s (agent engine): %s", f.Name, f.Remedy)
		}
	}
}
