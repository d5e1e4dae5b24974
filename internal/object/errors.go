package object

import (
	"fmt"
	"strings"
	"unicode"
)

// Error says why an object was refused. Empty fields do not apply.
type Error struct {
	// Path is the object's name as given to Read, or says that one is written.
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

// plain tells whether a name is made of visible ASCII characters. Names come
// from an object that nobody vouches for and end up on terminals.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// printable quotes a name unless it is plain.
func printable(s string) string {
	if plain(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// checkName refuses names that are not plain.
func (o *object) checkName(section, name string) error {
	if plain(name) {
		return nil
	}
	return o.failAt(section, name, "not a name: expected visible ASCII characters", "rename it")
}

// maxText is how much of a line of source is kept, in bytes.
const maxText = 512

// visible replaces what a terminal would act upon, in a line of source.
func visible(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
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
