package cli

import (
	"fmt"
	"io"

	"portcullis/internal/event"
)

// maxKinds is how many kinds of denials are explained; more would bury the
// command's own output. The others are counted.
const maxKinds = 16

// kind is what denials have in common that are explained once.
type kind struct {
	title, explanation string
	permitted          bool
}

// digest explains denials as they come: the first of a kind in full, the others
// as a count when the command has ended.
type digest struct {
	w     io.Writer
	order []kind
	seen  map[kind]int
	other int
	lost  uint64
	full  uint64 // records that found no room
	// records counts what filters put into ring buffers: too much to be shown.
	records int
}

func newDigest(w io.Writer) *digest { return &digest{w: w, seen: map[kind]int{}} }

// add takes one event; verdicts other than denials are ignored.
func (d *digest) add(e *event.Event) {
	switch {
	case e.Kind == event.KindPrint:
		fmt.Fprintf(d.w, "portcullis: %s\n", e)
	case e.Kind == event.KindRecord:
		d.records++
	case e.Kind == event.KindLost && e.Map != "":
		d.full += e.Lost
	case e.Kind == event.KindLost:
		d.lost += e.Lost
	case e.Denies(), e.Permitted:
		d.deny(e)
	}
}

func (d *digest) deny(e *event.Event) {
	k := kind{title: e.Call.Title(), explanation: e.Explain(), permitted: e.Permitted}
	if d.seen[k] == 0 && len(d.order) >= maxKinds {
		d.other++
		return
	}
	if d.seen[k]++; d.seen[k] > 1 {
		return
	}
	d.order = append(d.order, k)
	fmt.Fprintf(d.w, "portcullis: %s %s\n", verb(e.Permitted), e)
}

// verb is what became of a call that a verdict denies.
func verb(permitted bool) string {
	if permitted {
		return "let through"
	}
	return "denied"
}

// close says how often what was explained once has happened.
func (d *digest) close() {
	for _, k := range d.order {
		if n := d.seen[k]; n > 1 {
			fmt.Fprintf(d.w, "portcullis: %s %s %d times: %s\n", verb(k.permitted), k.title, n, k.explanation)
		}
	}
	if d.other > 0 {
		fmt.Fprintf(d.w, "portcullis: %d more denials of other kinds; --events FILE has them all\n", d.other)
	}
	if d.records > 0 {
		fmt.Fprintf(d.w, "portcullis: the filters recorded %s; --events FILE shows them\n", plural(d.records, "record"))
	}
	if d.full > 0 {
		fmt.Fprintf(d.w, "portcullis: %d records found no room in the filters' ring buffers\n", d.full)
	}
	if d.lost > 0 {
		fmt.Fprintf(d.w, "portcullis: %d events came too fast to be looked at\n", d.lost)
	}
}
