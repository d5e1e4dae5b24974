//go:build linux && amd64

package engine

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// copied notes why what a target has written could not be passed on: exec.Cmd says so
// only if it knows how the target has ended.
type copied struct {
	mu    sync.Mutex
	first error
}

// copies notes what goes wrong with the streams of cmd that are copied.
func copies(cmd *exec.Cmd) *copied {
	c := &copied{}
	same := cmd.Stdout != nil && equal(cmd.Stdout, cmd.Stderr)
	cmd.Stdout = c.note(cmd.Stdout)
	if same { // exec.Cmd makes one pipe then
		cmd.Stderr = cmd.Stdout
	} else {
		cmd.Stderr = c.note(cmd.Stderr)
	}
	return c
}

// equal is false for what cannot be compared.
func equal(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

func (c *copied) note(w io.Writer) io.Writer {
	if _, file := w.(*os.File); file || w == nil {
		return w
	}
	return &noting{w, c}
}

func (c *copied) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// noting is a writer whose first error is noted.
type noting struct {
	io.Writer
	c *copied
}

// Write writes.
func (n *noting) Write(b []byte) (int, error) {
	written, err := n.Writer.Write(b)
	if err != nil {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		if n.c.first == nil {
			n.c.first = err
		}
	}
	return written, err
}
