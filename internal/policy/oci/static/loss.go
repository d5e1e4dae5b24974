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
	// Effect is what that does to the calls that can be made.
	Effect Effect
}

// Effect is how what is made differs from what was read, for calls that can be made.
type Effect uint8

// The effects of a loss. What is not known to be harmless is Open.
const (
	// Open is that calls may be made which were denied.
	Open Effect = iota
	// Guarded is that no more calls can be made while no guard is lifted.
	Guarded
	// Stricter is that no more calls can be made than before.
	Stricter
)

// When is the effect if that is so, else Open.
func (e Effect) When(so bool) Effect {
	if so {
		return e
	}
	return Open
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

// Lose adds one that may let more calls be made.
func (l *Losses) Lose(at policy.Pos, what, why string) { l.LoseAs(Open, at, what, why) }

// LoseAs adds one with the effect. Those that are not listed are Open.
func (l *Losses) LoseAs(effect Effect, at policy.Pos, what, why string) {
	if len(l.list) == maxLosses {
		l.more++
		return
	}
	l.list = append(l.list, Loss{Pos: at, What: what, Why: why, Effect: effect})
}

// All are those that were lost.
func (l *Losses) All() []Loss {
	if l.more == 0 {
		return l.list
	}
	return append(l.list, Loss{What: fmt.Sprintf("%d things more", l.more), Why: "not listed"})
}
