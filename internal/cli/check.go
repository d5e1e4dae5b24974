package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
)

// checked is what check prints of one filter.
type checked struct {
	Spec   string             `json:"spec"`
	OK     bool               `json:"ok"`
	Error  string             `json:"error,omitempty"`
	Report *portcullis.Report `json:"report,omitempty"`
	// code is the exit status that this filter alone would give.
	code int
}

func (a *app) check() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "check [flags] SPEC...",
		Short: "Verify filters, and warn of what may surprise",
		Long: "Prove that filters are safe to run, count what is decided where, and warn of what may\n" +
			"surprise. The exit status is 0 if all are safe, 1 if one is refused, 2 if one is unreadable.\n\n" + specHelp,
		Example: examples("portcullis check ./my-filter.o", "portcullis check ./policy.yaml nginx", "portcullis check ./profile.json ./app.service",
			"portcullis check --json count-exec phases"),
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, specs []string) error { return a.checkAll(&s, specs) },
	}
	s.add(cmd)
	return a.withJSON(cmd)
}

func (a *app) checkAll(s *specFlags, specs []string) error {
	var all []checked
	code := exitYes
	if len(s.set) > 0 { // which filter a variable is of is known of all together
		if _, err := s.load(specs); err != nil {
			return exit(exitUsage, err)
		}
	}
	for _, spec := range specs {
		c := checkOne(s, specs, spec)
		code = max(code, c.code)
		all = append(all, c)
	}
	if err := a.print(all, func(w io.Writer) { printChecked(w, a.Err, all) }); err != nil {
		return err
	}
	if code != exitYes {
		return exit(code, nil)
	}
	return nil
}

// checkOne checks one of specs: the variables are those of the whole stack.
func checkOne(s *specFlags, specs []string, spec string) checked {
	c := checked{Spec: spec}
	f, err := s.one(specs, spec)
	if err != nil {
		c.Error, c.code = err.Error(), exitUsage
		return c
	}
	r, err := f.Check()
	if err != nil {
		c.Error, c.code = err.Error(), exitNo
		return c
	}
	c.OK, c.Report = true, r
	return c
}

func printChecked(out, errOut io.Writer, all []checked) {
	for _, c := range all {
		switch {
		case c.OK:
			printReport(out, c.Spec, c.Report)
		case c.code == exitUsage: // it names the filter
			fmt.Fprintln(errOut, c.Error)
		default:
			fmt.Fprintf(errOut, "%s: %s\n", c.Spec, c.Error)
		}
	}
}

func printReport(w io.Writer, spec string, r *portcullis.Report) {
	fmt.Fprintf(w, "%s: ok: %s, %d visited; of %d calls the kernel alone decides %d, the agent %s\n",
		spec, plural(r.Insns, "instruction"), r.Visited, r.Static+r.Notify+r.Trace, r.Static, asked(r))
	if r.Traced {
		fmt.Fprintf(w, "%s: %s\n", spec, tracing(r))
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "%s: warning: %s\n", spec, text)
	}
	if r.Unsupported != "" {
		fmt.Fprintf(w, "%s: the agent engine cannot enforce it: %s\n", spec, r.Unsupported)
	}
}

// asked counts what the agent decides, and how.
func asked(r *portcullis.Report) string {
	if r.Trace == 0 {
		return strconv.Itoa(r.Notify)
	}
	return fmt.Sprintf("%d (%d by its tracer)", r.Notify+r.Trace, r.Trace)
}

// tracing says what comes with a tracer.
func tracing(r *portcullis.Report) string {
	why := "the agent traces the command"
	if r.Clones {
		why += ", and copies storage at its forks"
	}
	return why + ": no debugger can attach to it; guards: " + strings.Join(r.Guards, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
