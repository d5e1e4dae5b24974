package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/abi"
)

func (a *app) explain() *cobra.Command {
	var s specFlags
	cmd := &cobra.Command{
		Use:   "explain [flags] SPEC [CALL...]",
		Short: "Say which calls are decided where, and why",
		Long: "Say for each system call, or for those named, whether the kernel decides it alone (static),\n" +
			"the agent is asked (notify), or its tracer holds the call (trace), with the instruction and\n" +
			"source line that make it so.\n" +
			"Where a call's arguments decide, they are shown as tests: args[0].low is the lower half\n" +
			"of the first, \"s>\" compares signed numbers.\n\n" + specHelp,
		Example: examples("portcullis explain count-exec", "portcullis explain ./my-filter.o socket connect",
			"portcullis explain nginx execve", "portcullis explain ./policy.yaml openat", "portcullis explain ./profile.json clone"),
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.explainOne(&s, args[0], args[1:]) },
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
	report, err := fs[0].Check()
	if err != nil {
		return exit(exitNo, err)
	}
	shown, err := choose(all, calls)
	if err != nil {
		return exit(exitUsage, err)
	}
	return a.print(shown, func(w io.Writer) {
		printDecisions(w, shown, len(calls) > 0)
		if report.Traced && len(calls) == 0 {
			printReserved(w)
		}
		printBalance(w, all)
		if report.Traced {
			printTraced(w, all, report)
		}
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

// group is calls that are decided alike.
type group struct {
	calls []string
	how   []string // lines
}

// printDecisions prints what is decided alike together, in the order of the first
// call; unless they were asked for by name, what most calls have in common comes
// at the end, without their names.
func printDecisions(w io.Writer, ds []portcullis.Decision, named bool) {
	groups, common := grouped(ds), -1
	for i, g := range groups {
		if !named && len(g.calls) > 1 && (common < 0 || len(g.calls) > len(groups[common].calls)) {
			common = i
		}
	}
	for i, g := range groups {
		if i != common {
			g.print(w)
		}
	}
	if common >= 0 {
		g := groups[common]
		group{[]string{fmt.Sprintf("the other %d", len(g.calls))}, g.how}.print(w)
	}
	if !named {
		group{[]string{"any i386 or x32 call"}, []string{"static  KILL_PROCESS (i386 and x32 guards)"}}.print(w)
	}
}

func grouped(ds []portcullis.Decision) []group {
	var groups []group
	at := map[string]int{}
	for _, d := range ds {
		how := describe(d)
		key := strings.Join(how, "\n")
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, group{how: how})
		}
		groups[i].calls = append(groups[i].calls, d.Call)
	}
	return groups
}

const (
	nameWidth = 24 // of the column with names of calls
	lineWidth = 80
)

// print puts names and what is decided on one line where both are short.
func (g group) print(w io.Writer) {
	names := wrapped(g.calls)
	if len(names) == 1 && len(names[0]) <= nameWidth && len(g.how) == 1 {
		fmt.Fprintf(w, "%-*s %s\n", nameWidth, names[0], g.how[0])
		return
	}
	for _, line := range names {
		fmt.Fprintln(w, line)
	}
	for _, line := range g.how {
		fmt.Fprintf(w, "    %s\n", line)
	}
}

// wrapped lists names, as many on a line as fit.
func wrapped(names []string) (lines []string) {
	line := ""
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		switch {
		case line == "":
			line = name
		case len(line)+1+len(name) > lineWidth:
			lines, line = append(lines, line), name
		default:
			line += " " + name
		}
	}
	return append(lines, line)
}

func describe(d portcullis.Decision) []string {
	if d.Arguments == nil {
		return []string{outcome(d.Outcome)}
	}
	return tests(d.Arguments, "if ", "")
}

// tests writes a test and what follows it; a test after "else" goes on the same
// line, so that a list of rules reads as one.
func tests(b *portcullis.Branch, word, indent string) []string {
	if b.Then == nil {
		return []string{indent + word + outcome(b.Outcome)}
	}
	head := indent + word + b.If + ": "
	lines := []string{head + outcome(b.Then.Outcome)}
	if b.Then.Then != nil {
		lines = append([]string{strings.TrimSuffix(head, " ")}, tests(b.Then, "if ", indent+"    ")...)
	}
	if b.Else.Then == nil {
		return append(lines, indent+"else: "+outcome(b.Else.Outcome))
	}
	return append(lines, tests(b.Else, "else if ", indent)...)
}

func outcome(o portcullis.Outcome) string {
	var parts []string
	if o.Verdict != "" {
		parts = append(parts, o.Verdict)
	}
	if o.Why != "" {
		parts = append(parts, where(o)+o.Why)
	}
	if o.Guard != "" {
		parts = append(parts, "("+o.Guard+" guard)")
	}
	return fmt.Sprintf("%-7s %s", o.Leaf, strings.Join(parts, " "))
}

func where(o portcullis.Outcome) string {
	switch {
	case o.Line != "":
		return o.Line + ": "
	case o.Insn < 0: // no instruction is to blame
		return ""
	}
	return fmt.Sprintf("instruction %d: ", o.Insn)
}

func printBalance(w io.Writer, all []portcullis.Decision) {
	static, bitmap := 0, 0
	for _, d := range all {
		if d.Leaf == "static" {
			static++
		}
		if d.Bitmap {
			bitmap++
		}
	}
	fmt.Fprintf(w, "%d of %d calls are always allowed, and the kernel runs no filter for them\n", bitmap, len(all))
	fmt.Fprintf(w, "%d of %d calls never leave the kernel\n", static, len(all))
}

// printReserved shows the numbers that no call has and the tracer uses.
func printReserved(w io.Writer) {
	numbers := fmt.Sprintf("no call: %d, %d, %d", abi.KillProcessCall, abi.KillThreadCall, abi.TrapCall)
	group{[]string{numbers}, []string{"static  KILL_PROCESS, KILL_THREAD, TRAP (for the tracer)"}}.print(w)
}

// printTraced counts the calls that are held, and says what comes with a tracer.
func printTraced(w io.Writer, all []portcullis.Decision, r *portcullis.Report) {
	held := 0
	for _, d := range all {
		if d.Leaf == "trace" {
			held++
		}
	}
	fmt.Fprintf(w, "%d of %d calls are held for the agent's tracer\n%s\n", held, len(all), tracing(r))
}
