//go:build linux && amd64

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// report is everything that one run measured, in the form of bench's.
type report struct {
	Date     string     `json:"date"`
	Command  string     `json:"command"`
	Go       string     `json:"go"`
	Rounds   int        `json:"rounds"`
	Calls    int        `json:"calls"`
	Subjects []*subject `json:"subjects"`

	text io.Writer
}

// subject is the table of one part.
type subject struct {
	Name string `json:"name"`
	Rows []line `json:"rows"`
}

// line is one row: figures, or a note in their place.
type line struct {
	Name    string   `json:"name"`
	Figures []figure `json:"figures,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// figure is a value, to be held against a bar where there is one.
type figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   *bar    `json:"bar,omitempty"`

	digits int
}

// bar is what a figure must reach.
type bar struct {
	Want string `json:"want"`
	Met  bool   `json:"met"`
}

func newReport(o options) *report {
	r := &report{
		Date: time.Now().Format("2006-01-02"), Go: runtime.Version(), Rounds: o.rounds, Calls: o.calls, text: o.text,
		Command: strings.Join(append([]string{"bench/kernel"}, os.Args[1:]...), " "),
	}
	fmt.Fprintf(o.text, "%s, %s, %s, %d rounds of %d calls\n", r.Command, r.Date, r.Go, r.Rounds, r.Calls)
	return r
}

// begin starts the table that rows go to.
func (r *report) begin(name string) {
	r.Subjects = append(r.Subjects, &subject{Name: name})
	fmt.Fprintf(r.text, "\n== %s\n", name)
}

func (r *report) add(l line) {
	last := r.Subjects[len(r.Subjects)-1]
	last.Rows = append(last.Rows, l)
}

func (r *report) row(name string, figures ...figure) {
	r.add(line{Name: name, Figures: figures})
	cells := make([]string, len(figures))
	for i, f := range figures {
		cells[i] = f.String()
	}
	fmt.Fprintf(r.text, "%-52s %s\n", name, strings.Join(cells, "  "))
}

func (r *report) note(name, note string) {
	r.add(line{Name: name, Note: note})
	fmt.Fprintf(r.text, "%-52s %s\n", name, note)
}

// end counts the bars and names those that were missed.
func (r *report) end() {
	met, missed := 0, []string(nil)
	for _, s := range r.Subjects {
		for _, l := range s.Rows {
			for _, f := range l.Figures {
				switch {
				case f.Bar == nil:
				case f.Bar.Met:
					met++
				default:
					missed = append(missed, fmt.Sprintf("  %s: %s: %s", s.Name, l.Name, f))
				}
			}
		}
	}
	fmt.Fprintf(r.text, "\nbars: %d met, %d MISSED\n", met, len(missed))
	for _, m := range missed {
		fmt.Fprintln(r.text, m)
	}
}

// String is the value with its unit and, where it has one, its bar.
func (f figure) String() string {
	s := fmt.Sprintf("%8.*f %s", f.digits, f.Value, f.Unit)
	if f.Bar == nil {
		return s
	}
	if f.Bar.Met {
		return s + " (bar: " + f.Bar.Want + " met)"
	}
	return s + " (bar: " + f.Bar.Want + " MISSED)"
}

// rounded is what is printed, and so what is held against a bar.
func (f figure) rounded() float64 {
	scale := math.Pow10(f.digits)
	return math.Round(f.Value*scale) / scale
}

func (f figure) atMost(limit float64) figure {
	f.Bar = &bar{fmt.Sprintf("<= %.*f", f.digits, limit), f.rounded() <= limit}
	return f
}

func (f figure) atLeast(limit float64) figure {
	f.Bar = &bar{fmt.Sprintf(">= %.*f", f.digits, limit), f.rounded() >= limit}
	return f
}

func value(v float64, digits int, unit string) figure {
	return figure{Value: v, Unit: unit, digits: digits}
}

func times(ratio float64, of string) figure { return value(ratio, 2, "x "+of) }
