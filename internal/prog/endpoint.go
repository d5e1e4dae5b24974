package prog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Families of socket addresses that a list of endpoints can name.
const (
	familyUnix  = 1
	familyInet  = 2
	familyInet6 = 10
)

// endpointAddr is how many bytes of address an endpoint has: sun_path of struct
// sockaddr_un, rounded up to whole words.
const endpointAddr = 112

// EndpointSize is the size in bytes of one endpoint of portcullis_endpoints in
// include/portcullis.h.
const EndpointSize = 8 + endpointAddr

// endpoint is one rule for socket addresses, as include/portcullis.h lays it out.
type endpoint struct {
	Family, Bits uint16
	// Low and High are the ports, or the lengths of a Unix address, that it takes.
	Low, High uint16
	Addr      [endpointAddr]byte
}

const anyPort = 1<<16 - 1

// parseEndpoint is the rules that an item stands for, or what is wrong with it.
//
//	127.0.0.1        an address, with any port
//	10.0.0.0/8:80    a network, and a port
//	[::1]:8000-8999  an IPv6 address, and a range of ports
//	[fd00::]/8:*     an IPv6 network, with any port
//	*:53             every IPv4 and IPv6 address
//	unix:/run/x      a Unix socket with a name in the file system
//	unix:/run/x/*    all whose names begin with "/run/x/"
//	unix:@name       one with an abstract name; unix:@name* all that begin so
//	unix:*           every Unix socket
func parseEndpoint(item string) (es []endpoint, reason string) {
	if name, ok := strings.CutPrefix(item, "unix:"); ok {
		e, reason := parseUnix(name)
		return []endpoint{e}, reason
	}
	host, ports := splitPorts(item)
	low, high, reason := parsePorts(ports)
	if reason != "" {
		return nil, reason
	}
	if host == "*" {
		return []endpoint{{Family: familyInet, Low: low, High: high}, {Family: familyInet6, Low: low, High: high}}, ""
	}
	e, reason := parseAddr(host)
	e.Low, e.High = low, high
	return []endpoint{e}, reason
}

// splitPorts parts an item at the colon behind an address; "*" is any port.
func splitPorts(item string) (host, ports string) {
	i := strings.LastIndexByte(item, ':')
	if i < 0 || i < strings.LastIndexByte(item, ']') || strings.Count(item, ":") > 1 && !strings.HasPrefix(item, "[") {
		return item, "*"
	}
	return item[:i], item[i+1:]
}

func parsePorts(ports string) (low, high uint16, reason string) {
	if ports == "*" {
		return 0, anyPort, ""
	}
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	a, err := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || a > b {
		return 0, 0, "expected a port, a range of ports such as 80-90, or * behind the colon"
	}
	return uint16(a), uint16(b), ""
}

const wantAddress = "expected an IPv4 address, an IPv6 address in brackets, *, or unix:NAME"

// parseAddr is an address with or without a length of its prefix, IPv6 in
// brackets. What the prefix leaves out becomes zero.
func parseAddr(host string) (endpoint, string) {
	text, bits, prefixed := strings.Cut(host, "/")
	if strings.HasPrefix(text, "[") {
		inner, ok := strings.CutSuffix(text[1:], "]")
		if prefixed && !ok { // [fd00::/8]
			bits, ok = strings.CutSuffix(bits, "]")
			inner = text[1:]
		}
		if text = inner; !ok || !strings.Contains(text, ":") {
			return endpoint{}, wantAddress
		}
	} else if strings.Contains(text, ":") {
		return endpoint{}, wantAddress
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return endpoint{}, wantAddress
	}
	n := addr.BitLen()
	if prefixed {
		if n, err = strconv.Atoi(bits); err != nil || n < 0 || n > addr.BitLen() {
			return endpoint{}, fmt.Sprintf("expected a prefix of 0 to %d bits", addr.BitLen())
		}
	}
	return inetEndpoint(addr, n)
}

// inetEndpoint makes an IPv4 endpoint of an IPv4 address in IPv6 clothes, which is
// how filters see such addresses.
func inetEndpoint(addr netip.Addr, bits int) (endpoint, string) {
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return endpoint{}, wantAddress
	}
	e := endpoint{Family: familyInet6, Bits: uint16(bits)}
	if addr.Is4() {
		e.Family = familyInet
	}
	copy(e.Addr[:], p.Addr().AsSlice())
	return e, ""
}

// maxUnix is the size of sun_path.
const maxUnix = 108

// parseUnix is a Unix address: the bytes that count, and how long it may be. The
// kernel ends a path at its NUL, and an abstract name where the address ends.
func parseUnix(name string) (endpoint, string) {
	e := endpoint{Family: familyUnix, High: anyPort}
	prefix, some := strings.CutSuffix(name, "*")
	switch {
	case some && prefix == "":
		return e, ""
	case !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@"):
		return e, "expected an absolute path, @ and an abstract name, or * behind unix:"
	case len(prefix) >= maxUnix || strings.IndexByte(name, 0) >= 0:
		return e, fmt.Sprintf("expected a name of at most %d bytes", maxUnix-1)
	}
	if path, reason := cleanPath(prefix); name[0] == '/' && (reason != "" || path != prefix) {
		return e, `expected a path without "..", "." and empty components`
	}
	copy(e.Addr[:], prefix)
	n := len(prefix)
	if name[0] == '@' {
		e.Addr[0] = 0
	}
	switch {
	case some:
	case name[0] == '@':
		e.Low, e.High = uint16(n)+2, uint16(n)+2
	default:
		n++ // and the NUL
	}
	e.Bits = uint16(8 * n)
	return e, ""
}

// String is an item that stands for e.
func (e endpoint) String() string {
	if e.Family == familyUnix {
		return "unix:" + e.unixName()
	}
	var addr netip.Addr
	if e.Family == familyInet {
		addr = netip.AddrFrom4([4]byte(e.Addr[:4]))
	} else {
		addr = netip.AddrFrom16([16]byte(e.Addr[:16]))
	}
	text := addr.String()
	if e.Family != familyInet {
		text = "[" + text + "]"
	}
	if int(e.Bits) != addr.BitLen() {
		text += "/" + strconv.Itoa(int(e.Bits))
	}
	switch {
	case e.Low == 0 && e.High == anyPort:
		return text
	case e.Low == e.High:
		return text + ":" + strconv.Itoa(int(e.Low))
	}
	return fmt.Sprintf("%s:%d-%d", text, e.Low, e.High)
}

func (e endpoint) unixName() string {
	n := min(int(e.Bits/8), len(e.Addr))
	name := e.Addr[:n]
	switch {
	case n == 0:
		return "*"
	case name[0] != 0 && name[n-1] == 0:
		return string(bytes.TrimRight(name, "\x00"))
	case name[0] != 0:
		return string(name) + "*"
	case e.Low == e.High:
		return "@" + string(name[1:])
	}
	return "@" + string(name[1:]) + "*"
}

// encodeEndpoints lays endpoints out in elements of size bytes.
func encodeEndpoints(es []endpoint, size int) (all [][]byte) {
	for _, e := range es {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.LittleEndian, e) // into memory
		element := make([]byte, size)
		copy(element, b.Bytes())
		all = append(all, element)
	}
	return all
}

func decodeEndpoint(element []byte) (e endpoint) {
	_ = binary.Read(bytes.NewReader(element), binary.LittleEndian, &e) // whole elements
	return e
}
