//go:build linux && amd64

package launch

import (
	"encoding/binary"
	"errors"
	"syscall"

	"portcullis/internal/sys"
)

// Config is what the init stage is to do.
type Config struct {
	// Path, Argv and Env are execve's arguments; Path is relative to the
	// command's directory.
	Path      string
	Argv, Env []string
	// Filter is the classic BPF to install; at least one instruction.
	Filter []sys.FilterInsn
	// Listen says whether the filter notifies.
	Listen Listen
	// Token is in execveat's sixth argument, where the filter exempts it.
	Token uint64
	// DeathSignal is what the target gets when the supervisor's thread dies; 0 none.
	DeathSignal syscall.Signal
	// Ignored is the set of signals that the target ignores from the start.
	Ignored uint64
}

// Listen says whether a listener is made with the filter, and how its
// notifications wait.
type Listen uint8

// The ways to listen.
const (
	ListenNone     Listen = iota // a static filter
	ListenProbe                  // find out which of the other two works
	ListenKillable               // received notifications outlast signals
	ListenPlain                  // they do not: signals restart the call
)

// errConfig is a configuration that is not what encode made.
var errConfig = errors.New("the init stage got a configuration that is cut off")

// encode is read by decode alone, in the same program: it has no versions.
func (c *Config) encode() []byte {
	var b []byte
	b = appendStrings(b, []string{c.Path})
	b = appendStrings(b, c.Argv)
	b = appendStrings(b, c.Env)
	b = append(b, byte(c.Listen), byte(c.DeathSignal))
	b = binary.LittleEndian.AppendUint64(b, c.Token)
	b = binary.LittleEndian.AppendUint64(b, c.Ignored)
	for _, in := range c.Filter {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// fixed is the size of what encode puts between strings and filter.
const fixed = 18

func decode(b []byte) (*Config, error) {
	r := reader{b}
	var c Config
	path := r.strings()
	c.Argv, c.Env = r.strings(), r.strings()
	rest := r.b
	if len(path) != 1 || len(rest) <= fixed || (len(rest)-fixed)%8 != 0 {
		return nil, errConfig
	}
	c.Path, c.Listen, c.DeathSignal = path[0], Listen(rest[0]), syscall.Signal(rest[1])
	c.Token, c.Ignored = binary.LittleEndian.Uint64(rest[2:]), binary.LittleEndian.Uint64(rest[10:])
	for f := rest[fixed:]; len(f) > 0; f = f[8:] {
		c.Filter = append(c.Filter, sys.FilterInsn{
			Code: binary.LittleEndian.Uint16(f), Jt: f[2], Jf: f[3],
			K: binary.LittleEndian.Uint32(f[4:]),
		})
	}
	return &c, nil
}

// reader takes values off b; a value that is cut off empties it.
type reader struct{ b []byte }

func (r *reader) number() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b)) {
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) strings() []string {
	var list []string
	for n := r.number(); n > 0; n-- {
		size := r.number()
		if size > len(r.b) {
			r.b = nil
			return nil
		}
		list = append(list, string(r.b[:size]))
		r.b = r.b[size:]
	}
	return list
}

// message is what the two sides say to each other, apart from the configuration.
type message struct {
	kind     kind
	killable Listen        // of listening: what the probe found
	errno    syscall.Errno // of failed
	step     string        // of failed: the call
}

type kind byte

const (
	hello     kind = 'h'
	configure kind = 'c'
	listening kind = 'l'
	proceed   kind = 'p'
	failed    kind = 'f'
)

// maxMessage bounds an encoded message.
const maxMessage = 256

func (m message) encode() []byte {
	b := []byte{byte(m.kind), byte(m.killable)}
	b = binary.LittleEndian.AppendUint32(b, uint32(m.errno))
	return append(b, m.step...)
}

func decodeMessage(b []byte) message {
	if len(b) < 6 {
		return message{}
	}
	return message{
		kind: kind(b[0]), killable: Listen(b[1]),
		errno: syscall.Errno(binary.LittleEndian.Uint32(b[2:])), step: string(b[6:]),
	}
}
