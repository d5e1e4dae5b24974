//go:build linux && amd64

package main

import (
	"fmt"
	"sync/atomic"
)

// tally counts what came of calls.
type tally struct {
	attempts, wins int64 // how many there are to be; after how many secrets it is over
	begun          atomic.Int64
	of             [failed + 1]atomic.Int64
	over           atomic.Bool
}

// more begins another attempt if there is to be one.
func (t *tally) more() bool {
	return t.of[openedSecret].Load() < t.wins && t.begun.Add(1) <= t.attempts
}

func (t *tally) count(o outcome) { t.of[o].Add(1) }

// made is how many attempts there were.
func (t *tally) made() (n int64) {
	for i := range t.of {
		n += t.of[i].Load()
	}
	return n
}

// String is attempts, then how often what was allowed was opened, what was not, and
// nothing.
func (t *tally) String() string {
	return fmt.Sprint(t.made(), t.of[openedAllowed].Load(), t.of[openedSecret].Load(), t.of[refused].Load())
}

// failure is calls of which came something else.
func (t *tally) failure() error {
	if n := t.of[failed].Load(); n > 0 {
		return fmt.Errorf("%d calls had another error than EACCES, or opened what says nothing", n)
	}
	return nil
}
