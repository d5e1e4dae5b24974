package trial

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/event"
)

// Maker makes a world for a case, from the filter with these NAME=VALUE set.
type Maker func(settings []string) (*World, error)

// Result is what became of one case.
type Result struct {
	Name string `json:"name"`
	Line int    `json:"line"`
	OK   bool   `json:"ok"`
	// Calls are the lines that are calls.
	Calls []Outcome `json:"calls"`
}

// Outcome is what became of one line that is a call.
type Outcome struct {
	// Line and Text are the line of the file.
	Line int    `json:"line"`
	Text string `json:"text"`
	OK   bool   `json:"ok"`
	// Verdict is the answer to the last of Times calls, or to the first that was
	// not as expected.
	Verdict string `json:"verdict"`
	Times   int    `json:"times"`
	// Why says who gave the answer, and from what line.
	Why string `json:"why"`
	// Output is what the filters printed and recorded at that call.
	Output []string `json:"output,omitempty"`
	// Wrong says what was expected, where OK is false.
	Wrong string `json:"wrong,omitempty"`
	Made
}

// Run makes the world of a case and runs it. An error is one of the file, of
// type *SyntaxError, or of the maker.
func (c *Case) Run(make Maker) (*Result, error) {
	w, err := make(c.Settings)
	if err != nil {
		return nil, err
	}
	r := &Result{Name: c.Name, Line: c.Line, OK: true}
	for _, s := range c.steps {
		if s.act != nil {
			err = s.act(w)
		} else {
			var o *Outcome
			if o, err = s.ask.run(w); err == nil {
				o.Line, o.Text = s.line, s.text
				r.OK = r.OK && o.OK
				r.Calls = append(r.Calls, *o)
			}
		}
		if err != nil {
			return nil, &SyntaxError{s.line, err.Error()}
		}
	}
	return r, nil
}

// run asks as often as the question says, up to the first unexpected answer.
func (q *question) run(w *World) (*Outcome, error) {
	for i := 1; ; i++ {
		events, err := w.Ask(q.tid, &q.call)
		if err != nil {
			return nil, err
		}
		made := w.Made()
		if wrong := q.wrong(events, made); wrong != "" || i == q.times {
			o := outcome(events, made)
			o.OK, o.Wrong, o.Times = wrong == "", wrong, i
			return o, nil
		}
	}
}

// outcome describes what a call led to.
func outcome(events []event.Event, made Made) *Outcome {
	last := &events[len(events)-1]
	o := &Outcome{Verdict: event.Verdict(last.Verdict), Why: last.Explain(), Output: output(events), Made: made}
	if text := made.String(); text != "" && goesOn(last.Verdict) {
		o.Why += "; " + text
	}
	return o
}

func goesOn(v abi.Verdict) bool { return v.Action() == abi.Allow || v.Action() == abi.Log }

// output is what filters printed and recorded.
func output(events []event.Event) []string {
	var lines []string
	for i := range events[:len(events)-1] {
		e := &events[i]
		if e.Kind == event.KindRecord {
			lines = append(lines, e.Content())
		} else {
			lines = append(lines, e.Text)
		}
	}
	return lines
}

// wrong says what was expected instead of what happened; "" for nothing. A
// fault is never expected.
func (q *question) wrong(events []event.Event, made Made) string {
	last := &events[len(events)-1]
	switch {
	case last.Text != "":
		return "expected no fault"
	case q.wants && last.Verdict != q.want:
		return "expected " + event.Verdict(q.want)
	case q.output == nil:
		return q.wrongMade(made)
	}
	if got, want := strings.Join(output(events), "\n"), strings.Join(q.output, "\n"); got != want {
		return fmt.Sprintf("expected the output %q, found %q", want, got)
	}
	return q.wrongMade(made)
}

// wrongMade says what was expected to be pinned, to fault, or to be waited for.
func (q *question) wrongMade(made Made) string {
	got := made.lines()
	for _, word := range []string{"pins", "faults", "waits"} {
		if want, ok := q.made[word]; ok && got[word] != want {
			return fmt.Sprintf("expected %q, found %q", strings.TrimSpace(word+" "+want), strings.TrimSpace(word+" "+got[word]))
		}
	}
	return ""
}
