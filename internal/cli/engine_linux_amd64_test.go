package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/engine"
)

// TestStockKernel asks for the engine that this kernel does not have.
func TestStockKernel(t *testing.T) {
	for _, f := range engine.Probe() {
		if f.Engine == engine.Kernel && f.Have {
			t.Skip("needs a kernel without the kernel engine")
		}
	}
	var out, errs bytes.Buffer
	got := Main([]string{"run", "--engine", "kernel", "-f", "count-exec", "--", "true"}, Streams{Out: &out, Err: &errs})
	if got != exitOurs || !strings.HasPrefix(errs.String(), "portcullis: kernel engine: ") || !strings.Contains(errs.String(), "use the agent engine") {
		t.Errorf("status %d, %q: expected 125 and a remedy", got, &errs)
	}
}

// TestWithoutProc runs commands where there is no /proc: that it is missing is not
// a command's that was not found.
func TestWithoutProc(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to unmount /proc")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, filter := range []string{"count-exec", "no-exec"} {
		const script = `umount -l /proc && exec -a portcullis "$0" "$@"`
		cmd := exec.Command("bash", "-c", script, self, "run", "-f", filter, "--", "echo", "ran")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			t.Fatal(err)
		}
		if ended.ExitCode() != exitOurs || len(out) != 0 || !strings.Contains(errs.String(), "/proc") {
			t.Errorf("%s: %v, %q, %q: expected 125, and /proc to be named", filter, err, out, &errs)
		}
	}
}
