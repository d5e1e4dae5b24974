package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"
	"strings"

	"portcullis/internal/policy"
)

// Limits of what Read takes: the largest profile that is in use has 20 KiB.
const (
	maxSize  = 1 << 20
	maxDepth = 32
	maxRules = 50_000
	maxArgs  = 64
)

// kind is what a JSON value is.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// value is a JSON value that knows where it stands.
type value struct {
	pos  policy.Pos
	kind kind
	// text is a string, or a number as it was written.
	text   string
	items  []value
	fields []field
}

type field struct {
	pos  policy.Pos
	name string
	value
}

// get is the field with that name, nil if it is missing or null.
func (v *value) get(name string) *value {
	for i := range v.fields {
		if f := &v.fields[i]; f.name == name && f.kind != null {
			return &f.value
		}
	}
	return nil
}

// parser makes values of the tokens of encoding/json, which knows the grammar.
type parser struct {
	file string
	data []byte
	dec  *json.Decoder
	// lines are the offsets at which lines begin.
	lines []int
}

// parse reads one JSON value and nothing behind it.
func parse(file string, data []byte) (*value, error) {
	p := &parser{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data)), lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
	if len(data) > maxSize {
		return nil, policy.Wrong(policy.Pos{File: file}, "", "the profile has %d bytes: expected at most %d", len(data), maxSize)
	}
	p.dec.UseNumber()
	v, err := p.value(maxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, policy.Wrong(p.next(), "remove it", "something stands behind the profile")
	}
	return v, nil
}

// at is the place of an offset.
func (p *parser) at(offset int) policy.Pos {
	line := sort.SearchInts(p.lines, offset+1)
	return policy.Pos{File: p.file, Line: line, Col: offset - p.lines[line-1] + 1}
}

// next is where the next token begins.
func (p *parser) next() policy.Pos {
	i := int(p.dec.InputOffset())
	for i < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[i]) >= 0 {
		i++
	}
	return p.at(i)
}

// token is the next one, with its place.
func (p *parser) token() (json.Token, policy.Pos, error) {
	at := p.next()
	t, err := p.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, at, nil
	case errors.As(err, &syntax):
		at = p.at(min(int(syntax.Offset), len(p.data)))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, at, policy.Wrong(p.at(len(p.data)), "", "expected a seccomp profile in JSON, found its end too soon")
	}
	return nil, at, &policy.Error{Pos: at, Reason: "expected a seccomp profile in JSON: " + err.Error(), Err: err}
}

func (p *parser) value(depth int) (*value, error) {
	t, at, err := p.token()
	if err != nil {
		return nil, err
	}
	if depth == 0 {
		return nil, policy.Wrong(at, "", "values are nested more than %d deep", maxDepth)
	}
	v := &value{pos: at}
	switch t := t.(type) {
	case bool:
		v.kind = boolean
	case json.Number:
		v.kind, v.text = number, t.String()
	case string:
		v.kind, v.text = text, t
	case json.Delim:
		if t == '[' {
			v.kind = array
			return v, p.array(v, depth-1)
		}
		v.kind = object
		return v, p.object(v, depth-1)
	}
	return v, nil
}

func (p *parser) array(v *value, depth int) error {
	for p.dec.More() {
		item, err := p.value(depth)
		if err != nil {
			return err
		}
		v.items = append(v.items, *item)
	}
	_, _, err := p.token()
	return err
}

// object reads the fields of v. Readers disagree on which of two fields with one name
// counts: so there must not be two.
func (p *parser) object(v *value, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		name, at, err := p.token()
		if err != nil {
			return err
		}
		f := field{pos: at, name: name.(string)}
		if seen[f.name] {
			return policy.Wrong(at, "keep one of them", "%s is given twice", policy.Shown(f.name))
		}
		seen[f.name] = true
		inner, err := p.value(depth)
		if err != nil {
			return err
		}
		f.value = *inner
		v.fields = append(v.fields, f)
	}
	_, _, err := p.token()
	return err
}
