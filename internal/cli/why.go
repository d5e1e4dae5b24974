package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/why"
)

// whyFlags are the flags of why.
type whyFlags struct {
	spec    specFlags
	filters []string
}

func (a *app) why() *cobra.Command {
	var o whyFlags
	cmd := a.withJSON(&cobra.Command{
		Use:   "why [flags] [EVENTS...]",
		Short: "Say what denied calls, and what would let them be made",
		Long: "Read events, as run --events writes them, or the kernel's log of seccomp (audit.log, dmesg),\n" +
			"from files, or from standard input without any, and say of each kind of denied call which\n" +
			"rule denied it, and the smallest change of the policy that would let it be made.\n\n" +
			"The kernel's log names no rule. With -f, as in run, those of the filters are named that can have\n" +
			"denied the call. run --audit has the kernel log errors, too, which it else does not.\n\n" +
			"The exit status is 0 if there are denials, 1 if there are none, 2 if a file cannot be read.",
		Example: examples("portcullis why denials.jsonl", "portcullis why --json denials.jsonl", "portcullis why audit.log", "portcullis why -f ./policy.yaml audit.log"),
		RunE:    func(_ *cobra.Command, args []string) error { return o.all(a, args) },
	})
	cmd.Flags().StringArrayVarP(&o.filters, "filter", "f", nil, "`SPEC` of a filter that made denials of the kernel's log; repeat for a stack")
	o.spec.add(cmd)
	return cmd
}

// report is an empty one, with the filters that were given.
func (o *whyFlags) report() (*why.Report, error) {
	r := &why.Report{Denials: []*why.Denial{}}
	if len(o.filters) == 0 && len(o.spec.set) > 0 {
		return nil, fmt.Errorf("why: --set %s: no filter given: expected -f SPEC with it", o.spec.set[0])
	}
	filters, err := o.spec.load(o.filters)
	if err == nil && len(filters) > 0 {
		r.Suspects, err = portcullis.Suspect(filters)
	}
	return r, err
}

func (o *whyFlags) all(a *app, files []string) error {
	r, err := o.report()
	if err != nil {
		return exit(exitUsage, err)
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, file := range files {
		if err := a.whyOne(r, file); err != nil {
			return exit(exitUsage, fmt.Errorf("why: %s: %w", file, err))
		}
	}
	if err := a.print(r, func(w io.Writer) { printWhy(w, r) }); err != nil {
		return err
	}
	if len(r.Denials) == 0 {
		return exit(exitNo, nil)
	}
	return nil
}

func (a *app) whyOne(r *why.Report, file string) error {
	if file == "-" {
		return r.Read(a.In)
	}
	f, err := os.Open(file)
	if err != nil {
		return pathCause(err)
	}
	defer f.Close()
	return r.Read(f)
}

func printWhy(w io.Writer, r *why.Report) {
	for _, d := range r.Denials {
		fmt.Fprintf(w, "%d × %s%s\n", d.Count, d.Call, byWhom(d.By))
		printCause(w, "    ", letThrough(d), &d.Cause)
		for i := range d.Causes {
			printCause(w, "      ", "", &d.Causes[i])
		}
	}
	if len(r.Denials) == 0 {
		fmt.Fprintln(w, "no denials")
	}
	if r.Others > 0 {
		fmt.Fprintf(w, "and %d denials of further kinds\n", r.Others)
	}
	if r.Lost > 0 {
		fmt.Fprintf(w, "%d events were lost: there may be more\n", r.Lost)
	}
}

func printCause(w io.Writer, indent, how string, c *why.Cause) {
	fmt.Fprintf(w, "%s%s%s from %s\n%s%s\n", indent, how, c.Verdict, c.Reason, indent, indented(c, indent))
	for _, text := range c.Warnings {
		fmt.Fprintf(w, "%sbroad: %s\n", indent, text)
	}
}

func letThrough(d *why.Denial) string {
	if d.Permitted {
		return "let through: "
	}
	return ""
}

func byWhom(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " by " + strings.Join(names, ", ")
}

// indented is a change with the place where it belongs.
func indented(c *why.Cause, indent string) string {
	if c.Change == "" {
		return "to allow it: " + c.Where
	}
	indent = "\n  " + indent
	return "to allow it, " + c.Where + ":" + indent + strings.ReplaceAll(strings.TrimRight(c.Change, "\n"), "\n", indent)
}
