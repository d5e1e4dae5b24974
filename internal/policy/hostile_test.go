package policy

import (
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"unicode"
)

// TestText: what is no text is said where it is, and other ends of lines hide nothing.
func TestText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\xff\xfev\x00e\x00", "p.yaml:1:1: expected text in UTF-8, found the byte 0xff: save it as UTF-8"},
		{"version: 1\r\nname: é\xc3", "p.yaml:2:8: expected text in UTF-8, found the byte 0xc3: save it as UTF-8"},
		{"version: 1\nname: a\x00b", "p.yaml:2:8: expected text, found the control character 0x00: take it out"},
		{"version: 1\rname: \x1b[2J", "p.yaml:2:7: expected text, found the control character 0x1b: take it out"},
		{"version: 1\r...\r%TAG !a! b\r", "p.yaml:3:1: tags are not part of policies: leave it out"},
		{"version: 1\u2028...\u2028%TAG !a! b\u2028", "p.yaml:3:1: tags are not part of policies: leave it out"},
		{"version: 1\u0085...\u0085%TAG !a! b\u0085", "p.yaml:3:1: tags are not part of policies: leave it out"},
	} {
		if _, err := Parse("p.yaml", []byte(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

// TestLineEnds: the line of a rule is the same by whatever lines end.
func TestLineEnds(t *testing.T) {
	const text = "\ufeffversion: 1\nrules:\n\n  - deny: ptrace\n"
	for _, end := range []string{"\n", "\r\n", "\r", "\u0085", "\u2028", "\u2029"} {
		m, err := Parse("p.yaml", []byte(strings.ReplaceAll(text, "\n", end)))
		if err != nil {
			t.Fatalf("%q: %v", end, err)
		}
		c := compiler{m: m}
		if l := c.line(m.Rules[0].Pos); l.Line != 4 || l.Text != "- deny: ptrace" {
			t.Errorf("%q: line %d is %q", end, l.Line, l.Text)
		}
	}
}

// TestNamesOfFilesOnTerminals: nothing of a name reaches a terminal as it is.
func TestNamesOfFilesOnTerminals(t *testing.T) {
	const name = "\x1b[2J\u009b.yaml"
	for _, read := range []Reader{
		func(file string) ([]byte, error) {
			return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
		},
		func(string) ([]byte, error) { return []byte("version: 2\n"), nil },
	} {
		_, err := Load("p.yaml", []byte("version: 1\ninclude: \"\\e[2J\\x9b.yaml\"\n"), func(file string) ([]byte, error) {
			if !strings.HasSuffix(file, name) {
				t.Errorf("included %q", file)
			}
			return read(file)
		})
		if err == nil || strings.IndexFunc(err.Error(), unicode.IsControl) >= 0 {
			t.Errorf("got %q", err)
		}
	}
}

// TestLongChains: what thousands of rules for one call take grows with their number alone.
func TestLongChains(t *testing.T) {
	m, err := Parse("p.yaml", []byte("version: 1\nrules:\n"+strings.Repeat("  - {deny: \"@system-service\", if: {arg0: 3}}\n", maxItems)))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Compile(m); err == nil || !strings.Contains(err.Error(), "more than 65536 tests") {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<30 {
		t.Errorf("%d MiB were allocated", got>>20)
	}
}
