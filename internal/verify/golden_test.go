package verify_test

import (
	"testing"

	"portcullis/internal/golden"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// TestGolden runs the cases in testdata: the first line of each is "# accept" or
// "# " and the exact message. Lines after it that begin with "# warning: " are
// the warnings.
func TestGolden(t *testing.T) {
	golden.Run(t, func(_ *testing.T, p *prog.Program) string { return outcome(verify.Program(p, verify.Options{})) })
}

func outcome(v *verify.Verified, err error) string {
	if err != nil {
		return "# " + err.Error() + "\n"
	}
	out := "# accept\n"
	for _, w := range v.Warnings() {
		out += "# warning: " + w.String() + "\n"
	}
	return out
}
