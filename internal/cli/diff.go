package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
)

// diffFlags are the flags of diff.
type diffFlags struct {
	spec       specFlags
	setA, setB []string
	lift       []string
	trials     int
}

// maxTrials bounds --trials.
const maxTrials = 1_000_000

func (a *app) diff() *cobra.Command {
	var o diffFlags
	cmd := &cobra.Command{
		Use:   "diff [flags] A B",
		Short: "Compare filters by what they do to calls",
		Long: "Compare two filters, policies or stacks by effect: which calls B allows or refuses that A\n" +
			"did not, with which arguments, and what it decides by state that A decided without, or the\n" +
			"other way round. A stack is SPECs with commas between them, the first installed first.\n" +
			"What is decided by state is proven to be the same, or tried: trials find differences, and\n" +
			"prove nothing. Between policies each limit, phase, transition, edge and order that differs\n" +
			"is named, with an example.\n\n" +
			"The exit status is 0 if both are proven to do the same, 1 if they differ or might, 2 if one\n" +
			"is unreadable or refused.",
		Example: examples("portcullis diff ./old.yaml ./new.yaml",
			"portcullis diff no-exec no-exec,count-exec",
			"portcullis diff --set-a max=3 --set-b max=5 count-exec count-exec"),
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.diffTwo(&o, args[0], args[1]) },
	}
	o.spec.add(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&o.setA, "set-a", nil, "`[FILTER.]NAME=VALUE` of a variable in A alone; repeat for more")
	fs.StringArrayVar(&o.setB, "set-b", nil, "the same in B alone")
	fs.StringArrayVar(&o.lift, "lift", nil, "`GUARD` to leave out of both: i386, x32 or io_uring; repeat for more")
	fs.IntVar(&o.trials, "trials", portcullis.DefaultTrials, "make `N` trials of what is decided by state")
	return a.withJSON(cmd)
}

func (a *app) diffTwo(o *diffFlags, before, after string) error {
	if o.trials < 0 || o.trials > maxTrials {
		return exit(exitUsage, fmt.Errorf("--trials %d: expected a number from 0 to %d", o.trials, maxTrials))
	}
	x, err := o.stack(before, o.setA)
	if err != nil {
		return exit(exitUsage, err)
	}
	y, err := o.stack(after, o.setB)
	if err != nil {
		return exit(exitUsage, err)
	}
	d, err := portcullis.Compare(x, y, o.trials, o.lift...)
	if err != nil {
		return exit(exitUsage, err)
	}
	if err := a.print(d, func(w io.Writer) { printDiff(w, d) }); err != nil {
		return err
	}
	if d.Result != portcullis.DiffSame {
		return exit(exitNo, nil)
	}
	return nil
}

// stack loads the filters of one side.
func (o *diffFlags) stack(spec string, set []string) ([]*portcullis.Filter, error) {
	s := o.spec
	s.set = append(append([]string(nil), s.set...), set...)
	specs := []string{spec}
	if _, err := os.Stat(spec); err != nil { // a file's name may have commas
		specs = strings.Split(spec, ",")
	}
	return s.load(specs)
}

func printDiff(w io.Writer, d *portcullis.Diff) {
	for _, c := range d.Changes {
		printChange(w, &c)
	}
	if d.TracedBefore != d.TracedAfter {
		fmt.Fprintf(w, "%s takes a tracer, whose guards deny calls as well\n", map[bool]string{true: "A", false: "B"}[d.TracedBefore])
	}
	if len(d.Incomplete) > 0 {
		fmt.Fprintf(w, "%s: more differences than are listed\n", strings.Join(d.Incomplete, ", "))
	}
	shown := false
	for _, t := range d.Policy {
		printTerm(w, &t)
		shown = shown || t.Steps != nil
	}
	if d.State != nil && !shown {
		printState(w, d.State)
	}
	if d.Result == portcullis.DiffSame {
		fmt.Fprintln(w, "same: both decide every call alike")
	}
}

func printChange(w io.Writer, c *portcullis.DiffChange) {
	where := strings.Join(append(append([]string(nil), c.Calls...), c.Numbers...), ", ")
	if len(c.Calls) == 0 {
		where = "numbers " + where
	}
	if c.Arch != "x86_64" {
		where += " (" + c.Arch + ")"
	}
	if c.When != "" {
		where += ": " + c.When
	}
	doubt := ""
	if c.Unproven {
		doubt = ", if there is such a call"
	}
	fmt.Fprintf(w, "%s: %s -> %s%s\n", where, c.Before, c.After, doubt)
}

// maxNamed is how many calls a line about a policy names.
const maxNamed = 12

func printTerm(w io.Writer, t *portcullis.DiffTerm) {
	calls := t.Calls
	if n := len(calls) - maxNamed; n > 0 {
		calls = append(append([]string(nil), calls[:maxNamed]...), fmt.Sprintf("%d more", n))
	}
	line := fmt.Sprintf("%s: %s: %s: B allows %s than A", strings.Join(calls, ", "), t.Entry, t.What, t.Allows)
	if t.Steps == nil {
		fmt.Fprintf(w, "%s, not shown by a trial\n", line)
		return
	}
	fmt.Fprintf(w, "%s: %s -> %s at the end of\n", line, t.Before, t.After)
	printSteps(w, t.Steps)
}

func printSteps(w io.Writer, steps []string) {
	for _, line := range steps {
		fmt.Fprintf(w, "    %s\n", line)
	}
}

func printState(w io.Writer, s *portcullis.DiffState) {
	calls := strings.Join(s.Calls, ", ")
	if s.Steps == nil {
		found := "no difference found in " + plural(s.Trials, "trial")
		if s.Directed > 0 {
			found += fmt.Sprintf(" and %d directed", s.Directed)
		}
		fmt.Fprintf(w, "%s: decided by state, not proven to be the same: %s\n", calls, found)
		return
	}
	fmt.Fprintf(w, "%s: differs in state: %s -> %s at the end of\n", calls, s.Before, s.After)
	printSteps(w, s.Steps)
}
