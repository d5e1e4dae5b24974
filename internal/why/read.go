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
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci"
	"portcullis/internal/policy/systemd"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// maxHead is how much of a file is looked at to say what it is instead of events, in bytes.
const maxHead = 64 << 10

// Read takes in the lines of a file: those that begin with { are events, those that hold a
// seccomp record are the kernel's, and others, of which logs are full, are passed over. A file
// that has none of them and is a filter or a policy has been given by mistake.
func (r *Report) Read(from io.Reader) error {
	in := bufio.NewReaderSize(from, maxHead)
	head, _ := in.Peek(maxHead)
	found := filter(head)
	taken, err := r.lines(in)
	if found != "" && taken == 0 {
		return fmt.Errorf("expected events or a log, found %s: run a command under it with --events FILE, and give that", found)
	}
	r.Sort()
	return err
}

// filter is what a file is that begins so, if it is one for the commands that take filters.
func filter(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return "a compiled filter"
	case policy.Recognise(head):
		return "a policy"
	case oci.Recognise(head) && bytes.Contains(head, []byte(`"defaultAction"`)):
		return "a profile of a container"
	case systemd.Recognise(head):
		return "lines of a unit"
	}
	return ""
}

// lines takes in lines, and tells how many of them said something.
func (r *Report) lines(in io.Reader) (taken int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if bytes.IndexByte(text, 0) >= 0 {
			return taken, fmt.Errorf("line %d: expected text, found a byte of zero: give it events or a log", n)
		}
		said, err := r.line(text)
		if err != nil {
			return taken, &event.SyntaxError{Line: n, Err: err}
		}
		if said {
			taken++
		}
	}
	if err := lines.Err(); err != nil {
		return taken, fmt.Errorf("line %d: %w", n+1, err)
	}
	return taken, nil
}

// line takes in a line, and tells whether it is an event or a record.
func (r *Report) line(text []byte) (bool, error) {
	if len(text) > 0 && text[0] == '{' {
		var e event.Event
		if err := e.UnmarshalJSON(text); err != nil {
			return false, err
		}
		r.Add(&e)
		return true, nil
	}
	e, isRecord, denies := parseAudit(string(text))
	if denies {
		r.denied(e, false)
	}
	return isRecord, nil
}

// parseAudit reads a record as the kernel prints it, or as auditd writes it, and tells whether it is
// one, and of a call that was not made: audit_seccomp in kernel/auditsc.c. It has no arguments.
func parseAudit(text string) (e *event.Event, isRecord, denies bool) {
	if !strings.Contains(text, "type=1326") && !strings.Contains(text, "type=SECCOMP") {
		return nil, false, false
	}
	fields := map[string]string{}
	for _, word := range strings.Fields(text) {
		if name, value, ok := strings.Cut(word, "="); ok && fields[name] == "" {
			fields[name] = value
		}
	}
	e = &event.Event{Kind: event.KindVerdict, Insn: -1, Comm: unquote(fields["comm"])}
	nr, err := strconv.ParseInt(fields["syscall"], 10, 32)
	if known, ok := syscalls.Number(fields["syscall"]); ok {
		nr, err = int64(known), nil
	}
	arch, archErr := strconv.ParseUint(fields["arch"], 16, 32)
	if fields["arch"] == "x86_64" {
		arch, archErr = uint64(abi.ArchX86_64), nil
	}
	code, codeErr := strconv.ParseUint(fields["code"], 0, 32)
	if err != nil || archErr != nil || codeErr != nil {
		return nil, false, false
	}
	e.Call.Nr, e.Call.Arch, e.Verdict = int32(nr), abi.Arch(arch), abi.Verdict(code)
	return e, true, e.Denies() || answered(e.Verdict.Action()) && !injected(fields["ip"])
}

// injected tells whether a tracer made a call in the target's name, which no target can do there.
func injected(ip string) bool {
	at, err := strconv.ParseUint(ip, 0, 64)
	return err == nil && at == abi.CallSite
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
