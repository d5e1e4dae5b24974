package load

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClosed has a reason for each program that nothing can be executed by, and for no other.
func TestClosed(t *testing.T) {
	for _, p := range Programs() {
		if (p.intrude == nil) != (p.Closed() != "") {
			t.Errorf("%s: a way in: %v, and as the reason that there is none %q: expected one of both", p.Name, p.intrude != nil, p.Closed())
		}
	}
}

// TestSeizing has the code find its texts: a displacement counts from behind itself.
func TestSeizing(t *testing.T) {
	code := seizing()
	for at, want := range map[int]string{3: "/bin/sh", 13: "echo from a shell >&2", 21: "-c"} {
		text, _, _ := bytes.Cut(code[at+4+int(binary.LittleEndian.Uint32(code[at:])):], []byte{0})
		if string(text) != want {
			t.Errorf("at %d: %q, expected %q", at, text, want)
		}
	}
}

// TestCannotSeize says of what has no such code what was expected.
func TestCannotSeize(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libc.so.6")
	if err := os.WriteFile(text, []byte("no object, but long enough for its magic number"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := codeOffset(text, "accept4", 1)
	_, static := libraryCode(os.Getpid(), "nothing", 1)
	for want, err := range map[string]error{
		"expected that it has mapped libc.so.6": static, // this test is linked statically
		"no such file":                          seize(1 << 30),
		"bad magic number":                      err,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

// TestTried tells a server that its code has ended from one that has ended otherwise.
func TestTried(t *testing.T) {
	for script, want := range map[string]bool{"exit 77": true, "exit 1": false, "kill -KILL $$": false, ":": false} {
		if err := tried(shell(t, script).end()); (err == nil) != want {
			t.Errorf("%s: %v: expected that it tried: %v", script, err, want)
		}
	}
	if tried(io.EOF) == nil {
		t.Error("expected an error of what is no end")
	}
}

// TestChildren finds those of a shell.
func TestChildren(t *testing.T) {
	s := shell(t, "trap 'kill $!; exit' TERM; tail -f /dev/null & echo one; wait")
	if err := s.await("one"); err != nil {
		t.Fatal(err)
	}
	if pids, err := childrenOf(s.process.Pid()); err != nil || len(pids) != 1 {
		t.Errorf("%v, %v: expected one", pids, err)
	}
	if pids, err := childrenOf(1 << 30); err != nil || len(pids) != 0 {
		t.Errorf("%v, %v: expected none", pids, err)
	}
}

// TestLocked has what is needed, and why it is not there, in one line.
func TestLocked(t *testing.T) {
	if text := (&LockedError{os.ErrPermission}).Error(); !strings.HasPrefix(text, "needs ") || !strings.Contains(text, "permission") || strings.Contains(text, "\n") {
		t.Errorf("%q", text)
	}
}
