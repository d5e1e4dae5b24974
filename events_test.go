package portcullis_test

import (
	"errors"
	"testing"

	"portcullis"
	"portcullis/internal/engine"
)

func TestEventQueueIsBounded(t *testing.T) {
	for _, size := range []int{-1, 1<<20 + 1} {
		cmd := portcullis.Command("true")
		f, err := portcullis.Load("no-exec")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Filters, cmd.EventQueue = []*portcullis.Filter{f}, size
		var wrong *engine.OptionError
		if err := cmd.Start(); !errors.As(err, &wrong) {
			t.Errorf("%d events: %v, expected an OptionError", size, err)
		}
	}
}
