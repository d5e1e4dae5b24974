package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"portcullis/internal/why"
)

func (a *app) why() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "why [flags] [EVENTS...]",
		Short: "Say what denied calls, and what would let them be made",
		Long: "Read events, as run --events writes them, or the kernel's log of seccomp (audit.log, dmesg),\n" +
			"from files, or from standard input without any, and say of each kind of denied call which\n" +
			"rule denied it, and the smallest change of the policy that would let it be made.\n\n" +
			"The exit status is 0 if there are denials, 1 if there are none, 2 if a file cannot be read.",
		Example: examples("portcullis why denials.jsonl", "portcullis why --json denials.jsonl", "portcullis why audit.log"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.whyAll(args) },
	})
}

func (a *app) whyAll(files []string) error {
	r := &why.Report{Denials: []*why.Denial{}}
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
		fmt.Fprintf(w, "%d × %s%s\n    %s%s from %s\n    %s\n", d.Count, d.Call, byWhom(d.By), letThrough(d), d.Verdict, d.Reason, indented(d))
		for _, text := range d.Warnings {
			fmt.Fprintf(w, "    broad: %s\n", text)
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
func indented(d *why.Denial) string {
	if d.Change == "" {
		return "to allow it: " + d.Where
	}
	return "to allow it, " + d.Where + ":\n      " + strings.ReplaceAll(strings.TrimRight(d.Change, "\n"), "\n", "\n      ")
}
