package cli

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestObjectsAreNotForTerminals writes one to a device that is none of ours to read.
func TestObjectsAreNotForTerminals(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs pseudo-terminals: %v", err)
	}
	defer tty.Close()
	var said strings.Builder
	if code := Main([]string{"convert", "count", "-o", "-"}, Streams{Out: tty, Err: &said}); code != exitUsage {
		t.Errorf("exit status %d, want %d", code, exitUsage)
	}
	if want := "portcullis: -o -: an ELF object is not for a terminal: expected a file or a pipe\n"; said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
}

func TestNullIsNoTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs %s: %v", os.DevNull, err)
	}
	defer null.Close()
	if code := Main([]string{"convert", "count", "-o", "-"}, Streams{Out: null, Err: io.Discard}); code != exitYes {
		t.Errorf("exit status %d, want %d", code, exitYes)
	}
}
