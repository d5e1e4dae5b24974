package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/filters"
	"portcullis/policies"
)

// builtin is what list prints of one filter.
type builtin struct {
	Name string `json:"name"`
	// Group is policy, mitigation, or empty for a filter of general use.
	Group     string            `json:"group,omitempty"`
	Summary   string            `json:"summary"`
	Variables []builtinVariable `json:"variables"`
}

type builtinVariable struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
	Type string `json:"type,omitempty"`
}

func (a *app) list() *cobra.Command {
	cmd := a.withJSON(&cobra.Command{
		Use:   "list",
		Short: "List the built-in filters and policies, and their variables",
		Long: "List the built-in filters and policies, and their variables; or, by the commands below, the\n" +
			"names that policies may use, and the schema of policies.",
		Example: examples("portcullis list", "portcullis list --json", "portcullis list groups @network-io",
			"portcullis list calls openat", "portcullis list constants AF_", "portcullis list schema"),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := builtins()
			if err != nil {
				return exit(exitNo, err)
			}
			return a.print(all, func(w io.Writer) { printBuiltins(w, all) })
		},
	})
	cmd.AddCommand(a.listGroups(), a.listCalls(), a.listConstants(), a.listSchema())
	return cmd
}

func builtins() ([]builtin, error) {
	all, err := describeBuiltins([]builtin{}, "", filters.Names())
	if err != nil {
		return nil, err
	}
	for _, name := range policies.Names() {
		all = append(all, builtin{Name: name, Group: ready, Summary: policies.Summary(name), Variables: []builtinVariable{}})
	}
	return describeBuiltins(all, mitigation, filters.Mitigations())
}

// The groups, of policies and of the filters against one vulnerability each.
const (
	ready      = "policy"
	mitigation = "mitigation"
)

// titles are what stands in front of a group.
var titles = map[string]string{
	ready:      "Policies:",
	mitigation: "Mitigations of published vulnerabilities of the kernel:",
}

func describeBuiltins(all []builtin, group string, names []string) ([]builtin, error) {
	for _, name := range names {
		f, err := portcullis.Load(name)
		if err != nil {
			return nil, err
		}
		b := describeBuiltin(name, f)
		b.Group = group
		all = append(all, b)
	}
	return all, nil
}

// describeBuiltin joins what the source says with what the object holds.
func describeBuiltin(name string, f *portcullis.Filter) builtin {
	types := map[string]string{}
	for _, v := range f.Variables() {
		types[v.Name] = v.Type
	}
	summary, vars := filters.Doc(name)
	b := builtin{Name: name, Summary: summary, Variables: []builtinVariable{}}
	for _, v := range vars {
		b.Variables = append(b.Variables, builtinVariable{Name: v.Name, Doc: v.Doc, Type: types[v.Name]})
	}
	return b
}

func printBuiltins(w io.Writer, all []builtin) {
	group := ""
	for _, b := range all {
		if b.Group != group {
			group = b.Group
			fmt.Fprintf(w, "\n%s\n\n", titles[group])
		}
		fmt.Fprintf(w, "%s\n    %s\n", b.Name, b.Summary)
		for _, v := range b.Variables {
			fmt.Fprintf(w, "    --set %s=%s  %s\n", v.Name, strings.ToUpper(v.Type), v.Doc)
		}
	}
}
