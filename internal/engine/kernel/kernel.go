// Package kernel enforces a stack of verified filters inside the kernel, where it is Linux with the patch series of linux/.
//
// The filters are loaded by bpf(2) and installed by seccomp(2) on a process that
// then executes the target. Nothing of them stays open anywhere: what is
// installed is reachable through no descriptor, and needs no supervisor.
package kernel

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"portcullis/internal/prog"
)

// UnavailableError says that this process cannot use the kernel engine.
type UnavailableError struct {
	Reason string // what was found
	Remedy string // what to do
	Cause  error  // may be nil
}

func (e *UnavailableError) Error() string {
	s := "kernel engine: " + e.Reason
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s + ": " + e.Remedy
}

// Unwrap returns the cause, which may be nil.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// UnsupportedError says what this engine does not do yet.
type UnsupportedError struct {
	What   string
	Remedy string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("kernel engine: %s is not supported: %s", e.What, e.Remedy)
}

// MapError says that the kernel refused a map.
type MapError struct {
	Program, Map string
	Step         string // create, fill, freeze, type information
	Cause        error
}

func (e *MapError) Error() string {
	s := fmt.Sprintf("kernel engine: program %s: map %s: %s: %v", e.Program, e.Map, e.Step, e.Cause)
	if e.Cause == syscall.EPERM {
		s += ": see sysctl kernel.seccomp.ebpf and RLIMIT_MEMLOCK"
	}
	return s
}

// Unwrap returns the errno.
func (e *MapError) Unwrap() error { return e.Cause }

// LoadError says that the kernel refused a program that our verifier accepts. It
// is one line; %+v adds the kernel's log.
type LoadError struct {
	Program string
	Insn    int    // the instruction the log ends at, or -1
	Line    string // its source line, or ""
	Reason  string // the log's last words, or ""
	Log     string
	Cause   error // the errno
}

func (e *LoadError) Error() string {
	s := "kernel engine: program " + e.Program
	if e.Insn >= 0 {
		s += fmt.Sprintf(": instruction %d", e.Insn)
	}
	if e.Line != "" {
		s += " (" + e.Line + ")"
	}
	if e.Reason != "" {
		s += ": the kernel's verifier refuses: " + e.Reason
	}
	return s + ": " + e.Cause.Error()
}

// Unwrap returns the errno.
func (e *LoadError) Unwrap() error { return e.Cause }

// Format prints the one line, and for %+v the kernel's log after it.
func (e *LoadError) Format(s fmt.State, verb rune) {
	_, _ = s.Write([]byte(e.Error()))
	if verb == 'v' && s.Flag('+') && e.Log != "" {
		_, _ = s.Write([]byte("\n" + e.Log))
	}
}

// newLoadError finds the reason in the kernel's log: its last line but the
// statistics, and the last instruction printed before it.
func newLoadError(p *prog.Program, err error, log string) *LoadError {
	e := &LoadError{Program: p.Name, Insn: -1, Log: log, Cause: err}
	insn := regexp.MustCompile(`^(\d+): \([0-9a-f]{2}\) `)
	for _, line := range strings.Split(log, "\n") {
		line = strings.TrimSpace(line)
		if m := insn.FindStringSubmatch(line); m != nil {
			e.Insn, _ = strconv.Atoi(m[1])
		}
		if line != "" && !statistics(line) {
			e.Reason = line
		}
	}
	if e.Insn >= 0 {
		e.Line = p.LineOf(e.Insn).String()
	}
	return e
}

// statistics tells whether a line of the log is one of its closing figures.
func statistics(line string) bool {
	return strings.HasPrefix(line, "processed ") || strings.HasPrefix(line, "verification time") ||
		strings.HasPrefix(line, "stack depth")
}

// objectName makes a name the kernel accepts for a program or map: at most 15
// letters, digits, '_' and '.' (bpf_obj_name_cpy in kernel/bpf/syscall.c).
func objectName(s string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
			return r
		}
		return '_'
	}, s)
	return name[:min(len(name), 15)]
}
