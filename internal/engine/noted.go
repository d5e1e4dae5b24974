//go:build linux && amd64

package engine

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// noted is what exec.Cmd does not know, or says only if it knows how the target has
// ended: that a tracer has taken the end, and why what the target has written could not
// be passed on.
type noted struct {
	ended chan struct{} // closed when the target's tracer has taken its end
	mu    sync.Mutex
	first error
}

// note has cmd tell what goes wrong with the streams that are copied, and has the end of
// its context leave alone a target that has ended.
func note(cmd *exec.Cmd) *noted {
	n := &noted{ended: make(chan struct{})}
	same := cmd.Stdout != nil && equal(cmd.Stdout, cmd.Stderr)
	cmd.Stdout = n.writer(cmd.Stdout)
	if same { // exec.Cmd makes one pipe then
		cmd.Stderr = cmd.Stdout
	} else {
		cmd.Stderr = n.writer(cmd.Stderr)
	}
	n.cancel(cmd)
	return n
}

// over tells whether the target's tracer has taken its end: its number may be
// somebody else's then.
func (n *noted) over() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// cancel puts over before what cmd does at the end of its context.
func (n *noted) cancel(cmd *exec.Cmd) {
	kill := cmd.Cancel
	if kill == nil { // no context
		return
	}
	cmd.Cancel = func() error {
		if n.over() {
			return os.ErrProcessDone
		}
		return kill()
	}
}

// equal is false for what cannot be compared.
func equal(a, b io.Writer) (same bool) {
	defer func() { _ = recover() }()
	return a == b
}

func (n *noted) writer(w io.Writer) io.Writer {
	if _, file := w.(*os.File); file || w == nil {
		return w
	}
	return &notingWriter{w, n}
}

func (n *noted) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.first == nil {
		n.first = err
	}
}

func (n *noted) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.first
}

// notingWriter is a writer whose first error is noted.
type notingWriter struct {
	io.Writer
	n *noted
}

// Write writes.
func (w *notingWriter) Write(b []byte) (int, error) {
	written, err := w.Writer.Write(b)
	if err != nil {
		w.n.failed(err)
	}
	return written, err
}
