//go:build linux && amd64

package demo

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long it may take on a machine that has other things to do.
const patience = 5 * time.Minute

// The demonstration checks what it shows, so that it ends well is the test. It builds
// with the caller's caches, and drops to another user by itself where that is root.
func TestDemo(t *testing.T) {
	for _, name := range []string{"bash", "go", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: the demonstration starts it", name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join("..", "..", "demo"))
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp") // that of the tests may be another user's
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: expected it to show what it checks\n%s", err, out)
	}
	for _, want := range []string{"program 3 runs", "attempts   allowed    secret   refused", "beaten"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q: expected it among\n%s", want, out)
		}
	}
}
