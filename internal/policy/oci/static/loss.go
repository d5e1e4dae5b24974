package static

import "portcullis/internal/policy"

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
	return s
}
