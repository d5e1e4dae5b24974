//go:build linux && amd64

package attack

import (
	"errors"
	"io"
	"os/exec"
	"testing"
)

// TestStrangersAreLeftAlone attacks the promise that a supervisor waits for its own
// targets and for nobody else: other commands of the same process, started before, end
// while it traces, and their ends are for whoever started them.
func TestStrangersAreLeftAlone(t *testing.T) {
	strangers := make([]*stranger, 16)
	for i := range strangers {
		strangers[i] = newStranger(t)
	}
	dir := arena(t)
	ended := make(chan error, len(strangers))
	for _, s := range strangers {
		traced := command(t, "pinned:paths", attacker(t), "toctou", "thread", "300", "300")
		traced.Dir = dir
		if err := traced.Start(); err != nil {
			t.Fatal(err)
		}
		s.input.Close()
		go func(s *stranger) { ended <- s.Wait() }(s)
		if err := traced.Wait(); err != nil {
			t.Errorf("target: %v: expected success", err)
		}
		await(t, traced.Done())
	}
	for range strangers {
		var exit *exec.ExitError
		if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("stranger: %v: expected exit status 7", err)
		}
	}
}

// stranger is a command that ends with status 7 when its input does.
type stranger struct {
	*exec.Cmd
	input io.WriteCloser
}

// newStranger returns when the command runs, from a thread that may be any.
func newStranger(t *testing.T) *stranger {
	t.Helper()
	s := &stranger{Cmd: exec.Command("sh", "-c", "echo; read x; exit 7")}
	var err error
	if s.input, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err == nil {
		started := make(chan error)
		go func() { started <- s.Start() }()
		err = <-started
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAtLeast(out, make([]byte, 1), 1); err != nil {
		t.Fatal(err)
	}
	return s
}
