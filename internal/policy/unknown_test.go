package policy

import (
	"math/rand"
	"path"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/engine/trial"
)

// truth is that of a condition: it holds, it does not, or nobody knows.
type truth int

const (
	no truth = iota
	unknown
	yes
)

// pathTruth is the truth of a test of a path, from the manual and not from the code.
func pathTruth(patterns []Value, p string, cwd bool) truth {
	has := func(text string) bool {
		for _, v := range patterns {
			if v.Text == text {
				return true
			}
		}
		return false
	}
	switch {
	case p == "":
		return map[bool]truth{true: yes, false: unknown}[has("")]
	case len(p) > 1023, oddPath(p):
		return unknown
	case p[0] != '/':
		return map[bool]truth{true: yes, false: unknown}[has("./") && cwd]
	}
	matched := no
	for _, v := range patterns {
		text := v.Text
		switch {
		case text == "" || text == "./":
			continue
		case strings.TrimPrefix(text, "=") == p && !strings.HasSuffix(text, "*") && !strings.HasSuffix(text, "/") || text == "=/" && p == "/":
			return yes
		case text[0] == '=' && text[1:]+"/" == p:
			return unknown // a directory, or where a link leads
		case text[0] == '=':
		case strings.HasSuffix(text, "*") && strings.HasPrefix(p, text[:len(text)-1]),
			strings.HasSuffix(text, "/") && strings.HasPrefix(p, text) && p != text,
			!strings.HasSuffix(text, "/") && !strings.HasSuffix(text, "*") && strings.HasPrefix(p, text+"/"):
			matched = yes
		}
	}
	if linkPath(p) {
		return unknown
	}
	return matched
}

// oddPath tells whether a path has a component that is empty, "." behind another, or begins
// with "..".
func oddPath(p string) bool {
	for i, c := range strings.Split(p, "/") {
		last := strings.HasSuffix(p, "/") && i == strings.Count(p, "/")
		first := i == 0
		if strings.HasPrefix(c, "..") || c == "" && !first && !last || c == "." && !first {
			return true
		}
	}
	return false
}

// linkPath tells whether a path may be a link to what a process has open.
func linkPath(p string) bool {
	for _, pattern := range []string{
		"/dev/fd", "/dev/fd/*", "/dev/std*", "/proc/[0-9]*", "/proc/thread-s*", "/proc/self/fd", "/proc/self/fd/*",
		"/proc/self/cwd*", "/proc/self/exe*", "/proc/self/root*", "/proc/self/map_*", "/proc/self/task*",
	} {
		prefix := strings.Join(strings.SplitAfterN(p, "/", strings.Count(pattern, "/")+2)[:min(strings.Count(pattern, "/")+1, strings.Count(p, "/")+1)], "")
		if ok, _ := path.Match(pattern, strings.TrimSuffix(prefix, "/")); ok {
			return true
		}
	}
	return false
}

func truthOf(c *Condition, nr uint32, args [6]uint64, p string) truth {
	switch {
	case c.Op == Not:
		return yes - truthOf(&c.Sub[0], nr, args, p)
	case c.Op != Test:
		t := map[Op]truth{All: yes, Any: no}[c.Op]
		for i := range c.Sub {
			if s := truthOf(&c.Sub[i], nr, args, p); c.Op == All && s < t || c.Op == Any && s > t {
				t = s
			}
		}
		return t
	case c.Subject == Path:
		return pathTruth(c.Values, p, uint32(args[0]) == 0xffffff9c)
	case holds(c, nr, args):
		return yes
	}
	return no
}

func (d drawn) pathCondition(depth int) *Condition {
	switch k := d.Intn(6); {
	case k < 2 && depth < 3:
		c := &Condition{Op: Op(1 + d.Intn(3))}
		for n := 1 + d.Intn(3); n > 0 && (c.Op != Not || len(c.Sub) == 0); n-- {
			c.Sub = append(c.Sub, *d.pathCondition(depth + 1))
		}
		return c
	case k == 2:
		return &Condition{Arg: "flags", Compare: AnyBit, Values: []Value{{Number: uint64(1 + d.Intn(3))}}}
	}
	all := []string{"/usr/", "/usr", "/usr/lib/x", "/u*", "./", "", "=/", "=/usr", "/proc/", "/proc/self/exe", "/dev", "/a/quite/long/path"}
	c := &Condition{Subject: Path, Arg: "path"}
	for n := 1 + d.Intn(3); n > 0; n-- {
		c.Values = append(c.Values, values(all[d.Intn(len(all))])...)
	}
	return c
}

var drawnPaths = []string{
	"/usr", "/usr/", "/usr/lib/x", "/usr/lib/xy", "/usr/lib/x/y", "/u", "/v", "/", "", ".", "x", "./x", "../x", "..", ".x", "/usr/../etc", "/usr//x",
	"/usr/./x", "/usr/.", "/usr/..", "/usr/..x", "/usr/x/..", "/usr/.x", "/proc", "/proc/self", "/proc/self/status", "/proc/self/exe", "/proc/self/exe/x",
	"/proc/self/fd", "/proc/self/fd/1", "/proc/self/fdinfo", "/proc/self/root/x", "/proc/self/cwd", "/proc/self/task/1", "/proc/1/root", "/proc/1",
	"/proc/sys/x", "/proc/thread-self/fd", "/dev/fd", "/dev/fd/1", "/dev/fdx", "/dev/stdin", "/dev/null", "/a/quite/long/path", "/a/quite/long/pat",
	"/a/quite/long/path/below", "//usr/x", "x/../y", "x//y", "x/", "/usr/aaaaaaa/..", "/usr/aaaaaaaa/./x", "/usr/" + strings.Repeat("a", 30) + "/../x",
}

// TestUnknownPathsAgree: what is permitted is so for certain, and what is restricted is so
// if it may be, however conditions are put together.
func TestUnknownPathsAgree(t *testing.T) {
	for seed := int64(0); seed < 25; seed++ {
		d := drawn{rand.New(rand.NewSource(seed)), 0}
		m := &Model{Default: Action{Kind: Kill}, Links: LinksTrusted}
		for n := 1 + d.Intn(3); n > 0; n-- {
			m.Rules = append(m.Rules, Rule{Action: d.action(), Calls: names("openat"), If: d.pathCondition(0)})
		}
		w, _ := world(t, m)
		for n := 0; n < 150; n++ {
			p := drawnPaths[d.Intn(len(drawnPaths))]
			args := [6]uint64{[]uint64{0xffffffffffffff9c, 3}[d.Intn(2)], 0, uint64(d.Intn(4))}
			want := m.Default.Verdict()
			for _, r := range m.Rules {
				if is := truthOf(r.If, 257, args, p); is == yes || is == unknown && !r.Action.Permits() {
					want = r.Action.Verdict()
					break
				}
			}
			c := &trial.Call{Data: abi.SeccompData{Nr: 257, Arch: abi.ArchX86_64, Args: args}, Text: [6]*string{1: &p}}
			events, err := w.Ask(1, c)
			if err != nil {
				t.Fatal(err)
			}
			if e := events[len(events)-1]; e.Verdict != want {
				t.Fatalf("seed %d: openat(%#x, %q, %d): %v from %s, the reference says %v\n%s", seed, args[0], p, args[2], e.Verdict, e.Line, want, Write(m))
			}
		}
	}
}
