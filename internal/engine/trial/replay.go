package trial

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/event"
)

// maxLine is the longest line of a replay, in bytes.
const maxLine = 1 << 20

// Replay reads calls as JSON lines and asks a world about them one by one. The
// lines may be events of an earlier run; see docs/TESTING-FILTERS.md.
type Replay struct {
	w     *World
	lines *bufio.Scanner
	line  int
	first time.Time // of the first line that has a time
}

// NewReplay reads from r.
func NewReplay(w *World, r io.Reader) *Replay {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	return &Replay{w: w, lines: lines}
}

// Answer is what a line of a replay led to.
type Answer struct {
	// Line counts from 1.
	Line int
	// Events are those of the call, the verdict last; good until the next.
	Events []event.Event
	// Wrong says what the line expected instead, "" if nothing.
	Wrong string
}

// entry is a line: a call, an event, or something that happens to a task.
type entry struct {
	Kind   event.Kind `json:"kind"`
	Time   *time.Time `json:"time"`
	Pid    int        `json:"pid"`
	Tid    int        `json:"tid"`
	Comm   string     `json:"comm"`
	Call   *entryCall `json:"call"`
	Expect string     `json:"expect"`
	Task   string     `json:"task"`
	Child  int        `json:"child"`
	Wait   string     `json:"wait"`
}

type entryCall struct {
	Nr   *int64     `json:"nr"`
	Name string     `json:"name"`
	Arch string     `json:"arch"`
	Args []argument `json:"args"`
}

// argument is a number, a number as text, or {"text": "a string to point to"}.
type argument struct {
	value uint64
	text  *string
}

// UnmarshalJSON reads one of the forms.
func (a *argument) UnmarshalJSON(raw []byte) error {
	var s string
	var pointer struct {
		Text *string `json:"text"`
	}
	switch {
	case json.Unmarshal(raw, &s) == nil:
	case json.Unmarshal(raw, &pointer) == nil && pointer.Text != nil:
		a.text = pointer.Text
		return nil
	default:
		s = string(raw)
	}
	var err error
	a.value, err = integer(s)
	return err
}

// Next asks about the next call. After the last line it returns io.EOF; for a
// line that cannot be understood a *SyntaxError.
func (r *Replay) Next() (*Answer, error) {
	for r.lines.Scan() {
		r.line++
		text := bytes.TrimSpace(r.lines.Bytes())
		if len(text) == 0 {
			continue
		}
		a, err := r.one(text)
		if err != nil {
			return nil, &SyntaxError{r.line, err.Error()}
		}
		if a != nil {
			return a, nil
		}
	}
	if err := r.lines.Err(); err != nil {
		return nil, &SyntaxError{r.line + 1, err.Error()}
	}
	return nil, io.EOF
}

// one does what a line says; the answer is nil if that is no call.
func (r *Replay) one(text []byte) (*Answer, error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("%v: expected a JSON object such as {\"call\":{\"name\":\"execve\"}}", err)
	}
	if e.Kind != "" && e.Kind != event.KindVerdict {
		return nil, nil // what a filter printed or recorded then
	}
	if err := r.passTime(&e); err != nil {
		return nil, err
	}
	if e.Tid == 0 {
		e.Tid = e.Pid
	}
	if e.Tid == 0 {
		e.Tid = 1
	}
	if err := r.meet(&e); err != nil {
		return nil, err
	}
	switch {
	case e.Task != "":
		return nil, r.happen(&e)
	case e.Call != nil:
		return r.ask(&e)
	case e.Wait != "":
		return nil, nil
	}
	return nil, fmt.Errorf("expected a call, a task or a wait")
}

// passTime moves the clock by what a line says, and by how much later than the
// first it was recorded.
func (r *Replay) passTime(e *entry) error {
	if e.Wait != "" {
		d, err := time.ParseDuration(e.Wait)
		if err != nil || d < 0 {
			return fmt.Errorf("wait %q: expected a duration such as 1s or 20ms", e.Wait)
		}
		r.w.Wait(d)
	}
	if e.Time == nil {
		return nil
	}
	if r.first.IsZero() {
		r.first = *e.Time
	}
	if at := start + uint64(e.Time.Sub(r.first)); e.Time.After(r.first) && at > r.w.clock {
		r.w.clock = at
	}
	return nil
}

// meet makes the task of a line where it is seen for the first time: a record
// of calls does not say where tasks come from.
func (r *Replay) meet(e *entry) error {
	if t := r.w.tasks[e.Tid]; t == nil {
		if e.Pid != 0 && e.Pid != e.Tid && r.w.tasks[e.Pid] == nil {
			if err := r.w.Process(e.Pid); err != nil {
				return err
			}
		}
		var err error
		if e.Pid != 0 && e.Pid != e.Tid {
			err = r.w.Thread(e.Pid, e.Tid)
		} else {
			err = r.w.Process(e.Tid)
		}
		if err != nil {
			return err
		}
	}
	if e.Comm != "" {
		return r.w.Name(e.Tid, e.Comm)
	}
	return nil
}

func (r *Replay) happen(e *entry) error {
	switch e.Task {
	case "fork":
		return r.w.Fork(e.Tid, e.Child)
	case "thread":
		return r.w.Thread(e.Tid, e.Child)
	case "exec":
		return r.w.Exec(e.Tid)
	case "exit":
		return r.w.Exit(e.Tid)
	}
	return fmt.Errorf("task %q: expected fork, thread, exec or exit", e.Task)
}

func (r *Replay) ask(e *entry) (*Answer, error) {
	q := &question{tid: e.Tid}
	if err := e.Call.read(&q.call); err != nil {
		return nil, err
	}
	if e.Expect != "" {
		var err error
		if q.want, err = event.ParseVerdict(e.Expect); err != nil {
			return nil, err
		}
		q.wants = true
	}
	events, err := r.w.Ask(q.tid, &q.call)
	if err != nil {
		return nil, err
	}
	return &Answer{Line: r.line, Events: events, Wrong: q.wrong(events, r.w.Made())}, nil
}

// read turns a line's call into one to ask about.
func (c *entryCall) read(call *Call) error {
	switch c.Arch {
	case "", abi.ArchX86_64.String():
		call.Data.Arch = abi.ArchX86_64
	case abi.ArchI386.String():
		call.Data.Arch = abi.ArchI386
	default:
		return fmt.Errorf("architecture %q: expected x86_64 or i386", c.Arch)
	}
	var err error
	switch {
	case c.Nr == nil:
		call.Data.Nr, err = number(c.Name, call.Data.Arch)
	case *c.Nr < -1<<31 || *c.Nr > 1<<32-1:
		err = fmt.Errorf("call %d: expected a number of 32 bits", *c.Nr)
	default:
		call.Data.Nr = int32(*c.Nr)
	}
	if err == nil && len(c.Args) > len(call.Text) {
		err = fmt.Errorf("%d arguments: expected at most %d", len(c.Args), len(call.Text))
	}
	if err != nil {
		return err
	}
	for i, a := range c.Args {
		call.Data.Args[i], call.Text[i] = a.value, a.text
	}
	return nil
}
