//go:build linux && amd64

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"portcullis/internal/sys"
)

// report is everything that one run measured.
type report struct {
	Date    string `json:"date"`
	Command string `json:"command"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Go      string `json:"go"`
	// Load is the load average when the run began: above 0.5 or so, somebody
	// else was measured too.
	Load     string     `json:"load"`
	Rounds   int        `json:"rounds"`
	Subjects []*subject `json:"subjects"`

	text io.Writer
}

// subject is the table of one part.
type subject struct {
	Name string `json:"name"`
	Rows []line `json:"rows,omitempty"`
	// Skipped says what the part lacked.
	Skipped string `json:"skipped,omitempty"`
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

func newReport(rounds int, text io.Writer) *report {
	r := &report{
		Date: time.Now().Format("2006-01-02"), Kernel: sys.Release(), CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Command: strings.Join(append([]string{"bench"}, os.Args[1:]...), " "),
		Go:      runtime.Version(), Load: firstField("/proc/loadavg"), Rounds: rounds, text: text,
	}
	fmt.Fprintf(text, "%s, %s\nLinux %s, %d x %s, %s, load %s before, %d rounds\n",
		r.Command, r.Date, r.Kernel, r.CPUs, r.CPU, r.Go, r.Load, r.Rounds)
	return r
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(info), "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func firstField(path string) string {
	text, _ := os.ReadFile(path)
	if f := strings.Fields(string(text)); len(f) > 0 {
		return f[0]
	}
	return "unknown"
}

// begin starts the table that rows go to.
func (r *report) begin(name string) {
	r.Subjects = append(r.Subjects, &subject{Name: name})
	fmt.Fprintf(r.text, "\n== %s\n", name)
}

func (r *report) last() *subject { return r.Subjects[len(r.Subjects)-1] }

func (r *report) row(name string, figures ...figure) {
	r.last().Rows = append(r.last().Rows, line{Name: name, Figures: figures})
	cells := make([]string, len(figures))
	for i, f := range figures {
		cells[i] = f.String()
	}
	fmt.Fprintf(r.text, "%-52s %s\n", name, strings.Join(cells, "  "))
}

func (r *report) note(name, note string) {
	r.last().Rows = append(r.last().Rows, line{Name: name, Note: note})
	fmt.Fprintf(r.text, "%-52s %s\n", name, note)
}

func (r *report) skip(why string) {
	r.last().Skipped = why
	fmt.Fprintf(r.text, "skipped: %s\n", why)
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

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // bars hold < and >
	return e.Encode(r)
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

func (f figure) within(low, high float64) figure {
	f.Bar = &bar{fmt.Sprintf("%.*f to %.*f", f.digits, low, f.digits, high), f.Value >= low && f.Value <= high}
	return f
}

func value(v float64, digits int, unit string) figure {
	return figure{Value: v, Unit: unit, digits: digits}
}

func perCall(ns float64) figure             { return value(ns, 1, "ns/call") }
func millis(ms float64) figure              { return value(ms, 2, "ms") }
func times(ratio float64, of string) figure { return value(ratio, 2, "x "+of) }
func perSecond(n float64, of string) figure { return value(n, 0, of+"/s") }
