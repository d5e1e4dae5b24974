// Command evaluate measures what phases are worth: how many system calls real servers make
// until they serve, and how many from then on, and what policies of several kinds refuse of
// them. `make evaluate` prints it; docs/EVALUATION.md explains it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"

	"portcullis/internal/load"
)

// servers are those of the comparison, in its order.
func servers() []string {
	return []string{"nginx", "apache2", "lighttpd", "redis", "memcached", "named"}
}

const usage = `usage: evaluate [--runs N] [--json] [SERVER]...

Plays the loads of servers with all of their calls observed, follows the phases of the
policy that Portcullis has for each, and counts. A server that is not installed is told on
standard error and left out; where it was asked for by name, that is a failure.

`

func main() {
	runs := flag.Int("runs", 6, "how many loads are drawn for each server, 1 to 100")
	inJSON := flag.Bool("json", false, "print JSON in place of tables")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if *runs < 1 || *runs > 100 {
		fmt.Fprintf(os.Stderr, "evaluate: --runs %d: expected 1 to 100\n", *runs)
		os.Exit(2)
	}
	all, err := measure(*runs, flag.Args())
	if err == nil {
		write := tables
		if *inJSON {
			write = asJSON
		}
		err = write(os.Stdout, all)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "evaluate: %v\n", err)
		os.Exit(1)
	}
}

// measure takes all servers that there are, or those that are named.
func measure(runs int, names []string) (all []Result, err error) {
	asked := len(names) > 0
	if !asked {
		names = servers()
	}
	for _, name := range names {
		p, ok := load.Named(name)
		if !ok || !slices.Contains(servers(), name) {
			return nil, fmt.Errorf("%s: expected a server, one of %v", name, servers())
		}
		r, err := evaluate(p, runs)
		var missing *load.MissingError
		switch {
		case errors.As(err, &missing) && !asked:
			fmt.Fprintf(os.Stderr, "evaluate: %s: %v\n", name, err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		default:
			all = append(all, r)
		}
	}
	return all, nil
}
