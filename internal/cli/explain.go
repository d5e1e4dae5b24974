package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
)

func (a *app) explain() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "explain [flags] SPEC [CALL...]",
		Short: "Say which calls are decided where, and why",
		Long: "Say for each system call, or for those named, whether the kernel decides it alone (static)\n" +
			"or the agent is asked (notify), with the instruction and source line that make it so.",
		Example: examples("portcullis explain count-exec", "portcullis explain ./my-filter.o socket connect"),
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.explainOne(&s, args[0], args[1:]) },
	}
	s.add(cmd)
	return a.withJSON(cmd)
}

func (a *app) explainOne(s *specFlags, spec string, calls []string) error {
	fs, err := s.load([]string{spec})
	if err != nil {
		return exit(exitUsage, err)
	}
	all, err := fs[0].Explain()
	if err != nil {
		return exit(exitNo, err)
	}
	shown, err := choose(all, calls)
	if err != nil {
		return exit(exitUsage, err)
	}
	return a.print(shown, func(w io.Writer) {
		printDecisions(w, shown, len(calls) > 0)
		printBalance(w, all)
	})
}

// choose picks the named calls, all without names.
func choose(all []portcullis.Decision, calls []string) ([]portcullis.Decision, error) {
	if len(calls) == 0 {
		return all, nil
	}
	var chosen []portcullis.Decision
	for _, name := range calls {
		n := len(chosen)
		for _, d := range all {
			if d.Call == name {
				chosen = append(chosen, d)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("no x86-64 system call is named %q", name)
		}
	}
	return chosen, nil
}

// printDecisions prints one line a decision; unless they were asked for by
// name, what most calls have in common becomes one line at the end.
func printDecisions(w io.Writer, ds []portcullis.Decision, named bool) {
	common, n := commonest(ds)
	if named || n < 2 {
		common = ""
	}
	for _, d := range ds {
		if how := describe(d); how != common {
			fmt.Fprintf(w, "%-24s %s\n", d.Call, how)
		}
	}
	if common != "" {
		fmt.Fprintf(w, "%-24s %s\n", fmt.Sprintf("the other %d", n), common)
	}
}

func commonest(ds []portcullis.Decision) (how string, n int) {
	counts := map[string]int{}
	for _, d := range ds {
		k := describe(d)
		if counts[k]++; counts[k] > n {
			how, n = k, counts[k]
		}
	}
	return how, n
}

func describe(d portcullis.Decision) string {
	var parts []string
	if d.Verdict != "" {
		parts = append(parts, d.Verdict)
	}
	if d.Why != "" {
		parts = append(parts, where(d)+d.Why)
	}
	if d.Guard != "" {
		parts = append(parts, "("+d.Guard+" guard)")
	}
	return fmt.Sprintf("%-7s %s", d.Leaf, strings.Join(parts, " "))
}

func where(d portcullis.Decision) string {
	if d.Line != "" {
		return d.Line + ": "
	}
	return fmt.Sprintf("instruction %d: ", d.Insn)
}

func printBalance(w io.Writer, all []portcullis.Decision) {
	static := 0
	for _, d := range all {
		if d.Leaf == "static" {
			static++
		}
	}
	fmt.Fprintf(w, "%d of %d calls never leave the kernel\n", static, len(all))
}
