// Package tables is the form of what is measured: figures in rows, held against bars, for
// people as they come and for programs at the end.
package tables

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tables are those of one run; they are printed as they grow.
type Tables struct {
	Subjects []*Subject `json:"subjects"`

	text io.Writer
}

// New returns tables without rows, to be printed to text.
func New(text io.Writer) Tables { return Tables{text: text} }

// Subject is the table of one part.
type Subject struct {
	Name string `json:"name"`
	Rows []Line `json:"rows,omitempty"`
	// Skipped says what the part lacked.
	Skipped string `json:"skipped,omitempty"`
}

// Line is one row: figures, or a note in their place.
type Line struct {
	Name    string   `json:"name"`
	Figures []Figure `json:"figures,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// Figure is a value, to be held against a bar where there is one.
type Figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   *Bar    `json:"bar,omitempty"`

	digits int
}

// Bar is what a figure must reach.
type Bar struct {
	Want string `json:"want"`
	Met  bool   `json:"met"`
}

// Begin starts the table that rows go to.
func (t *Tables) Begin(name string) {
	t.Subjects = append(t.Subjects, &Subject{Name: name})
	fmt.Fprintf(t.text, "\n== %s\n", name)
}

func (t *Tables) last() *Subject { return t.Subjects[len(t.Subjects)-1] }

// Row adds figures.
func (t *Tables) Row(name string, figures ...Figure) {
	t.last().Rows = append(t.last().Rows, Line{Name: name, Figures: figures})
	cells := make([]string, len(figures))
	for i, f := range figures {
		cells[i] = f.String()
	}
	fmt.Fprintf(t.text, "%-52s %s\n", name, strings.Join(cells, "  "))
}

// Note adds words in the place of figures.
func (t *Tables) Note(name, note string) {
	t.last().Rows = append(t.last().Rows, Line{Name: name, Note: note})
	fmt.Fprintf(t.text, "%-52s %s\n", name, note)
}

// Skip says why a part has no figures.
func (t *Tables) Skip(why string) {
	t.last().Skipped = why
	fmt.Fprintf(t.text, "skipped: %s\n", why)
}

// End counts the bars and names those that were missed.
func (t *Tables) End() {
	met, missed := 0, []string(nil)
	for _, s := range t.Subjects {
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
	fmt.Fprintf(t.text, "\nbars: %d met, %d MISSED\n", met, len(missed))
	for _, m := range missed {
		fmt.Fprintln(t.text, m)
	}
}

// WriteJSON writes a report that holds tables.
func WriteJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // bars hold < and >
	return e.Encode(report)
}

// String is the value with its unit and, where it has one, its bar.
func (f Figure) String() string {
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
func (f Figure) rounded() float64 {
	scale := math.Pow10(f.digits)
	return math.Round(f.Value*scale) / scale
}

// AtMost holds f against a bar.
func (f Figure) AtMost(limit float64) Figure {
	f.Bar = &Bar{fmt.Sprintf("<= %.*f", f.digits, limit), f.rounded() <= limit}
	return f
}

// AtLeast holds f against a bar.
func (f Figure) AtLeast(limit float64) Figure {
	f.Bar = &Bar{fmt.Sprintf(">= %.*f", f.digits, limit), f.rounded() >= limit}
	return f
}

// Within holds f against two bars, as it is and not as it is printed.
func (f Figure) Within(low, high float64) Figure {
	f.Bar = &Bar{fmt.Sprintf("%.*f to %.*f", f.digits, low, f.digits, high), f.Value >= low && f.Value <= high}
	return f
}

// Value is v, printed with so many digits.
func Value(v float64, digits int, unit string) Figure {
	return Figure{Value: v, Unit: unit, digits: digits}
}

// Times is a ratio.
func Times(ratio float64, of string) Figure { return Value(ratio, 2, "x "+of) }

// Repository is the root of the one that a measurement is started in.
func Repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("expected to be run inside the repository")
	}
	return filepath.Dir(mod), nil
}
