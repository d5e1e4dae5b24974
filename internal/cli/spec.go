package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"portcullis"
)

// specFlags are the flags of every command that takes filters.
type specFlags struct {
	set          []string
	budget       int
	capabilities []string
	allowLoss    bool
	warn         io.Writer       // where losses are told
	lost         map[string]bool // those that have been: a filter may be loaded more than once
	guarded      string          // one that counts on guards, "" for none
}

// specHelp says what SPEC may be, for --help.
const specHelp = "SPEC is the name of a built-in filter or a ready policy (see portcullis list), or the path of a\n" +
	"file: a policy (.yaml), an ELF object (.o), the seccomp profile of a container (.json) or a unit\n" +
	"of systemd (.conf, .service). A path has a slash or a dot. What a file holds tells what it\n" +
	"is. SPEC:PROG selects one of several programs of an object.\n"

func (s *specFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&s.set, "set", nil, "`[FILTER.]NAME=VALUE` of a filter's variable; repeat for more")
	fs.IntVar(&s.budget, "budget", 0, "let the verifier visit up to `N` instructions of a filter (default 400000)")
	fs.BoolVar(&s.allowLoss, "allow-loss", false, "take a profile of which something is lost, with warnings, unless more calls may be let through then")
	s.addCapabilities(cmd)
	s.warn, s.lost = cmd.ErrOrStderr(), map[string]bool{}
}

func (s *specFlags) addCapabilities(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.capabilities, "capability", nil, "`NAME` of a capability that a container's profile is read for, such as CAP_NET_ADMIN; repeat for more")
}

// reading is how profiles are read under the flags.
func (s *specFlags) reading() (portcullis.Reading, error) {
	in, err := s.containers()
	how := portcullis.Reading{Capabilities: in.Capabilities}
	if s.allowLoss {
		how.Lost = s.lose
	}
	return how, err
}

// lose warns of what is lost, once.
func (s *specFlags) lose(l portcullis.Loss) {
	if l.Guarded {
		s.guarded = l.Text
	}
	if !s.lost[l.Text] {
		s.lost[l.Text] = true
		fmt.Fprintf(s.warn, "portcullis: lost: %s\n", l.Text)
	}
}

// load finds the filters of specs, with their variables set.
func (s *specFlags) load(specs []string) ([]*portcullis.Filter, error) {
	if s.budget < 0 {
		return nil, fmt.Errorf("--budget %d: expected a number of instructions, or 0 for the default", s.budget)
	}
	how, err := s.reading()
	if err != nil {
		return nil, err
	}
	fs, err := load(how, specs, s.set)
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
