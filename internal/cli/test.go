package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/engine/trial"
	"portcullis/internal/event"
)

// testFlags are the flags of test.
type testFlags struct {
	spec    specFlags
	verbose bool
}

func (a *app) test() *cobra.Command {
	var o testFlags
	cmd := &cobra.Command{
		Use:   "test [flags] SPEC FILE...",
		Short: "Ask a filter about calls that nobody makes",
		Long: "Ask a filter about the calls in files, without a kernel. What is not as expected is printed.\n" +
			"A file whose name ends in .jsonl is a list of calls, or the events of an earlier run: every\n" +
			"answer is printed. Any other file holds cases, each with state of its own:\n\n" +
			"  -- after two programs a child starts no third --\n" +
			"  set max=2\n" +
			"  execve(\"/bin/sh\", 0, 0) = ALLOW x2\n" +
			"  fork 1 2\n" +
			"  2: execve() = EPERM\n\n" +
			"docs/TESTING-FILTERS.md has the whole form. The exit status is 0 if everything was as expected,\n" +
			"1 if not or if the filter is refused, 2 if something is unreadable.\n\n" + specHelp,
		Example: examples("portcullis test ./my-filter.o my-filter.txtar", "portcullis test policy.yaml cases.txtar",
			"portcullis test no-network cases.txtar", "portcullis test ./profile.json cases.txtar", "portcullis test --set max=2 count-exec calls.jsonl"),
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.testAll(&o, args[0], args[1:]) },
	}
	o.spec.add(cmd)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "print every call of every case")
	return a.withJSON(cmd)
}

// tested is what test prints of one file of cases.
type tested struct {
	File  string                  `json:"file"`
	OK    bool                    `json:"ok"`
	Error string                  `json:"error,omitempty"`
	Cases []portcullis.CaseResult `json:"cases,omitempty"`
}

// testAll goes on after a file that is wrong or unreadable: the worst counts.
func (a *app) testAll(o *testFlags, spec string, files []string) error {
	if _, err := o.spec.load([]string{spec}); err != nil {
		return exit(exitUsage, err)
	}
	code := exitYes
	for _, file := range files {
		run := a.testCases
		if filepath.Ext(file) == ".jsonl" {
			run = a.testCalls
		}
		c, err := run(o, spec, file)
		if err != nil {
			fmt.Fprintf(a.Err, "%s: %s\n", file, err)
			c = testStatus(err)
		}
		code = max(code, c)
	}
	if code != exitYes {
		return exit(code, nil)
	}
	return nil
}

// testStatus is 2 for what cannot be read, 1 for a filter that is refused.
func testStatus(err error) int {
	var syntax *trial.SyntaxError
	var path *os.PathError
	var unset *settingError
	if errors.As(err, &syntax) || errors.As(err, &path) || errors.As(err, &unset) {
		return exitUsage
	}
	return exitNo
}

// settingError is a variable of a case that the filter cannot be given.
type settingError struct{ err error }

func (e *settingError) Error() string { return e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// loader loads the filter for each case, and again only if it differs.
func (o *testFlags) loader(spec string) func([]string) ([]*portcullis.Filter, error) {
	var last []*portcullis.Filter
	var key string
	return func(settings []string) ([]*portcullis.Filter, error) {
		if k := strings.Join(settings, "\n"); last == nil || k != key {
			s := o.spec
			s.set = append(append([]string(nil), s.set...), settings...)
			fs, err := s.load([]string{spec})
			if err != nil {
				return nil, &settingError{err}
			}
			last, key = fs, k
		}
		return last, nil
	}
}

func (a *app) testCases(o *testFlags, spec, file string) (int, error) {
	data, err := readScript(file)
	if err != nil {
		return 0, err
	}
	t := tested{File: file, OK: true}
	t.Cases, err = portcullis.TestCases(data, o.loader(spec))
	for _, c := range t.Cases {
		t.OK = t.OK && c.OK
	}
	if err != nil {
		t.OK, t.Error = false, err.Error()
	}
	if err := a.print(&t, func(w io.Writer) { printTested(w, &t, o.verbose) }); err != nil {
		return 0, err
	}
	if err == nil && !t.OK {
		return exitNo, nil
	}
	return exitYes, err
}

// readScript reads a file, or a pipe, up to the largest that is taken.
func readScript(file string) ([]byte, error) { return readUpTo(file, trial.MaxScript) }

func printTested(w io.Writer, t *tested, verbose bool) {
	failed := 0
	for _, c := range t.Cases {
		if !c.OK {
			failed++
		}
		if verbose || !c.OK {
			printCase(w, t.File, &c, verbose)
		}
	}
	switch {
	case failed > 0:
		fmt.Fprintf(w, "%s: %d of %s failed\n", t.File, failed, plural(len(t.Cases), "case"))
	case t.OK:
		fmt.Fprintf(w, "%s: ok: %s\n", t.File, plural(len(t.Cases), "case"))
	}
}

func printCase(w io.Writer, file string, c *portcullis.CaseResult, verbose bool) {
	state := map[bool]string{true: "ok", false: "FAILED"}[c.OK]
	fmt.Fprintf(w, "%s:%d: %s: %s\n", file, c.Line, state, event.Printable(c.Name))
	for _, call := range c.Calls {
		if call.OK && !verbose {
			continue
		}
		fmt.Fprintf(w, "%s:%d:   %s: %s\n", file, call.Line, event.Printable(call.Text), call.Why)
		for _, line := range call.Output {
			fmt.Fprintf(w, "%s:%d:     > %s\n", file, call.Line, event.Printable(line))
		}
		if !call.OK {
			fmt.Fprintf(w, "%s:%d:     call %d: %s\n", file, call.Line, call.Times, event.Printable(call.Wrong))
		}
	}
}

// testCalls prints the answer to each call of a file.
func (a *app) testCalls(o *testFlags, spec, file string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fs, err := o.loader(spec)(nil)
	if err != nil {
		return 0, err
	}
	code, out := exitYes, event.NewWriter(a.Out)
	err = portcullis.AskCalls(f, fs, func(answer *portcullis.Answer) error {
		if answer.Wrong != "" {
			code = exitNo
			fmt.Fprintf(a.Err, "%s:%d: %s\n", file, answer.Line, answer.Wrong)
		}
		for i := range answer.Events {
			if err := a.printEvent(out, file, answer.Line, &answer.Events[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return code, err
}

func (a *app) printEvent(out *event.Writer, file string, line int, e *event.Event) error {
	if a.json {
		return out.Write(e)
	}
	_, err := fmt.Fprintf(a.Out, "%s:%d: %s\n", file, line, e)
	return err
}
