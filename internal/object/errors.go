package object

import (
	"fmt"
	"strings"
)

// Error says why an object was refused. Empty fields do not apply.
type Error struct {
	// Path is the object's name as given to Read.
	Path string
	// Section is the ELF section at fault.
	Section string
	// Symbol is the function, map or variable at fault.
	Symbol string
	// Reason says what was expected and what was found.
	Reason string
	// Remedy says what the author of the filter can do.
	Remedy string
	// Err is the cause, if another package found it.
	Err error
}

// Error is one line: where, what, and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Section != "" {
		fmt.Fprintf(&b, ": section %q", e.Section)
	}
	if e.Symbol != "" {
		fmt.Fprintf(&b, ": %s", printable(e.Symbol))
	}
	fmt.Fprintf(&b, ": %s", e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", oneLine(e.Err.Error()))
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// oneLine keeps a foreign message from breaking the one-line form.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// printable quotes a name unless it is a plain identifier: names come from an
// object that nobody vouches for and end up on terminals.
func printable(s string) string {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}

// fail is an error about the whole object.
func (o *object) fail(reason, remedy string, cause error) error {
	return &Error{Path: o.path, Reason: reason, Remedy: remedy, Err: cause}
}

// failIn is an error about a section.
func (o *object) failIn(section, reason, remedy string) error {
	return &Error{Path: o.path, Section: section, Reason: reason, Remedy: remedy}
}

// failAt is an error about a symbol of a section.
func (o *object) failAt(section, symbol, reason, remedy string) error {
	return &Error{Path: o.path, Section: section, Symbol: symbol, Reason: reason, Remedy: remedy}
}
