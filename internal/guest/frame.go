package guest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Everything that passes between host and guest goes through one virtio-serial
// port as frames: a kind, a length (little-endian, 32 bits), a payload. One
// ordered stream needs no rule about which of several ports is read last.
const (
	frameJob    = 'j' // host: what to run, JSON
	frameInput  = 'i' // host: standard input
	frameEOF    = 'e' // host: end of standard input
	frameSize   = 'w' // host: size of the terminal, JSON
	frameReady  = 'r' // guest: init is up
	frameStdout = 'o' // guest
	frameStderr = 'E' // guest
	frameExit   = 'x' // guest: how the command ended, JSON; the last frame
)

// portName is the name of the virtio-serial port.
const portName = "portcullis.0"

// maxFrame bounds a payload, so that a broken peer is an error and not an allocation.
const maxFrame = 1 << 20

// job is what init is to run.
type job struct {
	Self   string // name of the running program
	Path   string
	Args   []string
	Env    []string
	Dir    string
	UID    int
	Shares []string // directories mounted read-write, by their index in mount tags
	// Terminal is the size of the terminal to run on; nil for pipes.
	Terminal *winsize `json:",omitempty"`
}

// winsize is the size of a terminal in characters.
type winsize struct{ Rows, Cols uint16 }

// exit is how a command ended.
type exit struct {
	Code   int
	Signal int
	Start  string `json:",omitempty"` // why it could not be started
	Errno  int    `json:",omitempty"`
	Fault  string `json:",omitempty"` // why init failed
}

// frameWriter writes whole frames; it is safe for concurrent use.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// send writes one frame, or several when the payload is longer than a frame may be.
func (f *frameWriter) send(kind byte, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		n := min(len(payload), maxFrame)
		head := make([]byte, 5, 5+n)
		head[0] = kind
		binary.LittleEndian.PutUint32(head[1:], uint32(n))
		if _, err := f.w.Write(append(head, payload[:n]...)); err != nil {
			return err
		}
		if payload = payload[n:]; len(payload) == 0 {
			return nil
		}
	}
}

// sendJSON writes v as one frame.
func (f *frameWriter) sendJSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("guest: message of %d bytes exceeds %d: shorten the environment or arguments", len(b), maxFrame)
	}
	return f.send(kind, b)
}

// stream is a writer whose writes become frames of one kind.
type stream struct {
	f    *frameWriter
	kind byte
}

func (s stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.f.send(s.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// readFrame reads one frame; io.EOF means that the peer closed between frames.
func readFrame(r *bufio.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("guest: frame %q of %d bytes: at most %d expected, the stream is broken", head[0], n, maxFrame)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return head[0], payload, nil
}

// cut splits an environment entry.
func cut(kv string) (name, value string, found bool) { return strings.Cut(kv, "=") }
