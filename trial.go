package portcullis

import (
	"io"

	"portcullis/internal/engine/trial"
)

// CaseResult is what became of one case of a file of tests.
type CaseResult = trial.Result

// TestCases runs the cases of a file, in the form that docs/TESTING-FILTERS.md
// describes, without a kernel: each case asks a fresh installation about calls
// that nobody makes. load gives the stack with variables set to the NAME=VALUE
// of a case. An error is a file that cannot be understood, a filter that cannot
// be loaded, or one that the agent engine could not enforce.
func TestCases(data []byte, load func(settings []string) ([]*Filter, error)) ([]CaseResult, error) {
	cases, err := trial.Parse(data)
	if err != nil {
		return nil, err
	}
	var all []CaseResult
	for _, c := range cases {
		r, err := c.Run(func(settings []string) (*trial.World, error) {
			fs, err := load(settings)
			if err != nil {
				return nil, err
			}
			return newWorld(fs)
		})
		if err != nil {
			return all, err
		}
		all = append(all, *r)
	}
	return all, nil
}

// Answer is what a line of calls led to.
type Answer = trial.Answer

// AskCalls asks one installation of a stack about the calls of a file of JSON
// lines, which may be the events of an earlier run, and passes on each answer.
func AskCalls(r io.Reader, filters []*Filter, each func(*Answer) error) error {
	w, err := newWorld(filters)
	if err != nil {
		return err
	}
	replay := trial.NewReplay(w, r)
	for {
		a, err := replay.Next()
		if err == nil {
			err = each(a)
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

func newWorld(fs []*Filter) (*trial.World, error) {
	stack, err := newStack(fs)
	if err != nil {
		return nil, err
	}
	var filters []trial.Filter
	for _, f := range stack.Filters {
		filters = append(filters, trial.Filter(f))
	}
	return trial.New(filters)
}
