package interp

import (
	"strings"
	"testing"
)

// minus is -1 as a register holds it.
const minus = 1<<64 - 1

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format string
		args   [3]uint64
		want   string
	}{
		{"plain\n", [3]uint64{}, "plain\n"},
		{"%d %i %u", [3]uint64{minus, minus, minus}, "-1 -1 4294967295"},
		{"%ld %lld %llu", [3]uint64{minus, minus, minus}, "-1 -1 18446744073709551615"},
		{"%x %lx %llx", [3]uint64{minus, minus, 0xabc}, "ffffffff ffffffffffffffff abc"},
		{"[%5d][%-5d][%05d]", [3]uint64{7, 7, 7}, "[    7][7    ][00007]"},
		{"[%5d][%-5d][%05d]", [3]uint64{minus, minus, minus}, "[   -1][-1   ][-0001]"},
		{"[%+d][% d][%+d]", [3]uint64{7, 7, minus}, "[+7][ 7][-1]"},
		{"[%2d][%02x]", [3]uint64{12345, 0x123}, "[12345][123]"},
		{"%c%c[%3c]", [3]uint64{'o', 'k', '!'}, "ok[  !]"},
		{"%p", [3]uint64{0xdead}, "dead"},
		{"100%%", [3]uint64{}, "100%"},
	} {
		got, ok := appendFormat(nil, []byte(c.format+"\x00rest"), c.args)
		if !ok || string(got) != c.want {
			t.Errorf("%q of %d is %q (%v), expected %q", c.format, c.args, got, ok, c.want)
		}
	}
}

func TestFormatsRefused(t *testing.T) {
	for _, format := range []string{
		"no end", "%d%d%d%d\x00", "%s\x00", "%\x00", "%l\x00", "%llld\x00", "%lc\x00", "%#x\x00", "%f\x00", "%.2d\x00",
		"caf\xc3\xa9\x00", "\x01\x00", "\x7f\x00", "%5", "",
	} {
		if got, ok := appendFormat(nil, []byte(format), [3]uint64{1, 2, 3}); ok {
			t.Errorf("%q is %q, expected a refusal", format, got)
		}
	}
}

func TestLinesAreBounded(t *testing.T) {
	for _, format := range []string{"%1000d%1000d%1000d\x00", "%9999999999999999999d\x00", strings.Repeat("x", 2000) + "\x00"} {
		got, ok := appendFormat(make([]byte, 0, printkSize), []byte(format), [3]uint64{})
		if !ok || len(got) != printkSize || cap(got) != printkSize {
			t.Errorf("a line of %d bytes (%v), expected it cut at %d", len(got), ok, printkSize)
		}
	}
}
