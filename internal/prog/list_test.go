package prog

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// lists is a program with one list of each sort, empty, and something behind.
func lists() []*Program {
	m := &Map{Name: ".rodata", Type: Array, Frozen: true}
	add := func(name string, kind VarKind, size, count int) {
		m.Vars = append(m.Vars, Var{Name: name, Offset: len(m.Contents), Size: size, Kind: kind, Count: count, Const: true})
		m.Contents = append(m.Contents, make([]byte, size*count)...)
	}
	add("texts", VarTexts, 8, 3)
	add("texts_len", VarUnsigned, 4, 1)
	add("paths", VarPaths, PathSize, 3)
	add("ends", VarEndpoints, EndpointSize, 4)
	m.Vars = append(m.Vars, Var{Name: "outside", Offset: len(m.Contents) - 8, Size: 16, Kind: VarTexts, Count: 1, Const: true})
	m.ValueSize = uint32(len(m.Contents))
	return []*Program{{Maps: []*Map{m}}}
}

func TestSetLists(t *testing.T) {
	for _, c := range []struct{ name, first, value, want string }{
		{"texts", "", "a,bc,-defghi", "a,bc,-defghi"},
		{"texts", "x,y,z", "a", "a"},
		{"texts", "x", "", ""},
		{"texts", "", "+a,b", "+a,b"},
		{"paths", "", "/usr,/etc/", "/usr,/etc/"},
		{"paths", "", "/", "/"},
		{"paths", "", "//usr/.//lib/./", "/usr/lib/"},
		{"paths", "", "/./.", "/"},
		{"paths", "", "/a/.b/..c/d..", "/a/.b/..c/d.."},
		{"paths", "", "/usr,/usr", "/usr"},
		{"paths", "/usr", "+/etc,+/opt", "/usr,/etc,/opt"},
		{"paths", "/usr,/etc", "-/usr,-/var", "/etc"},
		{"paths", "/usr,/etc", "+/usr", "/etc,/usr"},
		{"paths", "/usr,/etc", "-/usr, +/lib", "/etc,/lib"},
		{"paths", "/usr", "", ""},
		{"paths", "", "/" + strings.Repeat("x", 254), "/" + strings.Repeat("x", 254)},
		{"ends", "", "10.0.0.0/8:1,[::1]", "10.0.0.0/8:1,[::1]"},
		{"ends", "10.0.0.1,10.0.0.2", "-10.0.0.1,+*:53", "10.0.0.2,0.0.0.0/0:53,[::]/0:53"},
		{"ends", "*:53,10.0.0.1", "-*:53", "10.0.0.1"},
	} {
		ps := lists()
		if err := Set(ps, c.name, c.first); err != nil {
			t.Fatal(err)
		}
		if err := Set(ps, c.name, c.value); err != nil {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		} else if got := value(ps, c.name); got != c.want {
			t.Errorf("%s=%s after %s: got %q, want %q", c.name, c.value, c.first, got, c.want)
		}
	}
}

func TestSetListsRefuses(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"texts", "a,,b", "an empty item: expected text"},
		{"texts", "eight888", `"eight888": 8 bytes: expected at most 7`},
		{"texts", "a,b,c,d", "4 elements: expected at most 3"},
		{"texts", "a\x00b", `"a\x00b": expected no NUL`},
		{"paths", "usr", `"usr": expected an absolute path`},
		{"paths", "/usr,", `"": expected an absolute path`},
		{"paths", "+/usr,/etc", "some items with + or - and some without: expected all or none"},
		{"paths", "++/usr", `"+/usr": expected an absolute path`},
		{"paths", "/usr/..", `"/usr/..": expected a path without ".."`},
		{"paths", "/../usr", `"/../usr": expected a path without ".."`},
		{"paths", "/a\x00b", "expected no NUL"},
		{"paths", "/" + strings.Repeat("x", 255), "256 bytes: expected at most 255"},
		{"paths", "/a,/b,/c,/d", "4 elements: expected at most 3"},
		{"ends", "*,*:1,10.0.0.1", "5 elements: expected at most 4"},
		{"ends", "", ""},
		{"outside", "a", "no such variable: the filter has ends, paths, texts, texts_len"},
	} {
		ps := lists()
		err := Set(ps, c.name, c.value)
		var e *SetError
		if c.want != "" && (!errors.As(err, &e) || !strings.Contains(e.Reason, c.want)) {
			t.Errorf("%s=%s: got %v, want %s", c.name, c.value, err, c.want)
		}
		if !bytes.Equal(ps[0].Maps[0].Contents, lists()[0].Maps[0].Contents) {
			t.Errorf("%s=%s: was refused and changed something", c.name, c.value)
		}
	}
}

// TestSetListsLength: a shorter list leaves nothing of a longer one, and NAME_len
// follows.
func TestSetListsLength(t *testing.T) {
	ps := lists()
	for _, c := range []struct{ value, want string }{{"a,b,c", "3"}, {"d", "1"}, {"", "0"}} {
		if err := Set(ps, "texts", c.value); err != nil {
			t.Fatal(err)
		}
		if got := value(ps, "texts_len"); got != c.want {
			t.Errorf("texts=%s: texts_len is %s, want %s", c.value, got, c.want)
		}
	}
	if got := ps[0].Maps[0].Contents[:24]; !bytes.Equal(got, make([]byte, 24)) {
		t.Errorf("an empty list leaves %q", got)
	}
}

func TestEndpoints(t *testing.T) {
	in := func(family, bits, low, high uint16, addr string) endpoint {
		e := endpoint{Family: family, Bits: bits, Low: low, High: high}
		copy(e.Addr[:], addr)
		return e
	}
	const one = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	for _, c := range []struct {
		item string
		want endpoint
		text string // if it is not the item
	}{
		{"127.0.0.1", in(2, 32, 0, 65535, "\x7f\x00\x00\x01"), ""},
		{"127.0.0.1:*", in(2, 32, 0, 65535, "\x7f\x00\x00\x01"), "127.0.0.1"},
		{"127.0.0.1/8:80-90", in(2, 8, 80, 90, "\x7f"), "127.0.0.0/8:80-90"},
		{"10.11.12.13/12:0", in(2, 12, 0, 0, "\x0a"), "10.0.0.0/12:0"},
		{"10.255.12.13/12", in(2, 12, 0, 65535, "\x0a\xf0"), "10.240.0.0/12"},
		{"0.0.0.0/0:65535", in(2, 0, 65535, 65535, ""), ""},
		{"[::1]", in(10, 128, 0, 65535, one), ""},
		{"[::1]:*", in(10, 128, 0, 65535, one), "[::1]"},
		{"[fd00::1/8]:443", in(10, 8, 443, 443, "\xfd"), "[fd00::]/8:443"},
		{"[fd00::1]/8:443", in(10, 8, 443, 443, "\xfd"), "[fd00::]/8:443"},
		{"[::ffff:1.2.3.4]:5", in(2, 32, 5, 5, "\x01\x02\x03\x04"), "1.2.3.4:5"},
		{"[::ffff:1.2.3.4/104]", in(2, 8, 0, 65535, "\x01"), "1.0.0.0/8"},
		{"[::ffff:1.2.3.4/90]", in(10, 90, 0, 65535, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xc0"), "[::ffc0:0:0]/90"},
		{"unix:*", in(1, 0, 0, 65535, ""), ""},
		{"unix:/run/x", in(1, 56, 0, 65535, "/run/x"), ""},
		{"unix:/run/x/*", in(1, 56, 0, 65535, "/run/x/"), ""},
		{"unix:/run/x*", in(1, 48, 0, 65535, "/run/x"), ""},
		{"unix:@x", in(1, 16, 4, 4, "\x00x"), ""},
		{"unix:@x*", in(1, 16, 0, 65535, "\x00x"), ""},
		{"unix:@*", in(1, 8, 0, 65535, ""), ""},
	} {
		es, reason := parseEndpoint(c.item)
		if c.text == "" {
			c.text = c.item
		}
		if reason != "" || len(es) != 1 || es[0] != c.want || es[0].String() != c.text {
			t.Errorf("%s: got %+v (%v), %s: want %+v (%s)", c.item, es, es, reason, c.want, c.text)
			continue
		}
		if got := decodeEndpoint(encodeEndpoints(es, EndpointSize)[0]); got != c.want {
			t.Errorf("%s: is %+v when it is read back, want %+v", c.item, got, c.want)
		}
		if again, reason := parseEndpoint(c.text); reason != "" || again[0] != c.want {
			t.Errorf("%s: prints as %s, which is %+v %s", c.item, c.text, again, reason)
		}
	}
}

func TestEndpointsRefused(t *testing.T) {
	for item, want := range map[string]string{
		"":                                  wantAddress,
		"localhost":                         wantAddress,
		"localhost:80":                      wantAddress,
		"::1":                               wantAddress,
		"::1:80":                            wantAddress,
		"[::1":                              wantAddress,
		"[127.0.0.1]:1":                     wantAddress,
		"[fe80::1%eth0]":                    wantAddress,
		"127.0.0.256":                       wantAddress,
		"127.0.0.1:":                        "expected a port",
		"127.0.0.1:65536":                   "expected a port",
		"127.0.0.1:9-8":                     "expected a port",
		"127.0.0.1:-1":                      "expected a port",
		"127.0.0.1:http":                    "expected a port",
		"*:x":                               "expected a port",
		"127.0.0.1/33":                      "expected a prefix of 0 to 32 bits",
		"127.0.0.1/:1":                      "expected a prefix of 0 to 32 bits",
		"[::1]/129":                         "expected a prefix of 0 to 128 bits",
		"[::1/129]":                         "expected a prefix of 0 to 128 bits",
		"[::1/1]/2":                         wantAddress,
		"unix:":                             "expected an absolute path, @",
		"unix:run":                          "expected an absolute path, @",
		"unix:/a/../b":                      "expected a path without",
		"unix:/a//b":                        "expected a path without",
		"unix:/a/./b":                       "expected a path without",
		"unix:/a\x00b":                      "expected a name of at most 107 bytes",
		"unix:/" + strings.Repeat("x", 107): "expected a name of at most 107 bytes",
	} {
		if es, reason := parseEndpoint(item); !strings.HasPrefix(reason, want) {
			t.Errorf("%q: got %+v, %q: want %s", item, es, reason, want)
		}
	}
}

// FuzzEndpoint: what is accepted prints as something that means the same.
func FuzzEndpoint(f *testing.F) {
	for _, item := range []string{"127.0.0.1/8:80-90", "[::1]:*", "*:53", "unix:@a*", "unix:/run/x"} {
		f.Add(item)
	}
	f.Fuzz(func(t *testing.T, item string) {
		es, reason := parseEndpoint(item)
		if reason != "" {
			return
		}
		for _, e := range es {
			if again, reason := parseEndpoint(e.String()); reason != "" || len(again) != 1 || again[0] != e {
				t.Errorf("%q: %+v prints as %s, which is %+v %s", item, e, e, again, reason)
			}
		}
	})
}
