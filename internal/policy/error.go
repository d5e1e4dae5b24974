package policy

import (
	"fmt"
	"strings"
	"unicode"
)

// Error says what is wrong with a policy, and where.
type Error struct {
	Pos Pos
	// Reason is what was expected and what was found, Remedy what to do, if that is not
	// plain.
	Reason, Remedy string
	// Err is the cause, if another package found it.
	Err error
}

// Error is one line.
func (e *Error) Error() string {
	s := e.Reason
	if at := e.Pos.String(); at != "" {
		s = at + ": " + s
	}
	if e.Remedy != "" {
		s += ": " + e.Remedy
	}
	return Printable(s)
}

// Printable is a message whose control characters cannot reach a terminal: names, of files too, may
// hold anything.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wrong is the error at a place, with what can be done about it.
func Wrong(at Pos, remedy, format string, args ...any) *Error {
	return &Error{Pos: at, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Shown is a text of a policy as a message has it: quoted, and not too long.
func Shown(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
