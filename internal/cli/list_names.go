package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	groups "portcullis/internal/policy/group"
	"portcullis/internal/policy/symbol"
	"portcullis/policies"
)

// groupOf is what list groups prints of one group.
type groupOf struct {
	Name  string   `json:"name"`
	Calls []string `json:"calls"`
	// Remarks are where the group says more than its source does.
	Remarks []string `json:"remarks,omitempty"`
}

func (a *app) listGroups() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "groups [@NAME...]",
		Short: "List the groups of calls that policies may name, or what is in some",
		Long: "List the groups of calls that policies may name, with how many calls are in each, or the calls\n" +
			"of those that are named. The exit status is 0, or 2 if there is no such group.",
		Example: examples("portcullis list groups", "portcullis list groups @network-io @debug"),
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := groupsOf(names)
			if err != nil {
				return exit(exitUsage, err)
			}
			return a.print(all, func(w io.Writer) { printGroups(w, all, len(names) > 0) })
		},
	})
}

// groupsOf are the groups of those names, all without names.
func groupsOf(names []string) ([]groupOf, error) {
	if len(names) == 0 {
		names = groups.Names()
	}
	var all []groupOf
	for _, n := range names {
		if !strings.HasPrefix(n, "@") {
			n = "@" + n // shells and YAML make it a nuisance
		}
		calls, ok := groups.Lookup(n)
		if !ok {
			return nil, unknownName("group", n, groups.Names(), "portcullis list groups")
		}
		all = append(all, groupOf{Name: n, Calls: calls, Remarks: groups.Remarks(n)})
	}
	return all, nil
}

// unknownName says that there is no such name, and what may be meant.
func unknownName(what, name string, names []string, list string) error {
	hint := list + " shows all"
	if near := policy.Nearest(name, names); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("there is no %s named %s; %s", what, policy.Shown(name), hint)
}

func printGroups(w io.Writer, all []groupOf, members bool) {
	for _, g := range all {
		if !members {
			fmt.Fprintf(w, "%-24s %s\n", g.Name, plural(len(g.Calls), "call"))
			continue
		}
		fmt.Fprintln(w, g.Name)
		for _, c := range g.Calls {
			fmt.Fprintf(w, "    %s\n", c)
		}
		for _, r := range g.Remarks {
			fmt.Fprintf(w, "    # %s\n", r)
		}
	}
}

// call is what list calls prints of one call.
type call struct {
	Name      string         `json:"name"`
	Nr        uint32         `json:"nr"`
	Arguments []callArgument `json:"arguments"`
}

type callArgument struct {
	Name string `json:"name"`
	// Bits are those that the kernel looks at.
	Bits int `json:"bits"`
	// Constants are names that may be written for it.
	Constants []string `json:"constants,omitempty"`
}

func (a *app) listCalls() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "calls [NAME...]",
		Short: "List the calls, and the names of their arguments",
		Long: "List the calls of x86-64 with the names that conditions have for their arguments; of those that\n" +
			"are named, also how many bits of each are compared, and the constants that may be written for\n" +
			"it. The exit status is 0, or 2 if there is no such call.",
		Example: examples("portcullis list calls", "portcullis list calls openat socket"),
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := callsOf(names)
			if err != nil {
				return exit(exitUsage, err)
			}
			return a.print(all, func(w io.Writer) { printCalls(w, all, len(names) > 0) })
		},
	})
}

// callsOf are the calls of those names, all without names.
func callsOf(names []string) ([]call, error) {
	var every []string
	for _, c := range syscalls.All() {
		every = append(every, c.Name)
	}
	if len(names) == 0 {
		names = every
	}
	var all []call
	for _, n := range names {
		nr, ok := syscalls.Number(n)
		if !ok {
			return nil, unknownName("call of x86-64", n, every, "portcullis list calls")
		}
		all = append(all, call{Name: n, Nr: nr, Arguments: argumentsOf(nr)})
	}
	return all, nil
}

func argumentsOf(nr uint32) []callArgument {
	all := []callArgument{}
	for _, a := range symbol.Arguments(nr) {
		all = append(all, callArgument{Name: a.Name, Bits: a.Bits(), Constants: symbol.Names(a.Set)})
	}
	return all
}

func printCalls(w io.Writer, all []call, constants bool) {
	for _, c := range all {
		var names []string
		for _, a := range c.Arguments {
			names = append(names, a.Name)
		}
		fmt.Fprintf(w, "%3d %s(%s)\n", c.Nr, c.Name, strings.Join(names, ", "))
		if constants {
			printArguments(w, c.Arguments)
		}
	}
}

func printArguments(w io.Writer, all []callArgument) {
	for i, a := range all {
		fmt.Fprintf(w, "    %s: args[%d], %d bits\n", a.Name, i, a.Bits)
		for _, name := range a.Constants {
			fmt.Fprintf(w, "        %s\n", name)
		}
	}
}

// constant is what list constants prints of one name.
type constant struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
	// Set tells names apart that belong to different arguments.
	Set string `json:"set"`
}

func (a *app) listConstants() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "constants [PREFIX]",
		Short: "List the constants that policies may name, and their values",
		Long: "List the constants that may be written for arguments, or those whose names begin with PREFIX,\n" +
			"with the set of names that each belongs to: list calls shows which may be written for what. The\n" +
			"exit status is 0, or 2 if no name begins so.",
		Example: examples("portcullis list constants AF_", "portcullis list constants --json"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			prefix := strings.Join(args, "")
			all := constantsOf(strings.ToUpper(prefix))
			if len(all) == 0 {
				return exit(exitUsage, fmt.Errorf("no constant begins with %s; portcullis list constants shows all", policy.Shown(prefix)))
			}
			return a.print(all, func(w io.Writer) { printConstants(w, all) })
		},
	})
}

// constantsOf are the constants whose names begin so, by the sets of arguments.
func constantsOf(prefix string) []constant {
	var all []constant
	for _, set := range sets() {
		for _, name := range symbol.Names(set) {
			if v, ok := symbol.Constant(set, name); ok && strings.HasPrefix(name, prefix) {
				all = append(all, constant{Name: name, Value: v, Set: set})
			}
		}
	}
	return all
}

// sets are the sets of constants that arguments have, each once.
func sets() []string {
	var all []string
	seen := map[string]bool{"": true}
	for _, c := range syscalls.All() {
		for _, a := range symbol.Arguments(c.Nr) {
			if !seen[a.Set] {
				seen[a.Set], all = true, append(all, a.Set)
			}
		}
	}
	return all
}

func printConstants(w io.Writer, all []constant) {
	for _, c := range all {
		fmt.Fprintf(w, "%-32s %#-12x %s\n", c.Name, c.Value, c.Set)
	}
}

func (a *app) listSchema() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of policies, for editors",
		Long:    "Print the JSON Schema of policies. docs/POLICIES.md says how an editor is told of it.",
		Example: examples("portcullis list schema >portcullis.schema.json"),
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.Out.Write(policies.Schema()); err != nil {
				return exit(exitUsage, fmt.Errorf("standard output: %w", err))
			}
			return nil
		},
	}
}
