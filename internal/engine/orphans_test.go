//go:build linux && amd64

package engine

import (
	"os"
	"os/exec"
	"testing"

	"portcullis/internal/sys"
)

// What nobody waited for becomes a child of the supervisor, which does.
func TestTracedOrphansAreReaped(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	leaving(t)
	for pid, err := sys.EndedChild(); pid != 0 && err == nil; pid, err = sys.EndedChild() {
		_ = sys.ReapChild(pid) // of another test
	}
	r := run(t, exec.Command(python, "-c", `
import os
for i in range(10):
    if os.fork() == 0:
        for j in range(20):
            if os.fork() == 0: os._exit(0)
        os._exit(0)
print("left")
`), Options{}, traced(t, "open"))
	if !r.state.Success() || r.out != "left\n" {
		t.Errorf("%v, %q", r.state, r.out)
	}
	if pid, err := sys.EndedChild(); pid != 0 {
		t.Errorf("child %d has ended and was not waited for: %v", pid, err)
	}
}
