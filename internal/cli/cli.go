// Package cli is the portcullis command: its flags, its words and its exit
// statuses, over the public package and the engines' probes.
package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses. Those of run are the shell's and those of env(1), timeout(1)
// and docker-run(1), because its own status is CMD's.
const (
	exitYes          = 0
	exitNo           = 1
	exitUsage        = 2
	exitOurs         = 125
	exitCannotInvoke = 126
	exitNotFound     = 127
)

// Streams are a command's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// status is an error that has decided the exit status. Its text may be empty
// where everything has been said.
type status struct {
	code int
	err  error
}

func (s *status) Error() string {
	if s.err == nil {
		return ""
	}
	return s.err.Error()
}

func (s *status) Unwrap() error { return s.err }

// exit gives err the exit status code.
func exit(code int, err error) error { return &status{code: code, err: err} }

// app is one invocation.
type app struct {
	Streams
	json bool
}

// Main runs the command line and returns its exit status.
func Main(args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitYes
	}
	var st *status
	if errors.As(err, &st) {
		if text := err.Error(); text != "" {
			fmt.Fprintf(s.Err, "portcullis: %s\n", text)
		}
		return st.code
	}
	fmt.Fprintf(s.Err, "portcullis: %v; see %s --help\n", err, cmd.CommandPath())
	if cmd.Annotations[runsCommand] != "" {
		return exitOurs
	}
	return exitUsage
}

// runsCommand marks subcommands whose exit status is that of the command they
// run, so that a wrong flag must not look like that command's own status 2.
const runsCommand = "runs-command"

func newRoot(s Streams) *cobra.Command {
	a := &app{Streams: s}
	root := &cobra.Command{
		Use:     "portcullis",
		Version: release,
		Short:   "Programmable system-call security",
		Long: "Portcullis runs programs under eBPF filters that are asked about every system call\n" +
			"of a process tree, keep state between calls, and need no privilege.\n\n" +
			"A filter is a built-in one, a ready policy, or a file: a policy (.yaml), an ELF object (.o), the\n" +
			"seccomp profile of a container (.json), or a unit of systemd.",
		Example: "  portcullis list\n" +
			"  portcullis run -f count-exec --set max=3 -- bash\n" +
			"  portcullis run -f ./policy.yaml -- make\n" +
			"  portcullis test policy.yaml cases.txtar\n" +
			"  portcullis check ./my-filter.o",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.AddCommand(a.run(), a.check(), a.explain(), a.list(), a.convert(), a.diff(), a.doctor(), a.kernel(), a.record(), a.test(), a.version(), a.why())
	return root
}

// withJSON adds --json to a command that prints.
func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// print writes v as JSON under --json, else what human writes. An answer that
// could not be written whole must not look like one.
func (a *app) print(v any, human func(w io.Writer)) error {
	out, err := bufio.NewWriter(a.Out), error(nil)
	if a.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(v)
	} else {
		human(out)
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		return exit(exitUsage, fmt.Errorf("standard output: %w", err))
	}
	return nil
}

// examples joins the lines of a command's examples.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
