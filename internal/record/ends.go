package record

import (
	"encoding/binary"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"portcullis/internal/event"
	"portcullis/internal/policy"
)

// Families of sockets.
const (
	afUnspec = 0
	afUnix   = 1
	afInet   = 2
	afInet6  = 10
)

// socketEnd is an address as a use had it.
type socketEnd struct {
	use  use
	kind endKind
	// text is the name of a Unix socket as a policy has it; addr and port are another's.
	text string
	addr netip.Addr
	port uint16
	// cut tells that the text takes more than was seen, as a policy cannot hold all of it.
	cut bool
	// length is that of what a policy cannot name.
	length int
}

// endKind is what kind of address one is.
type endKind uint8

// The kinds.
const (
	inet endKind = iota
	unixName
	// unixAny is a Unix socket whose name policies cannot tell from others, as it is relative.
	unixAny
	noFamily
	// otherFamily is one that policies know by its length alone.
	otherFamily
)

func (r *Recorder) address(e *event.Event, n *namer, raw []byte) {
	r.names.seenIn(len(r.runs))
	if len(raw) < 2 {
		return
	}
	end := endOf(n.use, raw, e.Pid, e.Tid)
	t := r.names.ends[end]
	if t == nil {
		if !r.names.room(len(end.text) + 32) {
			return
		}
		t = &tally{by: map[string]bool{}}
		r.names.ends[end] = t
	}
	t.add(len(r.runs), short(e.Comm))
	r.names.lists[n.use].calls[uint32(e.Call.Nr)] = true
}

// endOf reads a socket address of at least two bytes. One that the kernel will refuse is
// none to be named.
func endOf(u use, raw []byte, pid, tid int) socketEnd {
	end := socketEnd{use: u, kind: otherFamily, length: len(raw)}
	switch family := binary.LittleEndian.Uint16(raw); {
	case family == afInet && len(raw) >= 16, family == afUnspec && u != connects && len(raw) >= 16:
		end = socketEnd{use: u, addr: netip.AddrFrom4([4]byte(raw[4:8])), port: binary.BigEndian.Uint16(raw[2:])}
	case family == afInet6 && len(raw) >= 24:
		end = socketEnd{use: u, addr: netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), port: binary.BigEndian.Uint16(raw[2:])}
	case family == afUnspec && u == connects:
		end = socketEnd{use: u, kind: noFamily}
	case family == afUnix && len(raw) > 2:
		end = unixEnd(u, raw[2:], pid, tid)
	}
	return end
}

// plainEnd are the characters that the name of a Unix socket may have in a policy.
const plainEnd = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@+="

func unixEnd(u use, raw []byte, pid, tid int) socketEnd {
	abstract := raw[0] == 0
	text := string(raw)
	if abstract {
		text = text[1:]
	} else {
		text, _, _ = strings.Cut(text, "\x00")
	}
	if !abstract && (!strings.HasPrefix(text, "/") || strings.HasPrefix(text, "/proc/") || strings.HasPrefix(text, "/dev/fd")) {
		return socketEnd{use: u, kind: unixAny}
	}
	text, glob := plainText(text)
	n := name{form: absolute, text: text, glob: glob}
	if !abstract && !glob {
		if n = spell(text, false, pid, tid); n.form != absolute {
			return socketEnd{use: u, kind: unixAny}
		}
	} else if abstract && !glob {
		n = n.general(pid, tid)
	}
	cut := glob || n.glob && n.text == "" // as those are that the kernel gives out
	if abstract {
		n.text = "@" + n.text
	}
	if n.glob {
		n.text += "*"
	}
	return socketEnd{use: u, kind: unixName, text: strings.Clone("unix:" + n.text), cut: cut}
}

// plainText is a text up to the first character that has a meaning in a list of addresses.
func plainText(s string) (text string, cut bool) {
	rest := strings.TrimLeft(s, plainEnd)
	text = s[:len(s)-len(rest)]
	const most = 100
	if len(text) > most {
		return text[:most], true
	}
	return text, rest != ""
}

// mostPorts is how many ports of an address are named, mostAddresses how many addresses with
// the same port: more are taken for any port, and for a network.
const (
	mostPorts     = 4
	mostAddresses = 4
)

// endItems are addresses as policies write them.
func endItems(ends []socketEnd) []string {
	ports := map[netip.Addr]map[uint16]bool{}
	items := map[string]bool{}
	for _, e := range ends {
		switch e.kind {
		case unixName:
			items[e.text] = true
		case unixAny:
			items["unix:*"] = true
		case noFamily:
			items["none"] = true
		case inet:
			if ports[e.addr] == nil {
				ports[e.addr] = map[uint16]bool{}
			}
			ports[e.addr][e.port] = true
		}
	}
	hosts := map[string][]netip.Addr{} // by their port
	for addr, of := range ports {
		if len(of) > mostPorts {
			hosts[""] = append(hosts[""], addr)
			continue
		}
		for port := range of {
			hosts[":"+strconv.Itoa(int(port))] = append(hosts[":"+strconv.Itoa(int(port))], addr)
		}
	}
	for port, addrs := range hosts {
		for _, host := range networks(addrs) {
			items[host+port] = true
		}
	}
	var all []string
	for item := range items {
		all = append(all, item)
	}
	sort.Strings(all)
	return all
}

// mostNetworks is how many networks a list has: beyond, any address will do.
const mostNetworks = 16

// networks are addresses, or what many of them that begin alike have in common.
func networks(addrs []netip.Addr) []string {
	alike := map[netip.Prefix][]netip.Addr{}
	for _, a := range addrs {
		bits := 8
		if a.Is6() {
			bits = 16
		}
		if p, err := a.Prefix(bits); err == nil {
			alike[p] = append(alike[p], a)
		}
	}
	var all []string
	for _, of := range alike {
		if len(of) > mostAddresses {
			all = append(all, common(of))
			continue
		}
		for _, a := range of {
			all = append(all, bracketed(a.String(), a))
		}
	}
	if len(all) > mostNetworks {
		return []string{"*"}
	}
	return all
}

func bracketed(text string, a netip.Addr) string {
	if a.Is4() {
		return text
	}
	host, bits, _ := strings.Cut(text, "/")
	if bits != "" {
		bits = "/" + bits
	}
	return "[" + host + "]" + bits
}

// common is the smallest network that has all addresses of one kind.
func common(addrs []netip.Addr) string {
	bits := addrs[0].BitLen()
	for _, a := range addrs[1:] {
		for bits > 0 {
			if p, err := a.Prefix(bits); err == nil && p.Contains(addrs[0]) {
				break
			}
			bits--
		}
	}
	p, err := addrs[0].Prefix(bits)
	if err != nil {
		return "*"
	}
	return bracketed(p.String(), addrs[0])
}

// lengthTest holds for addresses of other families, which policies know by their length.
func lengthTest(n *namer, ends []socketEnd) policy.Condition {
	lengths := map[int]bool{}
	for _, e := range ends {
		lengths[e.length] = true
	}
	t := policy.Condition{Arg: n.length}
	var all []int
	for l := range lengths {
		all = append(all, l)
	}
	sort.Ints(all)
	for _, l := range all {
		t.Values = append(t.Values, policy.Value{Number: uint64(l)})
	}
	return t
}

// endGroup is how closely a policy can say addresses. Those of a group have a rule.
type endGroup uint8

// The groups.
const (
	exactly endGroup = iota
	byFront
	anyUnix
	byLength
)

func (e *socketEnd) group() endGroup {
	switch {
	case e.kind == otherFamily:
		return byLength
	case e.kind == unixAny:
		return anyUnix
	case e.cut:
		return byFront
	}
	return exactly
}

// note says what the rule lets through beside what was seen.
func (g endGroup) note() string {
	return [...]string{
		"",
		"\nWIDE: all Unix sockets with names that begin like one of which a policy can say no more",
		"\nWIDE: any Unix socket, for there was one whose name is relative or leads elsewhere",
		"\nWIDE: what a policy cannot name, such as netlink's, is known by the length of its address alone",
	}[g]
}
