package static

import (
	"fmt"

	"portcullis/internal/policy"
)

// Loss is one thing that another form of a policy does not say, or says otherwise.
type Loss struct {
	// Pos is where the thing stands in what was read, or in the policy that is written.
	Pos policy.Pos
	// What is lost, and Why, or what takes its place.
	What, Why string
}

// String is one line.
func (l Loss) String() string {
	s := l.What + ": " + l.Why
	if at := l.Pos.String(); at != "" {
		s = at + ": " + s
	}
	return policy.Printable(s)
}

// maxLosses is how many are listed: of hostile files there could be any number.
const maxLosses = 1000

// Losses is a list of them that ends with how many there are more.
type Losses struct {
	list []Loss
	more int
}

// Lose adds one.
func (l *Losses) Lose(at policy.Pos, what, why string) {
	if len(l.list) == maxLosses {
		l.more++
		return
	}
	l.list = append(l.list, Loss{Pos: at, What: what, Why: why})
}

// All are those that were lost.
func (l *Losses) All() []Loss {
	if l.more == 0 {
		return l.list
	}
	return append(l.list, Loss{What: fmt.Sprintf("%d things more", l.more), Why: "not listed"})
}
