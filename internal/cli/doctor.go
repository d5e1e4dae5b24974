package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"portcullis/internal/engine"
)

// feature is what doctor prints of one thing an engine needs.
type feature struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`
	Have   bool   `json:"have"`
	Needed bool   `json:"needed"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

func (a *app) doctor() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel offers each engine, and why not",
		Long: "Say what the running kernel offers each engine. The exit status is 0 if the agent engine\n" +
			"can enforce filters that keep state, 1 if not.",
		Example: examples("portcullis doctor", "portcullis doctor --json"),
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.examine() },
	})
}

func (a *app) examine() error {
	all, code := []feature{}, exitYes
	for _, f := range engine.Probe() {
		all = append(all, feature{string(f.Engine), f.Name, f.Have, f.Needed, f.Detail, f.Remedy})
		if f.Engine == engine.Agent && f.Needed && !f.Have {
			code = exitNo
		}
	}
	if err := a.print(all, func(w io.Writer) { printFeatures(w, all) }); err != nil || code == exitYes {
		return err
	}
	return exit(code, nil)
}

func printFeatures(w io.Writer, all []feature) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range all {
		have, rest := "yes", f.Detail
		if !f.Have {
			have = "no"
			if f.Remedy != "" {
				rest += ": " + f.Remedy
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Engine, have, f.Name, rest)
	}
	table.Flush()
}
