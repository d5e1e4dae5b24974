package interp

import (
	"strconv"

	"portcullis/internal/maps"
)

// printkSize is the kernel's MAX_BPRINTF_BUF.
const printkSize = 1024

// printk is bpf_trace_printk(fmt, size, a, b, c): the formatted text goes to
// the log and its length to R0; -EINVAL if the kernel would refuse the format.
// Source: bpf_bprintf_prepare in kernel/bpf/helpers.c. %s and the kernel's
// extensions of %p are refused too: no filter has a pointer to give them.
func (m *Machine) printk() bool {
	format, ok := m.readable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	out, ok := appendFormat(m.line[:0], format, [3]uint64{m.r[3], m.r[4], m.r[5]})
	if !ok {
		m.r[0] = negative(maps.EINVAL)
		return true
	}
	m.r[0] = uint64(len(out))
	m.env.Printk(out)
	return true
}

// appendFormat formats as the kernel does. The format ends at its first NUL
// and must have one.
func appendFormat(out, format []byte, args [3]uint64) ([]byte, bool) {
	next := 0
	for i := 0; i < len(format); i++ {
		c := format[i]
		switch {
		case c == 0:
			return out, true
		case c >= 0x7f || c < ' ' && (c < '\t' || c > '\r'):
			return out, false
		case c != '%':
			out = appendByte(out, c)
			continue
		}
		spec, n := parseSpec(format[i+1:])
		i += n
		switch {
		case spec.verb == '%':
			out = appendByte(out, '%')
			continue
		case spec.verb == 0 || next == len(args):
			return out, false
		}
		out = spec.append(out, args[next])
		next++
	}
	return out, false
}

// appendByte adds a byte as far as the log's line goes.
func appendByte(out []byte, c byte) []byte {
	if len(out) == printkSize {
		return out
	}
	return append(out, c)
}

// spec is one conversion of a format.
type spec struct {
	left, zero, plus, space bool
	width                   int
	long                    bool
	verb                    byte // d, u, x, c, p or %; 0 if unknown
}

// parseSpec reads what follows a %, and says how long it is.
func parseSpec(f []byte) (s spec, n int) {
	at := func() byte {
		if n < len(f) {
			return f[n]
		}
		return 0
	}
	if at() == '%' {
		return spec{verb: '%'}, 1
	}
	for ; s.flag(at()); n++ {
	}
	for ; at() >= '0' && at() <= '9'; n++ {
		if s.width = 10*s.width + int(at()-'0'); s.width > printkSize {
			s.width = printkSize
		}
	}
	for l := 0; at() == 'l' && l < 2; l++ {
		s.long = true
		n++
	}
	switch c := at(); c {
	case 'd', 'i':
		s.verb = 'd'
	case 'u', 'x':
		s.verb = c
	case 'c', 'p':
		if !s.long {
			s.verb = c
		}
	}
	return s, n + 1
}

func (s *spec) flag(c byte) bool {
	switch c {
	case '-':
		s.left = true
	case '0':
		s.zero = true
	case '+':
		s.plus = true
	case ' ':
		s.space = true
	default:
		return false
	}
	return true
}

// append formats one argument.
func (s spec) append(out []byte, arg uint64) []byte {
	var digits [24]byte
	text, sign := digits[:0], byte(0)
	switch s.verb {
	case 'd':
		v := int64(arg)
		if !s.long {
			v = int64(int32(arg))
		}
		text, sign = s.signed(text, v)
	case 'u', 'x', 'p':
		text = strconv.AppendUint(text, s.unsigned(arg), map[bool]int{true: 10, false: 16}[s.verb == 'u'])
	case 'c':
		text = append(text, byte(arg))
	}
	return s.pad(out, text, sign)
}

func (s spec) unsigned(arg uint64) uint64 {
	if s.long || s.verb == 'p' {
		return arg
	}
	return uint64(uint32(arg))
}

func (s spec) signed(text []byte, v int64) ([]byte, byte) {
	switch {
	case v < 0:
		return strconv.AppendUint(text, -uint64(v), 10), '-'
	case s.plus:
		return strconv.AppendUint(text, uint64(v), 10), '+'
	case s.space:
		return strconv.AppendUint(text, uint64(v), 10), ' '
	}
	return strconv.AppendUint(text, uint64(v), 10), 0
}

// pad adds sign and text in a field of the conversion's width.
func (s spec) pad(out, text []byte, sign byte) []byte {
	fill := s.width - len(text)
	if sign != 0 {
		fill--
	}
	zero := s.zero && !s.left && s.verb != 'c'
	if !s.left && !zero {
		out = repeat(out, ' ', fill)
	}
	if sign != 0 {
		out = appendByte(out, sign)
	}
	if zero {
		out = repeat(out, '0', fill)
	}
	for _, c := range text {
		out = appendByte(out, c)
	}
	if s.left {
		out = repeat(out, ' ', fill)
	}
	return out
}

func repeat(out []byte, c byte, n int) []byte {
	for ; n > 0; n-- {
		out = appendByte(out, c)
	}
	return out
}
