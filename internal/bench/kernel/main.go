//go:build linux && amd64

// Command kernel measures what the kernel engine's filters cost, in the guest, and
// prints one table with ratios and bars: `make bench-kernel`.
//
// The guest of the first table counts instructions (guest.Counted), one processor, so
// that a figure is the same on every machine and in every run. It has what a call
// takes from user space to user space, in the quickest of some rounds, so without
// interrupts. The second table is of wall time, in a guest whose clock is the host's:
// emulation makes it slower than a machine is, and not evenly so. Everything runs as
// nobody; the kernel treats programs of those without privilege with more care.
//
//   - A *constant* call is one that all filters always allow: the kernel's bitmap answers.
//   - The *list* is of 200 calls (bench's policy.h): 199 by number alone, and getppid, the
//     call that is made, if its argument is another than one. The classic one is what
//     libseccomp makes of it in its default order, and in the eBPF ones the same
//     comparisons are what the compiler makes of them (listed), one after another
//     (chained), and a set (gathered).
//   - The *counter* looks a value up in a map and adds one to it.
//   - *As run* is the counter as `portcullis run` installs it, with what guards it.
//   - The *notifier* is one in C that counts and lets the call go on.
//   - *Calls of no pair* are those that the built-in filter serialize has nothing to say
//     about, while it orders two others.
//
// With -against, the same classic programs run on another kernel, of the same
// configuration but without the patches: what the patches add where no eBPF filter is.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"portcullis/internal/guest"
)

const usage = `usage: kernel [-rounds N] [-calls N] [-json] [-against IMAGE]

Measures what filters cost in the kernel engine's guest: in instructions, and in wall
time. Needs what a guest needs, and gcc.

  kernel                    as make bench-kernel does
  kernel -json >out.json    for a program to read

`

func main() {
	guest.MaybeInit()
	if len(os.Args) > 2 && os.Args[1] == insideWord {
		end(inside(os.Args[2], os.Stdout))
	}
	o := options{text: os.Stdout}
	flag.IntVar(&o.rounds, "rounds", 20, "in how many rounds a call is made")
	flag.IntVar(&o.calls, "calls", 1000, "how often in each of them")
	flag.StringVar(&o.against, "against", "", "an unpatched kernel's `IMAGE` to compare with")
	asJSON := flag.Bool("json", false, "print one JSON object in place of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.calls < 1 {
		fmt.Fprintln(os.Stderr, "kernel: expected rounds and calls of at least 1, and no arguments")
		os.Exit(2)
	}
	if *asJSON {
		o.text = io.Discard
	}
	r, err := run(o)
	if err == nil && *asJSON {
		err = r.writeJSON(os.Stdout)
	}
	end(err)
}

// end ends the process.
func end(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "kernel: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options are of one run.
type options struct {
	rounds, calls int
	against       string
	text          io.Writer
}

// run measures and reports.
func run(o options) (*report, error) {
	l, err := newLab(o)
	if err != nil {
		return nil, err
	}
	defer l.close()
	r := newReport(o)
	if err := l.count(r); err != nil {
		return nil, fmt.Errorf("instructions: %w", err)
	}
	if err := l.compare(r); err != nil {
		return nil, fmt.Errorf("against %s: %w", o.against, err)
	}
	if err := l.clock(r); err != nil {
		return nil, fmt.Errorf("wall time: %w", err)
	}
	r.end()
	return r, nil
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // bars hold < and >
	return e.Encode(r)
}
