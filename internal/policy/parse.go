package policy

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"portcullis/internal/policy/symbol"
)

// MaxSize is the largest file of a policy, in bytes.
const MaxSize = 1 << 20

// maxDepth is how deep conditions may be nested.
const maxDepth = 16

// maxItems is how many entries one list may have.
const maxItems = 4096

// Parse reads one file of a policy, without what it includes. File stands in positions.
// Errors are of type *Error.
func Parse(file string, data []byte) (*Model, error) {
	d := &decoder{file: file}
	if len(data) > MaxSize {
		return nil, Wrong(Pos{File: file}, "split it by include", "%d bytes: expected a policy of at most %d", len(data), MaxSize)
	}
	if err := isText(file, data); err != nil {
		return nil, err
	}
	m := &Model{Lines: map[string][]string{file: lines(data)}}
	if err := noTags(file, m.Lines[file]); err != nil {
		return nil, err
	}
	n := d.document(data)
	if d.err == nil {
		m.Pos = d.pos(n)
		d.model(n, m)
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

// isText refuses what is not UTF-8, which YAML would take too, and control characters, of which YAML
// does not say where they are.
func isText(file string, data []byte) error {
	at := Pos{File: file, Line: 1, Col: 1}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			return Wrong(at, "save it as UTF-8", "expected text in UTF-8, found the byte %#02x", data[0])
		case isBreak(r):
			if r != '\r' || n == len(data) || data[n] != '\n' {
				at.Line++
			}
			at.Col = 0
		case r < ' ' && r != '\t' || r == 0x7f:
			return Wrong(at, "take it out", "expected text, found the control character %#02x", r)
		}
		at.Col++
		data = data[n:]
	}
	return nil
}

// isBreak tells what ends a line of YAML.
func isBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
}

// noTags refuses directives that name tags, of which the parser of YAML compares each with
// all before it.
func noTags(file string, lines []string) error {
	for i, l := range lines {
		if strings.HasPrefix(l, "%TAG") {
			return Wrong(Pos{File: file, Line: i + 1, Col: 1}, "leave it out", "tags are not part of policies")
		}
	}
	return nil
}

// Recognise tells whether data can be meant as a policy: its first line of YAML that says
// anything begins a mapping with a known key.
func Recognise(data []byte) bool {
	for _, l := range bytes.SplitN(data, []byte("\n"), 1000) {
		l = bytes.TrimRight(l, " \t\r")
		if len(l) == 0 || l[0] == '#' || bytes.Equal(l, []byte("---")) || l[0] == '%' {
			continue
		}
		key, _, ok := bytes.Cut(l, []byte(":"))
		return ok && topLevel[string(key)]
	}
	return false
}

// topLevel are the keys that a policy can begin with.
var topLevel = map[string]bool{
	"version": true, "name": true, "include": true, "default": true, "unknown": true, "links": true, "groups": true,
	"rules": true, "programs": true, "phases": true, "order": true, "flow": true, "limits": true, "serialize": true,
}

// decoder turns YAML into a Model. After the first error its methods do nothing.
type decoder struct {
	file string
	err  *Error
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{File: d.file, Line: n.Line, Col: n.Column} }

func (d *decoder) fail(n *yaml.Node, remedy, format string, args ...any) {
	if d.err == nil {
		d.err = Wrong(d.pos(n), remedy, format, args...)
	}
}

// document is the mapping of the only document of data.
func (d *decoder) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		d.syntax(err)
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(err)
		} else {
			d.fail(&more, "put it into a file of its own and include that", "a second document: expected one policy in a file")
		}
		return nil
	}
	return doc.Content[0]
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax takes over what the YAML parser says.
func (d *decoder) syntax(err error) {
	if errors.Is(err, io.EOF) {
		d.err = Wrong(Pos{File: d.file}, "begin with \"version: 1\"", "an empty file: expected a policy")
		return
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	at := Pos{File: d.file}
	if m := yamlError.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if at.Line, _ = strconv.Atoi(m[1]); at.Line > 0 {
			at.Col = 1
		}
	}
	d.err = &Error{Pos: at, Reason: "not YAML: " + text, Err: err}
}

// check refuses forms of YAML that no policy needs: what is written is what is meant.
func (d *decoder) check(n *yaml.Node) bool {
	switch {
	case d.err != nil:
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fail(n, "write it out, or name calls once under groups", "anchors and aliases are not part of policies")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, "leave the tag out", "tag %s is not part of policies", Shown(n.Tag))
	}
	return d.err == nil
}

// field is one key of a mapping.
type field struct {
	key  string
	read func(*yaml.Node)
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "nothing"
		}
		return Shown(n.Value)
	}
	return "something else"
}

// mapping calls each for the entries of a mapping, none of them twice.
func (d *decoder) mapping(n *yaml.Node, what string, each func(key, value *yaml.Node)) {
	if !d.check(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "%s: expected a mapping, found %s", what, kind(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content) && d.err == nil; i += 2 {
		key := n.Content[i]
		if !d.check(key) {
			return
		}
		if key.Kind != yaml.ScalarNode {
			d.fail(key, "", "%s: expected a word as key, found %s", what, kind(key))
		} else if line := seen[key.Value]; line > 0 {
			d.fail(key, "write it once", "%s is there twice, also in line %d", Shown(key.Value), line)
		} else {
			seen[key.Value] = key.Line
			each(key, n.Content[i+1])
		}
	}
}

// fields reads a mapping with known keys.
func (d *decoder) fields(n *yaml.Node, what string, fs ...field) {
	d.mapping(n, what, func(key, value *yaml.Node) {
		for _, f := range fs {
			if f.key == key.Value {
				f.read(value)
				return
			}
		}
		keys := make([]string, len(fs))
		for i, f := range fs {
			keys[i] = f.key
		}
		remedy := "write one of " + strings.Join(keys, ", ")
		if better := meant(key.Value, fs); better != "" {
			remedy = better
		}
		d.fail(key, remedy, "%s has no field %s", what, Shown(key.Value))
	})
}

// meant is what to write for fields that other languages have, where a mapping has conditions.
func meant(key string, fs []field) string {
	conditions := false
	for _, f := range fs {
		conditions = conditions || f.key == "if"
	}
	switch {
	case !conditions:
	case key == "when" || key == "where" || key == "unless" || key == "condition":
		return "write if: with the condition, such as if: {family: AF_INET}, or if: {caller: {uid: 0}} for who makes the call"
	case key == "caller" || key == "uid" || key == "gid" || key == "comm" || key == "user":
		return "write if: {caller: {uid: 0}}"
	}
	return ""
}

// list calls each for the elements of a list.
func (d *decoder) list(n *yaml.Node, what string, each func(*yaml.Node)) {
	if !d.check(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "", "%s: expected a list, found %s", what, kind(n))
		return
	}
	if len(n.Content) > maxItems {
		d.fail(n, "split it", "%s: %d entries, expected at most %d", what, len(n.Content), maxItems)
	}
	for _, e := range n.Content {
		if d.err == nil {
			each(e)
		}
	}
}

// either calls each for the elements of a list, or for a scalar that stands for one.
func (d *decoder) either(n *yaml.Node, what string, each func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode {
		each(n)
		return
	}
	d.list(n, what, each)
}

// scalar is the text of a scalar; "" after an error.
func (d *decoder) scalar(n *yaml.Node, what string) string {
	switch {
	case !d.check(n):
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "":
		d.fail(n, "", "expected %s, found %s", what, kind(n))
	case len(n.Value) > 4096:
		d.fail(n, "", "expected %s, found %d bytes", what, len(n.Value))
	case strings.ContainsRune(n.Value, 0):
		d.fail(n, "", "expected %s, found a NUL in it", what)
	default:
		return n.Value
	}
	return ""
}

// numberRemedy is what to do about what is no number.
const numberRemedy = "write digits alone, as in 10 or 0xa, of a number that fits 64 bits"

// number is a number that has no sign and fits 64 bits, decimal or in another base as in C.
func (d *decoder) number(n *yaml.Node, what string) uint64 {
	s := d.scalar(n, what)
	if d.err != nil {
		return 0
	}
	v, ok := symbol.Number(s)
	if !ok || s[0] == '-' {
		d.fail(n, numberRemedy, "expected %s, found %s", what, Shown(s))
	}
	return v
}

func (d *decoder) names(n *yaml.Node, to *[]Name) {
	*to = []Name{}
	d.either(n, "calls", func(e *yaml.Node) {
		*to = append(*to, Name{d.pos(e), d.scalar(e, "the name of a call or of a group")})
	})
	if len(*to) == 0 {
		d.fail(n, "name at least one", "calls: the list is empty")
	}
}

// comment is what stands in front of a node, without "#".
func comment(n *yaml.Node) string {
	lines := strings.Split(n.HeadComment, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimLeft(l, "#"), " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
