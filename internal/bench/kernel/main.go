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
// Of servers, instructions are counted for a request, its way through the network and
// who asks included, on the one processor: what requests per second depend on, without
// the load of the machine. The rules that are *searched* are those of the built-in filter
// cache, with the calls of a request at the end of its list of 256.
//
// The same classic programs also run on another kernel, of the same configuration but
// without the patches: what the patches add where no eBPF filter is.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"portcullis/internal/bench/tables"
	"portcullis/internal/guest"
)

const usage = `usage: kernel [-rounds N] [-calls N] [-json] [SUBJECT]...

Measures what filters cost in the kernel engine's guest. The subjects, all without one:

  calls      instructions of a call, against bars
  patches    what the patches add to a call without eBPF filters, against bars
  servers    instructions of a request to nginx and redis
  wall       nanoseconds of a call

Needs the kernel of linux/build --measure, what a guest needs, and gcc; for patches the
kernel of linux/build --measure --unpatched, for servers nginx and redis.

  kernel                    as make bench-kernel does
  kernel -json >out.json    for a program to read

`

// part is what can be asked for by name.
type part struct {
	name string
	run  func(*lab, *report) error
}

// parts are the subjects, in the order of the report.
func parts() []part {
	return []part{{"calls", (*lab).count}, {"patches", (*lab).compare}, {"servers", (*lab).serve}, {"wall", (*lab).clock}}
}

// check refuses what would measure nothing.
func (o *options) check() error {
	if o.rounds < 1 || o.calls < 1 {
		return fmt.Errorf("-rounds %d, -calls %d: expected at least 1", o.rounds, o.calls)
	}
	for _, name := range o.parts {
		known := false
		for _, p := range parts() {
			known = known || p.name == name
		}
		if !known {
			return fmt.Errorf("no subject %q: there are calls, patches, servers and wall", name)
		}
	}
	return nil
}

// wants tells whether a part is to be measured.
func (o *options) wants(name string) bool {
	for _, n := range o.parts {
		if n == name {
			return true
		}
	}
	return len(o.parts) == 0
}

func main() {
	guest.MaybeInit()
	if len(os.Args) > 2 && os.Args[1] == insideWord {
		end(inside(os.Args[2], os.Stdout))
	}
	o := options{text: os.Stdout, flavour: guest.Measure}
	flag.IntVar(&o.rounds, "rounds", 20, "in how many rounds a call is made")
	flag.IntVar(&o.calls, "calls", 1000, "how often in each of them")
	asJSON := flag.Bool("json", false, "print one JSON object in place of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	o.parts = flag.Args()
	if err := o.check(); err != nil {
		fmt.Fprintf(os.Stderr, "kernel: %v\n", err)
		os.Exit(2)
	}
	if *asJSON {
		o.text = io.Discard
	}
	r, err := run(o)
	if err == nil && *asJSON {
		err = tables.WriteJSON(os.Stdout, r)
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
	flavour       guest.Flavour // tests make do with the plain one
	parts         []string
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
	for _, p := range parts() {
		if !o.wants(p.name) {
			continue
		}
		if err := p.run(l, r); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	r.End()
	return r, nil
}
