package event

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxLine is the longest line Reader takes, in bytes: far above any event, and
// low enough that a file that is not one of events does not fill memory.
const maxLine = 1 << 20

// Writer writes events as JSON lines. It is not safe for concurrent use.
type Writer struct {
	w    io.Writer
	line bytes.Buffer
	err  error
}

// NewWriter writes to w, one write an event, so that lines of several writers
// to one pipe or appended file do not mix.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes one event. After the first error it writes no more and returns
// that error again.
func (w *Writer) Write(e *Event) error {
	if w.err != nil {
		return w.err
	}
	w.line.Reset()
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false) // source lines are full of "&" and "<"
	if w.err = enc.Encode(e.wire()); w.err == nil {
		_, w.err = w.w.Write(escapeControls(w.line.Bytes()))
	}
	return w.err
}

// escapeControls escapes the control characters that JSON lets pass as they are,
// DEL and U+0080 to U+009F: a line may go to a terminal, and the name of a task
// is its own to choose.
func escapeControls(line []byte) []byte {
	if !bytes.ContainsFunc(line, isControl) {
		return line
	}
	var b []byte
	for _, r := range string(line) {
		if isControl(r) {
			b = fmt.Appendf(b, `\u%04x`, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func isControl(r rune) bool { return r >= 0x7f && r < 0xa0 }

// Reader reads what Writer wrote.
type Reader struct {
	lines *bufio.Scanner
	line  int
}

// NewReader reads events from r.
func NewReader(r io.Reader) *Reader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	return &Reader{lines: lines}
}

// Read returns the next event, io.EOF after the last one, and a *SyntaxError
// for a line that is not an event. Empty lines are skipped.
func (r *Reader) Read() (Event, error) {
	for r.lines.Scan() {
		r.line++
		text := bytes.TrimSpace(r.lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			return Event{}, &SyntaxError{Line: r.line, Err: err}
		}
		return e, nil
	}
	if err := r.lines.Err(); err != nil {
		return Event{}, &SyntaxError{Line: r.line + 1, Err: err}
	}
	return Event{}, io.EOF
}

// SyntaxError says which line of a stream is not an event.
type SyntaxError struct {
	// Line counts from 1.
	Line int
	Err  error
}

// Error is one line.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d is not an event (%v): expected JSON lines as run --events writes them", e.Line, e.Err)
}

// Unwrap is the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }
