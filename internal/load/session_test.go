package load

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func (w *wanted) came() bool {
	select {
	case <-w.said:
		return true
	default:
		return false
	}
}

func said(text string) *output {
	o := &output{ended: make(chan struct{})}
	o.read(strings.NewReader(text))
	return o
}

// TestLongLine has a line that is longer than what is kept of it; reading goes on behind it.
func TestLongLine(t *testing.T) {
	o := said(strings.Repeat("x", 1<<20) + "\nready\nlast")
	if !o.want("ready").came() || !o.want("last").came() {
		t.Errorf("expected what is behind a long line to be read, found %.20q", o.last(2))
	}
	if got := len(o.last(3)); got > maxLine+len("\nready\nlast") {
		t.Errorf("%d bytes kept: expected at most %d of a line", got, maxLine)
	}
}

// TestManyLines has more lines behind and before what is wanted than are kept.
func TestManyLines(t *testing.T) {
	many := strings.Repeat("x\n", 3*maxLines)
	o := said(many)
	w := o.want("ready")
	o.ended = make(chan struct{})
	o.read(strings.NewReader(many + "ready\n" + many))
	if !w.came() {
		t.Error("expected what is wanted to be found among many lines")
	}
	if got := len(o.lines); got != maxLines {
		t.Errorf("%d lines kept: expected %d", got, maxLines)
	}
}

// TestReadError says why reading ended before its time.
func TestReadError(t *testing.T) {
	o := &output{ended: make(chan struct{})}
	o.read(io.MultiReader(strings.NewReader("a\n"), broken{}))
	if !o.has(io.ErrUnexpectedEOF.Error()) {
		t.Errorf("found %q", o.last(2))
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestStaleLines has what was said before a question not answer it, and what was said behind
// what was waited for answer the next wait.
func TestStaleLines(t *testing.T) {
	o := said("ready\nready\nother\n")
	for i, text := range []string{"ready", "ready", "other", "ready"} {
		if o.want(text).came() != (i < 3) {
			t.Errorf("%s: expected each line to be found once, in order", text)
		}
	}
	o.note("ready")
	w := o.expect("ready")
	if w.came() {
		t.Error("a line of before has answered")
	}
	if o.note("ready"); !w.came() {
		t.Error("expected a line of afterwards to answer")
	}
}

func shell(t *testing.T, script string) *session {
	t.Helper()
	s := &session{path: "/bin/sh", dir: t.TempDir(), start: Plain}
	if err := s.run("-c", script); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// TestSilent has a program end without saying what it was to say.
func TestSilent(t *testing.T) {
	s := shell(t, "echo one; exit 3")
	if err := s.await("one"); err != nil {
		t.Fatal(err)
	}
	var silent *silentError
	if err := s.await("two"); !errors.As(err, &silent) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("found %v", err)
	}
}

// TestLeftBehind kills a program that does not end together with what it has started, and has
// its output closed.
func TestLeftBehind(t *testing.T) {
	s := shell(t, "trap '' TERM; sleep 1000 & echo started; wait")
	if err := s.await("started"); err != nil {
		t.Fatal(err)
	}
	if err := s.endWithin(0); err == nil || anyStatus(err) == nil {
		t.Errorf("found %v: expected an error that is no end of its own", err)
	}
	<-s.output.ended // which who is left would keep open
	if _, err := s.pipe.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pipe: found %v: expected it to be closed", err)
	}
}

// TestNotStarted has nothing to end.
func TestNotStarted(t *testing.T) {
	s := &session{path: "/nonexistent", dir: t.TempDir(), start: Plain}
	if err := s.run(); !errors.Is(err, os.ErrNotExist) || anyStatus(err) == nil {
		t.Errorf("found %v", err)
	}
	s.close()
}

// TestEnds tells ends from each other.
func TestEnds(t *testing.T) {
	for script, own := range map[string]bool{":": true, "exit 128": true, "kill -KILL $$": false} {
		err := shell(t, script).end()
		if anyStatus(err) != nil || (byItself(err) == nil) != own {
			t.Errorf("%s: %v: expected an end by itself: %v", script, err, own)
		}
	}
}

// TestKillChild kills a child, and leaves alone who is not, or not the child of the parent.
func TestKillChild(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := killChild(cmd.Process.Pid, os.Getpid()+1); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("a child of another: %v", err)
	}
	if err := killChild(cmd.Process.Pid, os.Getpid()); err != nil {
		t.Errorf("a child that is gone: %v", err)
	}
	s := shell(t, "exec sleep 1000")
	if err := killChild(s.process.Pid(), os.Getpid()); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := s.end(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("a child: %v", err)
	}
}

// TestFew has no more steps than there are.
func TestFew(t *testing.T) {
	made := 0
	s := &session{whole: false, rand: rand.New(rand.NewSource(1))}
	one := step{"one", func() error { made++; return nil }}
	if err := s.few(3, one, one); err != nil || made != 2 {
		t.Errorf("%d steps made, %v: expected 2", made, err)
	}
	if err := s.few(1, step{"two", func() error { return io.EOF }}); err == nil || err.Error() != fmt.Sprint("two: ", io.EOF) {
		t.Errorf("found %v", err)
	}
}
