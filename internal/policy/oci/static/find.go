package static

import (
	"strconv"
	"strings"

	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
)

// Errors that readers and writers have a meaning for, and the largest that there is.
const (
	EPERM    = 1
	ENOSYS   = 38
	MaxErrno = 4095
)

// Findings is what a reader of another language finds in a file: what is lost, and the first
// error, behind which nothing that is read is of use. The zero value has found nothing.
type Findings struct {
	Losses
	err error
	// strange are names that were asked about, and whether they are of no call.
	strange map[string]bool
}

// Fail notes an error, if it is the first.
func (f *Findings) Fail(at policy.Pos, remedy, format string, args ...any) {
	if f.err == nil {
		f.err = policy.Wrong(at, remedy, format, args...)
	}
}

// Err is the first error, of type *policy.Error.
func (f *Findings) Err() error { return f.err }

// Result is what a reader gives for a file: a model with the file's lines, or the error.
func (f *Findings) Result(m *policy.Model, file string, data []byte) (*policy.Model, []Loss, error) {
	if f.err != nil {
		return nil, nil, f.err
	}
	m.Pos = policy.Pos{File: file, Line: 1, Col: 1}
	m.Lines = map[string][]string{file: strings.Split(string(data), "\n")}
	return m, f.All(), nil
}

// Strange tells whether no architecture has a call of that name.
func (f *Findings) Strange(name string) bool {
	strange, met := f.strange[name]
	if !met {
		if f.strange == nil {
			f.strange = map[string]bool{}
		}
		strange = !group.Known(name)
		f.strange[name] = strange
	}
	return strange
}

// Errno is an error by its name, or by its number.
func (f *Findings) Errno(at policy.Pos, text string) uint16 {
	if e, ok := Errno(text); ok {
		return e
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n > MaxErrno {
		f.Fail(at, "", "expected an error such as EPERM, or a number up to %d, found %s", MaxErrno, policy.Shown(text))
	}
	return uint16(n)
}

// Failing is the action of calls that fail with an error.
func (f *Findings) Failing(at policy.Pos, what string, errno uint16) policy.Action {
	if errno == 0 {
		f.LoseAs(Stricter, at, what, "calls fail with EPERM: a call that is not made and succeeds cannot be said")
		errno = EPERM
	}
	return policy.Action{Pos: at, Kind: policy.Errno, Data: errno}
}

// LoseTable notes that calls of another table of numbers, such as i386, are let in.
func (f *Findings) LoseTable(at policy.Pos, what string) {
	f.LoseAs(Guarded, at, what, "policies are about x86-64; a guard kills who makes others, unless it is lifted, and then they are not filtered")
}

// Same tells whether two actions do the same.
func Same(a, b policy.Action) bool { return a.Kind == b.Kind && a.Data == b.Data }
