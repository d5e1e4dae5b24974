package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"portcullis"
)

// specFlags are the flags of every command that takes filters.
type specFlags struct {
	set    []string
	budget int
}

func (s *specFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&s.set, "set", nil, "`[FILTER.]NAME=VALUE` of a filter's variable; repeat for more")
	fs.IntVar(&s.budget, "budget", 0, "let the verifier visit up to `N` instructions of a filter (default 400000)")
}

// load finds the filters of specs, with their variables set.
func (s *specFlags) load(specs []string) ([]*portcullis.Filter, error) {
	if s.budget < 0 {
		return nil, fmt.Errorf("--budget %d: expected a number of instructions, or 0 for the default", s.budget)
	}
	fs, err := load(specs, s.set)
	for _, f := range fs {
		f.SetBudget(s.budget)
	}
	return fs, err
}

// one is the filter of one of specs, with the variables that were meant for it.
func (s *specFlags) one(specs []string, spec string) (*portcullis.Filter, error) {
	if len(s.set) == 0 {
		specs = []string{spec}
	}
	fs, err := s.load(specs)
	if err != nil {
		return nil, err
	}
	for i, name := range specs {
		if name == spec {
			return fs[i], nil
		}
	}
	return fs[0], nil
}
