package kit

import (
	"os"
	"strconv"
	"testing"
)

func TestStat(t *testing.T) {
	words, err := Stat(os.Getpid())
	if err != nil || words[StatParent] != strconv.Itoa(os.Getppid()) {
		t.Errorf("%q, %v: expected %d as parent", words, err, os.Getppid())
	}
	if words, err := Stat(0); err == nil {
		t.Errorf("of no process: %q, expected an error", words)
	}
}
