// Package why says of denied calls what denied them, and what would have to change.
//
// It reads events, as run --events writes them, and the kernel's audit records of seccomp.
// Both are texts that others wrote: what is kept is bounded, and no file that they name is
// opened.
package why

import (
	"sort"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
)

// maxDenials is how many kinds of denials are told apart.
const maxDenials = 1024

// maxNames is how many names of programs are kept of each.
const maxNames = 16

// Denial is calls that were denied alike.
type Denial struct {
	// Call is the first of them with its arguments, pointers as *.
	Call string `json:"call"`
	// Count is how many there were, By who made them.
	Count uint64   `json:"count"`
	By    []string `json:"by"`
	// Permitted tells that they were made all the same, as the run was permissive.
	Permitted bool `json:"permitted,omitempty"`
	Cause
	// Causes are what can have denied them, at most 16, where that is all that is known.
	Causes []Cause `json:"causes,omitempty"`
}

// Cause is what denied calls.
type Cause struct {
	// Verdict is what happened to them.
	Verdict string `json:"verdict"`
	// Reason is what said so: a rule, with its file and line, another filter, or a guard.
	Reason string `json:"reason"`
	// Change is the smallest change that would let them be made: lines of a policy, or ""
	// where none would; Where says where it belongs.
	Change string `json:"change,omitempty"`
	Where  string `json:"where"`
	// Warnings are what else it would let be made.
	Warnings []string `json:"warnings,omitempty"`
}

// Report is what was found.
type Report struct {
	Denials []*Denial `json:"denials"`
	// Others are denials of more kinds than can be told apart, Lost events that were lost.
	Others uint64 `json:"others,omitempty"`
	Lost   uint64 `json:"lost,omitempty"`
	// Suspects are what can have made the denials of records, nil if that is not known.
	Suspects *Suspects `json:"-"`

	known map[key]*Denial
}

// key is what denials have in common that are told together.
type key struct {
	program, line, source, text string
	insn                        int
	permitted                   bool
	leaf                        event.Leaf
	verdict                     abi.Verdict
	nr                          int32
	arch                        abi.Arch
	args                        [6]uint64
}

// Add takes in an event: denials, those that a permissive run let through, and losses; it
// passes over others.
func (r *Report) Add(e *event.Event) {
	if e.Kind == event.KindLost && e.Map == "" {
		r.Lost += e.Lost
	}
	if e.Denies() || e.Kind == event.KindVerdict && e.Permitted {
		r.denied(e, true)
	}
}

// maxText is how much is kept of a text that an event holds, in bytes.
const maxText = 256

// cleaned is an event as it is shown: its texts are short and printable, and its call has the
// name that it has here.
func cleaned(e *event.Event) *event.Event {
	c := *e
	for _, s := range [...]*string{&c.Program, &c.Line, &c.Source, &c.Text, &c.Comm} {
		if len(*s) > maxText {
			*s = (*s)[:maxText] + "…"
		}
		*s = strings.Clone(event.Printable(strings.TrimSpace(*s)))
	}
	c.Call.Name = ""
	if c.Call.Arch == abi.ArchX86_64 {
		c.Call.Name, _ = syscalls.Name(uint32(c.Call.Nr))
	}
	return &c
}

func (r *Report) denied(e *event.Event, withArguments bool) {
	e = cleaned(e)
	if r.known == nil {
		r.known = map[key]*Denial{}
	}
	k := key{
		e.Program, e.Line, e.Source, e.Text, e.Insn, e.Permitted, e.Leaf, e.Verdict,
		e.Call.Nr, e.Call.Arch, telling(&e.Call),
	}
	d := r.known[k]
	switch {
	case d == nil && len(r.known) == maxDenials:
		r.Others++
		return
	case d == nil:
		d = r.explain(e, withArguments)
		r.known[k] = d
		r.Denials = append(r.Denials, d)
	}
	d.Count++
	d.by(e.Comm)
}

func (d *Denial) by(comm string) {
	at := sort.SearchStrings(d.By, comm)
	if comm == "" || len(d.By) == maxNames || at < len(d.By) && d.By[at] == comm {
		return
	}
	d.By = append(d.By[:at], append([]string{comm}, d.By[at:]...)...)
}

// Sort puts what happened most often first.
func (r *Report) Sort() {
	sort.SliceStable(r.Denials, func(i, j int) bool { return r.Denials[i].Count > r.Denials[j].Count })
}
