//go:build linux && amd64

// Command bench measures the engines against named floors and prints one table
// of ratios per subject: `make bench` runs all of them.
//
// Every figure that is compared with another is taken in turn with it, round by
// round. The median of the rounds' ratios is printed, or in static, pin and wait the
// ratio of lower quartiles; absolute figures depend on the machine.
// docs/BENCHMARKS.md says what each subject is about, and how it is taken.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"portcullis/internal/bench/tables"
	"portcullis/internal/guest"
)

// subjects are what can be measured, in the order of the report.
var subjects = []struct {
	name string
	run  func(*lab) error
}{
	{"decide", decide},
	{"static", static},
	{"nginx", nginx},
	{"pin", pin},
	{"wait", wait},
	{"build", build},
	{"launch", launch},
	{"many", many},
	{"verify", verifyAndSplit},
	{"policies", readyPolicies},
	{"record", recording},
}

const usage = `usage: bench [-rounds N] [-json] [-build PROJECT] [SUBJECT]...

Measures the subjects, all without one, and holds them against their bars:

  decide   a decision with state, against a C notifier and an empty Go loop
  static   a decision without, against libseccomp's programs for the same policy
  nginx    requests per second under filters, libseccomp and a notifier
  pin      a decision over a path that the call then consumes, against a C tracer
  wait     two calls of which one waits for the other, and all that do not
  build    how long a project takes to be built under a filter of its paths
  launch   what a filter adds to the start of a program
  many     1,000 processes under one supervisor
  verify   how long filters take to be proved, split and compiled
  policies how long ready policies take to become programs
  record   requests per second of nginx while it is recorded, against not

A subject whose tools are missing is skipped with the line that installs them;
where it was asked for by name, that is a failure.

  bench                          everything, as make bench does
  bench -rounds 3 static nginx   two of them, roughly
  bench -json verify >out.json   for a program to read

`

func main() {
	guest.MaybeInit()
	rounds := flag.Int("rounds", 20, "how often each comparison is made; nginx and many take a third, build a fifth")
	project := flag.String("build", defaultProject, "what build builds: libbpf.a, libbpf, net/http or std")
	asJSON := flag.Bool("json", false, "print one JSON object in place of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := check(*rounds, *project, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	}
	if err := run(*rounds, *asJSON, *project, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// check refuses what would measure nothing.
func check(rounds int, project string, names []string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds %d: expected at least 1", rounds)
	}
	if _, err := chosen(project); err != nil {
		return fmt.Errorf("-build: %w", err)
	}
	var known []string
	for _, s := range subjects {
		known = append(known, s.name)
	}
	for _, n := range names {
		if !contains(known, n) {
			return fmt.Errorf("no subject %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

func run(rounds int, asJSON bool, project string, names []string) error {
	out := io.Writer(os.Stdout)
	if asJSON {
		out = io.Discard
	}
	l, err := newLab(rounds, out)
	if err != nil {
		return err
	}
	defer l.close()
	l.project = project
	err = measure(l, names)
	l.End()
	if asJSON {
		err = errors.Join(err, tables.WriteJSON(os.Stdout, l.report))
	}
	return err
}

// measure goes on after a subject that lacks something, so that a machine
// without nginx still learns the rest.
func measure(l *lab, names []string) error {
	var lacking error
	for _, s := range subjects {
		if len(names) > 0 && !contains(names, s.name) {
			continue
		}
		l.Begin(s.name)
		err := s.run(l)
		var missing *missingError
		switch {
		case errors.As(err, &missing):
			l.Skip(err.Error())
			if len(names) > 0 {
				lacking = errors.Join(lacking, fmt.Errorf("%s: %w", s.name, err))
			}
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return lacking
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}
