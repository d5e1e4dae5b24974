//go:build linux && amd64

package task

import (
	"bytes"
	"strconv"

	"portcullis/internal/sys"
)

// status is a read of /proc/TID/status; its ids are those of the reader's
// namespaces.
type status struct {
	n   int
	buf [2048]byte // Groups may be cut off; what is needed comes before it
}

func (s *status) read(tid int) error {
	var path [32]byte
	n, err := sys.ReadFile(procPath(path[:0], tid, "/status\x00"), s.buf[:])
	if err != nil {
		return &Error{tid, "reading /proc/TID/status", err}
	}
	s.n = n
	return nil
}

func procPath(b []byte, tid int, file string) []byte {
	b = append(b, "/proc/"...)
	b = strconv.AppendInt(b, int64(tid), 10)
	return append(b, file...)
}

func (s *status) tgid() (int, error) {
	n, err := s.number("\nTgid:\t")
	return int(n), err
}

// uidGid is gid << 32 | uid, the real ones, as bpf_get_current_uid_gid.
func (s *status) uidGid() (uint64, error) {
	uid, err := s.number("\nUid:\t")
	if err != nil {
		return 0, err
	}
	gid, err := s.number("\nGid:\t")
	return gid<<32 | uid, err
}

// number is the first number after a label. The command name before it can
// imitate none: a newline in it is escaped.
func (s *status) number(label string) (uint64, error) {
	_, rest, _ := bytes.Cut(s.buf[:s.n], []byte(label))
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	return strconv.ParseUint(string(rest[:end]), 10, 32)
}

// ProcessOf is the process of a thread, as /proc says.
func ProcessOf(tid int) (int, error) { return lineOf(tid, "\nTgid:\t") }

// ParentOf is the process whose child a thread's process is.
func ParentOf(tid int) (int, error) { return lineOf(tid, "\nPPid:\t") }

// TracerOf is the thread that traces another one, 0 for none.
func TracerOf(tid int) (int, error) { return lineOf(tid, "\nTracerPid:\t") }

func lineOf(tid int, label string) (int, error) {
	var s status
	if err := s.read(tid); err != nil {
		return 0, err
	}
	n, err := s.number(label)
	return int(n), err
}
