// Package portcullis runs programs under eBPF filters that are asked about every
// system call of a process tree and keep state between calls.
//
// A filter is loaded by name or from an object file, given its constants, and
// put on a command, which then runs as with os/exec:
//
//	f, err := portcullis.Load("count-exec")
//	…
//	cmd := portcullis.Command("bash", "-c", "make")
//	cmd.Filters = []*portcullis.Filter{f}
//	err = cmd.Run()
//
// Nothing here needs privilege. Where a filter cannot be enforced, Start fails
// and CMD does not run.
package portcullis

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"portcullis/filters"
	"portcullis/internal/object"
	"portcullis/internal/policy"
	"portcullis/internal/policy/dialect"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
	"portcullis/policies"
)

// MaybeInit does nothing: no engine needs the cooperation of main at present.
// Programs that call it first in main stay right should one ever do.
func MaybeInit() {}

// Filter is one eBPF program with its maps and constants, not yet verified.
// A Filter may be put on several commands; each starts with state of its own.
// It is not safe for concurrent use.
type Filter struct {
	spec     string
	hash     string
	model    *policy.Model // nil if it is from no policy
	program  *prog.Program
	programs []*prog.Program // the object's other programs share its constants
	budget   int
	verified *verify.Verified
	tree     *split.Tree
	built    *built
}

// A LoadError says why a filter could not be found or read.
type LoadError struct {
	Spec string
	// Err is the cause; where the object is at fault it names section and symbol.
	Err error
}

// Error is one line.
func (e *LoadError) Error() string {
	var in *object.Error
	if errors.As(e.Err, &in) && in.Path == e.Spec { // it begins with the path
		return "filter " + in.Error()
	}
	var of *policy.Error
	if errors.As(e.Err, &of) && of.Pos.File != "" { // it begins with that of a file
		return "policy " + of.Error()
	}
	return fmt.Sprintf("filter %q: %v", e.Spec, e.Err)
}

// Unwrap gives the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// maxObject is the largest file of a filter read, in bytes; larger ones are refused
// so that a hostile path cannot exhaust memory.
const maxObject = 16 << 20

// Load finds a filter by its SPEC: the bare name of a built-in filter (see
// Builtins), of a ready policy, or the path of an ELF object or a policy, which contains a slash or a
// dot; ":PROG" after it selects one of several programs. Profiles of
// containers (JSON) and units of systemd are taken for the policies that they are, if
// nothing of them is lost. What a file holds tells what it is, not its name.
func Load(spec string) (*Filter, error) { return Reading{}.Load(spec) }

// Load is the function Load, with profiles of containers read in this way.
func (r Reading) Load(spec string) (*Filter, error) {
	name, program := splitSpec(spec)
	if program == "" && !isPath(name) {
		program = name // a built-in may have more, for tail calls
	}
	data, err := read(name)
	if err != nil {
		return nil, &LoadError{Spec: spec, Err: err}
	}
	if of := dialect.Of(data); of != nil && program == "" {
		return r.loadForeign(name, data, of)
	}
	if isPolicy(name, data) && (program == "" || program == name) {
		return LoadPolicy(name, data)
	}
	return LoadObject(name, data, program)
}

// LoadObject takes a filter from the bytes of an ELF object. Name stands in
// messages; program selects one of several programs and may be empty where
// there is one.
func LoadObject(name string, data []byte, program string) (*Filter, error) {
	ps, err := object.Read(name, data)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	p, err := choose(ps, program)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	sum := sha256.Sum256(data)
	return &Filter{spec: name, hash: hex.EncodeToString(sum[:]), program: p, programs: ps}, nil
}

// Builtins lists the names of the filters that come with Portcullis: those of
// general use, then those that each stop one vulnerability of the kernel.
func Builtins() []string { return append(filters.Names(), filters.Mitigations()...) }

func splitSpec(spec string) (name, program string) {
	i := strings.LastIndexByte(spec, ':')
	if i < 0 || strings.ContainsRune(spec[i:], '/') {
		return spec, ""
	}
	return spec[:i], spec[i+1:]
}

func read(name string) ([]byte, error) {
	if isPath(name) {
		return readFile(name)
	}
	if data, ok := filters.Object(name); ok {
		return data, nil
	}
	if data, ok := policies.Policy(name); ok {
		return data, nil
	}
	return nil, noSuchName(name)
}

// noSuchName names what may have been meant, else all there is.
func noSuchName(name string) error {
	hint := fmt.Sprintf("there are the filters %s, those of CVEs, and the policies %s",
		strings.Join(filters.Names(), ", "), strings.Join(policies.Names(), ", "))
	if near := policy.Nearest(name, append(Builtins(), policies.Names()...)); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("no built-in filter or policy of that name; %s (portcullis list); a file needs a path such as ./%s",
		hint, policy.Printable(name))
}

func isPath(name string) bool { return name != "" && !policy.IsName(name) }

func readFile(name string) ([]byte, error) {
	data, size, err := readRegular(name, kindOfFilter(name), maxObject)
	if err == nil && size > maxObject {
		return nil, fmt.Errorf("%d bytes: expected a filter of at most %d", size, maxObject)
	}
	return data, err
}

// readRegular reads a regular file of at most so many bytes; of one that is larger it reads
// one byte more at most. The size is at least what was read: files of /proc do not say how
// much they hold.
func readRegular(name, expected string, most int64) (data []byte, size int64, err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("expected %s, found a %s", expected, kindOf(info.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, most+1))
	return data, max(info.Size(), int64(len(data))), err
}

// kindOf names what is no regular file.
func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&os.ModeNamedPipe != 0:
		return "named pipe"
	case m&os.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func choose(ps []*prog.Program, name string) (*prog.Program, error) {
	var names []string
	for _, p := range ps {
		if p.Name == name || name == "" && len(ps) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if name == "" {
		return nil, fmt.Errorf("holds %d programs, expected one to be chosen, as in SPEC:%s; there are %s",
			len(ps), names[0], strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no program %q; there are %s", name, strings.Join(names, ", "))
}

// Name is the program's name.
func (f *Filter) Name() string { return f.program.Name }

// Hash is the SHA-256 of the object file in hexadecimal; it stands in events.
func (f *Filter) Hash() string { return f.hash }

// SetBudget changes how many instructions the verifier visits before it gives
// up; 0 is the default of 100,000.
func (f *Filter) SetBudget(n int) {
	f.budget = n
	f.verified, f.tree, f.built = nil, nil, nil
}

// Set gives a constant of the filter (a const volatile variable) its value,
// checked against the variable's type: an integer, true or false, a string, or a
// list such as "execve,fork" for a variable that holds system-call numbers, "/usr,/etc"
// for one of paths and "10.0.0.0/8:80,[::1],unix:/run/x" for one of socket addresses.
func (f *Filter) Set(name, value string) error {
	f.verified, f.tree, f.built = nil, nil, nil
	return prog.Set(f.programs, name, value)
}

// Verify proves that the filter is safe to run; the error names instruction,
// source line and remedy. Start does it where it was not done before.
func (f *Filter) Verify() error {
	if f.verified != nil {
		return nil
	}
	v, err := verify.Program(f.program, verify.Options{Budget: f.budget})
	if err != nil {
		return err
	}
	f.verified, f.tree, f.built = v, split.Split(v), &built{}
	return nil
}
