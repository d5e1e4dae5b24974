//go:build linux && amd64

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// noted is what exec.Cmd does not know, or says only if it knows how the target has
// ended: that a tracer has taken the end, that the end of a context has made it, and why
// its streams could not be copied.
type noted struct {
	ended     chan struct{} // closed when the target's tracer has taken its end
	mu        sync.Mutex
	cancelled error // what came of the end of the context
	copying   error // the first
}

// note has cmd tell what goes wrong with the streams that are copied, and what the end
// of its context does, which leaves alone a target that has ended.
func note(cmd *exec.Cmd, ctx context.Context) *noted {
	n := &noted{ended: make(chan struct{})}
	cmd.Stdin = n.reader(cmd.Stdin)
	same := cmd.Stdout != nil && equal(cmd.Stdout, cmd.Stderr)
	cmd.Stdout = n.writer(cmd.Stdout)
	if same { // exec.Cmd makes one pipe then
		cmd.Stderr = cmd.Stdout
	} else {
		cmd.Stderr = n.writer(cmd.Stderr)
	}
	n.cancel(cmd, ctx)
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

// cancel puts over before what cmd does at the end of its context, and notes what came
// of it.
func (n *noted) cancel(cmd *exec.Cmd, ctx context.Context) {
	kill := cmd.Cancel
	if kill == nil { // no context
		return
	}
	cmd.Cancel = func() error {
		if n.over() {
			return os.ErrProcessDone
		}
		err := kill()
		switch {
		case errors.Is(err, os.ErrProcessDone):
		case err != nil:
			n.keep(&n.cancelled, fmt.Errorf("exec: canceling Cmd: %w", err))
		case ctx != nil:
			n.keep(&n.cancelled, ctx.Err())
		}
		return err
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

func (n *noted) reader(r io.Reader) io.Reader {
	if _, file := r.(*os.File); file || r == nil {
		return r
	}
	return &notingReader{r, n}
}

// keep puts err into a field, if it is the first there.
func (n *noted) keep(field *error, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *field == nil {
		*field = err
	}
}

// err is the error of a target that succeeded.
func (n *noted) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancelled != nil {
		return n.cancelled
	}
	return n.copying
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
		w.n.keep(&w.n.copying, err)
	}
	return written, err
}

// notingReader is a reader whose error is noted.
type notingReader struct {
	io.Reader
	n *noted
}

// Read reads.
func (r *notingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.n.keep(&r.n.copying, err)
	}
	return n, err
}
