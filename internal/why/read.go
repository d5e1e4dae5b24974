package why

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// Read takes in the lines of a file: those that begin with { are events, those that hold a
// seccomp record are the kernel's, and others, of which logs are full, are passed over.
func (r *Report) Read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if bytes.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("line %d: expected text, found a byte of zero: give it events or a log", n)
		}
		if err := r.line(text); err != nil {
			return &event.SyntaxError{Line: n, Err: err}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	r.Sort()
	return nil
}

func (r *Report) line(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		var e event.Event
		if err := e.UnmarshalJSON(text); err != nil {
			return err
		}
		r.Add(&e)
		return nil
	}
	if e, ok := parseAudit(string(text)); ok {
		r.denied(e, false)
	}
	return nil
}

// parseAudit reads a record as the kernel prints it, or as auditd writes it, if it is one of a
// call that was not made: audit_seccomp in kernel/auditsc.c. It has no arguments.
func parseAudit(text string) (*event.Event, bool) {
	if !strings.Contains(text, "type=1326") && !strings.Contains(text, "type=SECCOMP") {
		return nil, false
	}
	fields := map[string]string{}
	for _, word := range strings.Fields(text) {
		if name, value, ok := strings.Cut(word, "="); ok && fields[name] == "" {
			fields[name] = value
		}
	}
	e := &event.Event{Kind: event.KindVerdict, Insn: -1, Comm: unquote(fields["comm"])}
	nr, err := strconv.ParseUint(fields["syscall"], 10, 31)
	if known, ok := syscalls.Number(fields["syscall"]); ok {
		nr, err = uint64(known), nil
	}
	arch, archErr := strconv.ParseUint(fields["arch"], 16, 32)
	if fields["arch"] == "x86_64" {
		arch, archErr = uint64(abi.ArchX86_64), nil
	}
	code, codeErr := strconv.ParseUint(fields["code"], 0, 32)
	if err != nil || archErr != nil || codeErr != nil {
		return nil, false
	}
	e.Call.Nr, e.Call.Arch, e.Verdict = int32(nr), abi.Arch(arch), abi.Verdict(code)
	return e, e.Denies()
}

// unquote reads a text of an audit record, in quotes or in hexadecimal.
func unquote(s string) string {
	if strings.HasPrefix(s, `"`) {
		return strings.Trim(s, `"`)
	}
	if raw, err := hex.DecodeString(s); err == nil {
		return string(raw)
	}
	return s
}
