package prog

import (
	"bytes"
	"strings"
)

// list writes a list whose elements are longer than a number, and tells how many
// elements it then has.
func (s *setting) list(t target, data []byte) (int, error) {
	items := split(s.value)
	signed, err := 0, error(nil)
	if t.Kind != VarTexts { // a text may begin with a sign of its own
		signed, err = s.signs(items, "items")
	}
	if err != nil {
		return 0, err
	}
	var elements [][]byte
	if signed > 0 {
		elements = t.elements(t.section.Contents[t.Offset : t.Offset+len(data)])
	}
	for _, item := range items {
		sign, item := cutSign(item, signed)
		of, err := s.elementsOf(t.Var, item)
		if err != nil {
			return 0, err
		}
		if elements = without(elements, of); sign != '-' {
			elements = append(elements, of...)
		}
	}
	if len(elements) > t.Count {
		return 0, s.fail("%d elements: expected at most %d", len(elements), t.Count)
	}
	for i, e := range elements {
		copy(data[i*t.Size:], e)
	}
	return len(elements), nil
}

// cutSign takes the sign off an item of a list in which signed items have one.
func cutSign(item string, signed int) (sign byte, rest string) {
	if signed == 0 {
		return '+', item
	}
	return item[0], item[1:]
}

// elements are those of a list, without what is unused.
func (v Var) elements(data []byte) (all [][]byte) {
	for ; len(data) >= v.Size; data = data[v.Size:] {
		e := data[:v.Size]
		if v.Kind == VarEndpoints && e[0]|e[1] == 0 || v.Kind != VarEndpoints && e[0] == 0 {
			break
		}
		all = append(all, e)
	}
	return all
}

// without is the elements that are none of others.
func without(elements, others [][]byte) (rest [][]byte) {
	for _, e := range elements {
		found := false
		for _, o := range others {
			found = found || bytes.Equal(e, o)
		}
		if !found {
			rest = append(rest, e)
		}
	}
	return rest
}

// elementsOf is what one item stands for: an element as a rule.
func (s *setting) elementsOf(v Var, item string) ([][]byte, error) {
	switch v.Kind {
	case VarPaths:
		path, reason := cleanPath(item)
		if reason != "" {
			return nil, s.fail("%q: %s", item, reason)
		}
		item = path
	case VarEndpoints:
		es, reason := parseEndpoint(item)
		if reason != "" {
			return nil, s.fail("%q: %s", item, reason)
		}
		return encodeEndpoints(es, v.Size), nil
	}
	switch {
	case item == "":
		return nil, s.fail("an empty item: expected text")
	case len(item) >= v.Size:
		return nil, s.fail("%q: %d bytes: expected at most %d", item, len(item), v.Size-1)
	case strings.IndexByte(item, 0) >= 0:
		return nil, s.fail("%q: expected no NUL", item)
	}
	element := make([]byte, v.Size)
	copy(element, item)
	return [][]byte{element}, nil
}

// cleanPath takes empty components and "." out of an absolute path, and keeps a
// slash at its end; or says what is wrong with it. It does not resolve "..", whose
// meaning depends on what the components before it are.
func cleanPath(path string) (clean, reason string) {
	if !strings.HasPrefix(path, "/") {
		return "", "expected an absolute path"
	}
	end := ""
	for _, name := range strings.Split(path[1:], "/") {
		switch name {
		case "..":
			return "", `expected a path without ".."`
		case "", ".":
			end = "/"
		default:
			clean, end = clean+"/"+name, ""
		}
	}
	return clean + end, ""
}

// listed is what each element of a list was set from.
func (v Var) listed(data []byte) []string {
	var items []string
	for _, e := range v.elements(data) {
		if v.Kind == VarEndpoints {
			items = append(items, decodeEndpoint(e).String())
			continue
		}
		text, _, _ := strings.Cut(string(e), "\x00")
		items = append(items, text)
	}
	return items
}
