package policy

import (
	"encoding/binary"
	"errors"
	"path"
	"strings"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/prog"
)

// patternKind is what a pattern for paths takes.
type patternKind uint8

const (
	// exactOrBelow is a path and all that is below it, below only that, exact only the path.
	exactOrBelow patternKind = iota
	below
	exact
	// begins is all that begins with the text.
	begins
	// relative is what is below the working directory, empty no path at all.
	relative
	empty
)

// pattern is one entry of a list of paths.
type pattern struct {
	kind patternKind
	text string
}

// maxPath is how long the entries of a list of paths may be.
const maxPath = 255

// maxPatterns is how many entries a list of paths, texts or addresses has.
const maxPatterns = 256

// path resolves a list of paths.
func (t *test) path(c *Condition, nr uint32, a symbol.Argument) error {
	if err := pinned(c, nr, a, args.String); err != nil {
		return err
	}
	t.dirfd, t.optional = directory(nr, t.arg), a.Arg.Null
	for _, other := range symbol.Arguments(nr) {
		if other.Name == "how" {
			t.how = other.Index
		}
	}
	for _, v := range c.Values {
		p, err := parsePattern(v)
		if err != nil {
			return err
		}
		t.paths = append(t.paths, p)
	}
	return few(c, len(t.paths))
}

// directory is the register with the directory of a path: the nearest in front of it.
func directory(nr uint32, arg int) int {
	dirfd := noDirectory
	for _, other := range symbol.Arguments(nr) {
		if other.Set == "at_fd" && other.Index < arg {
			dirfd = other.Index
		}
	}
	return dirfd
}

func few(c *Condition, n int) error {
	if n == 0 || n > maxPatterns {
		return Wrong(c.Pos, "", "a list of %d entries: expected 1 to %d", n, maxPatterns)
	}
	return nil
}

func parsePattern(v Value) (pattern, error) {
	s := v.Text
	if strings.HasPrefix(s, "=/") && len(s) <= maxPath && path.Clean(s[1:]) == s[1:] {
		return pattern{exact, s[1:]}, nil
	}
	bare := strings.TrimSuffix(strings.TrimSuffix(s, "*"), "/")
	switch {
	case s == "":
		return pattern{kind: empty}, nil
	case s == "./":
		return pattern{kind: relative}, nil
	case s[0] != '/':
		return pattern{}, Wrong(v.Pos, "", "expected an absolute path, one with = in front, ./ or \"\", found %s", Shown(s))
	case s == "/" || s == "/*":
		return pattern{}, Wrong(v.Pos, "leave the condition out, or write =/ for the root alone", "every path is below /")
	case len(s) > maxPath:
		return pattern{}, Wrong(v.Pos, "", "a path of %d bytes: expected at most %d", len(s), maxPath)
	case strings.Contains(bare, "*"):
		return pattern{}, Wrong(v.Pos, "", "expected no * but at the end, found %s", Shown(s))
	case path.Clean(bare) != bare:
		return pattern{}, Wrong(v.Pos, "write "+path.Clean(bare), "expected a path without .., . and empty components, found %s", Shown(s))
	case strings.HasSuffix(s, "/*"):
		return pattern{below, s[:len(s)-1]}, nil
	case strings.HasSuffix(s, "*"):
		return pattern{begins, s[:len(s)-1]}, nil
	case strings.HasSuffix(s, "/"):
		return pattern{below, s}, nil
	}
	return pattern{exactOrBelow, s}, nil
}

// endpoint is one entry of a list of addresses.
type endpoint struct {
	family, bits, low, high uint16
	addr                    string // words as processors load them, those of bits
	// none is the address of no family, by which connect ends a connection.
	none bool
}

// endpointWords is how many words of address an endpoint has.
const endpointWords = (prog.EndpointSize - 8) / 8

// address resolves a list of addresses, by the reader of the built-in filters' lists.
func (t *test) address(c *Condition, nr uint32, a symbol.Argument) error {
	name, _ := syscalls.Name(nr)
	if a.Name == "mmsg" {
		return Wrong(c.Pos, "deny it", "the addresses of %s cannot be looked at, as the kernel writes among them", name)
	}
	if err := pinned(c, nr, a, args.Array, args.Msghdr); err != nil {
		return err
	}
	if c.Arg != "address" {
		return Wrong(c.Pos, "", "%s is not a socket address", a.Name)
	}
	t.length = int(a.Arg.Count.Arg)
	t.place = map[string]place{"connect": connected, "sendto": sent, "sendmsg": inMessage}[name]
	for _, v := range c.Values {
		if v.Text == "none" {
			t.addresses = append(t.addresses, endpoint{none: true})
			continue
		}
		es, err := parseEndpoints(v)
		if err != nil {
			return err
		}
		t.addresses = append(t.addresses, es...)
	}
	return few(c, len(t.addresses))
}

// parseEndpoints is the endpoints that a text stands for: a constant of a program that does
// not exist is set to it.
func parseEndpoints(v Value) ([]endpoint, error) {
	const room = 2 // what one text can stand for
	m := &prog.Map{Frozen: true, Contents: make([]byte, room*prog.EndpointSize), Vars: []prog.Var{
		{Name: "address", Size: prog.EndpointSize, Kind: prog.VarEndpoints, Count: room, Const: true},
	}}
	if strings.Contains(v.Text, ",") || strings.HasPrefix(v.Text, "+") || strings.HasPrefix(v.Text, "-") {
		return nil, Wrong(v.Pos, "write a list", "expected one address, found %s", Shown(v.Text))
	}
	if err := prog.Set([]*prog.Program{{Maps: []*prog.Map{m}}}, "address", v.Text); err != nil {
		e := &Error{Pos: v.Pos, Reason: err.Error(), Err: err}
		var set *prog.SetError
		if errors.As(err, &set) {
			e.Reason = set.Reason
		}
		return nil, e
	}
	var es []endpoint
	for raw := m.Contents; len(raw) > 0; raw = raw[prog.EndpointSize:] {
		field := func(i int) uint16 { return binary.LittleEndian.Uint16(raw[2*i:]) }
		if field(0) != 0 {
			es = append(es, endpoint{
				family: field(0), bits: field(1), low: field(2), high: field(3), addr: string(raw[8:prog.EndpointSize]),
			})
		}
	}
	return es, nil
}

// Bounds of lists of arguments.
const (
	maxArgument  = 63
	maxArguments = 16
)

// argument resolves lists of arguments.
func (t *test) argument(c *Condition, a symbol.Argument) error {
	if a.Arg.Shape != args.Strings || a.Name != "argv" {
		return Wrong(c.Pos, "", "%s is not a list of arguments", a.Name)
	}
	for _, list := range c.Argv {
		var texts []string
		for _, v := range list {
			if v.Text == "" || len(v.Text) > maxArgument {
				return Wrong(v.Pos, "", "expected an argument of 1 to %d bytes, found %s", maxArgument, Shown(v.Text))
			}
			texts = append(texts, v.Text)
		}
		if len(texts) == 0 || len(texts) > maxArguments {
			return Wrong(c.Pos, "", "a list of %d arguments: expected 1 to %d", len(texts), maxArguments)
		}
		t.argv = append(t.argv, texts)
	}
	return few(c, len(t.argv))
}

// text resolves a list of texts.
func (t *test) text(c *Condition, nr uint32, a symbol.Argument) error {
	if err := pinned(c, nr, a, args.String); err != nil {
		return err
	}
	t.optional = a.Arg.Null && directory(nr, t.arg) == noDirectory
	for _, v := range c.Values {
		if v.Text == "" || len(v.Text) > maxPath {
			return Wrong(v.Pos, "", "expected a text of 1 to %d bytes, found %s", maxPath, Shown(v.Text))
		}
		t.texts = append(t.texts, v.Text)
	}
	return few(c, len(t.texts))
}
