package filters_test

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"net/netip"
	"strings"
	"testing"

	"portcullis/internal/abi"
)

// endpoint is an entry of a list of the filter connect.
type endpoint struct {
	prefix    netip.Prefix
	low, high uint16
}

func (e endpoint) String() string {
	host := e.prefix.Addr().String()
	if e.prefix.Addr().Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s/%d:%d-%d", host, e.prefix.Bits(), e.low, e.high)
}

// takes tells whether the entry takes an address, of which IPv4 is IPv4.
func (e endpoint) takes(a netip.AddrPort) bool {
	return e.prefix.Contains(a.Addr().Unmap()) && a.Port() >= e.low && a.Port() <= e.high
}

// sockaddr is an address in memory; the NUL at its end is left out.
func sockaddr(a netip.AddrPort) string {
	var b [28]byte
	binary.BigEndian.PutUint16(b[2:], a.Port())
	if a.Addr().Is4() {
		b[0] = 2
		copy(b[4:], a.Addr().AsSlice())
		return string(b[:15])
	}
	b[0] = 10
	copy(b[8:], a.Addr().AsSlice())
	return string(b[:27])
}

// randomAddr is one of few, so that lists meet addresses.
func randomAddr(rnd *rand.Rand) netip.Addr {
	b := [16]byte{0xfd}
	for i := 1; i < len(b); i++ {
		b[i] = byte(rnd.Intn(2) * rnd.Intn(2) * 255)
	}
	switch rnd.Intn(3) {
	case 0:
		return netip.AddrFrom4([4]byte(b[:4]))
	case 1:
		return netip.AddrFrom16(netip.AddrFrom4([4]byte(b[:4])).As16())
	}
	return netip.AddrFrom16(b)
}

// TestConnectAgainstRules compares the filter with package netip, on random lists and
// addresses.
func TestConnectAgainstRules(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < 60; i++ {
		var list []endpoint
		var items []string
		for n := rnd.Intn(10); n >= 0; n-- {
			a := randomAddr(rnd).Unmap()
			p, err := a.Prefix(rnd.Intn(a.BitLen() + 1))
			if err != nil {
				t.Fatal(err)
			}
			low := uint16(rnd.Intn(600))
			e := endpoint{p, low, low + uint16(rnd.Intn(600))}
			list, items = append(list, e), append(items, e.String())
		}
		m, _ := machine(t, "connect", "allow="+strings.Join(items, ","))
		for k := 0; k < 300; k++ {
			a := netip.AddrPortFrom(randomAddr(rnd), uint16(rnd.Intn(1200)))
			want := abi.Errno(13)
			for _, e := range list {
				if e.takes(a) {
					want = abi.Allow
				}
			}
			addr := sockaddr(a)
			if got := asks(t, m, "connect", 3, addr, len(addr)+1); got != want {
				t.Fatalf("%v: %v, want %v, of %v", a, got, want, items)
			}
		}
	}
}
