package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRecordBothWays makes the same policy of a program by the agent and by counters in the
// kernel, but for the line that says which it was.
func TestRecordBothWays(t *testing.T) {
	needAgent(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to load programs into the kernel")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "cat " + file + "; (cat " + file + "); mkdir " + file + "; exec true"
	for _, mode := range []string{"allowlist", "flow"} {
		agent := recorded(t, "Observed by the agent.", "--with", "agent", "--mode", mode, "--", "/bin/sh", "-c", script)
		kernel := recorded(t, "Counted in the kernel, by eBPF programs.", "--mode", mode, "--", "/bin/sh", "-c", script)
		if agent != kernel {
			t.Errorf("%s: by the agent\n%s\nby the kernel\n%s", mode, agent, kernel)
		}
	}
}

// recorded is the policy of a command without the line that says how it was observed.
func recorded(t *testing.T, how string, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "policy.yaml")
	var errs bytes.Buffer
	if got := Main(append([]string{"record", "-o", out}, args...), Streams{In: strings.NewReader(""), Out: &errs, Err: &errs}); got != 0 {
		t.Fatalf("status %d: %s", got, errs.String())
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^# ` + regexp.QuoteMeta(how) + "\n")
	if !line.Match(text) {
		t.Errorf("expected %q in\n%s", how, text)
	}
	return string(line.ReplaceAll(text, nil))
}
