package policy

import "portcullis/internal/abi"

// Failure is why a call fails that no rule denies; the zero Failure is none. It stands in front
// of the line that a message shows.
type Failure string

// The failures. The kernel would answer with the same errors, but for NoRoom.
const (
	Unreadable Failure = "an argument that cannot be read"
	TooLong    Failure = "a text that is too long"
	BadAddress Failure = "an address that is too short or too long"
	NoRoom     Failure = "no memory for state"
)

// Failures are all of them.
func Failures() []Failure { return []Failure{Unreadable, TooLong, BadAddress, NoRoom} }

// verdict is what becomes of a call.
func (f Failure) verdict() abi.Verdict {
	const einval, enomem, efault, enametoolong = 22, 12, 14, 36
	return abi.Errno(map[Failure]uint16{Unreadable: efault, TooLong: enametoolong, BadAddress: einval, NoRoom: enomem}[f])
}

// shown is a line with the failure in front.
func (f Failure) shown(line string) string {
	switch {
	case f == "":
		return line
	case line == "":
		return string(f)
	}
	return string(f) + ": " + line
}
