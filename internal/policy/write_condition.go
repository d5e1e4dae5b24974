package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// String is the condition as a policy writes it: YAML in one line.
func (c *Condition) String() string {
	switch c.Op {
	case All:
		if distinct(c.Sub) {
			return "{" + join(c.Sub, (*Condition).entry) + "}"
		}
		return "{all: [" + join(c.Sub, (*Condition).String) + "]}"
	case Any:
		return "{any: [" + join(c.Sub, (*Condition).String) + "]}"
	case Not:
		return "{not: " + join(c.Sub, (*Condition).String) + "}"
	}
	return "{" + c.entry() + "}"
}

func join(cs []Condition, text func(*Condition) string) string {
	texts := make([]string, len(cs))
	for i := range cs {
		texts[i] = text(&cs[i])
	}
	return strings.Join(texts, ", ")
}

// distinct tells whether tests can be the entries of one mapping.
func distinct(cs []Condition) bool {
	seen := map[string]bool{}
	for _, c := range cs {
		key, _, _ := strings.Cut(c.entry(), ":")
		if c.Op != Test || seen[key] {
			return false
		}
		seen[key] = true
	}
	return len(cs) > 0
}

// entry is a condition as an entry of a mapping, without braces.
func (c *Condition) entry() string {
	if c.Op != Test {
		s := c.String()
		return s[1 : len(s)-1]
	}
	switch c.Subject {
	case UID, GID, Comm:
		return fmt.Sprintf("caller: {%s: %s}", c.Subject, c.test())
	case Arguments:
		lists := make([]string, len(c.Argv))
		for i, argv := range c.Argv {
			lists[i] = "[" + texts(argv) + "]"
		}
		return "argv: [" + strings.Join(lists, ", ") + "]"
	case Text:
		return fmt.Sprintf("%s: {text: [%s]}", c.Arg, texts(c.Values))
	case Path:
		return c.Arg + ": [" + quoted(c.Values) + "]"
	case Address:
		return fmt.Sprintf("%s: {address: [%s]}", c.Arg, texts(c.Values))
	}
	return c.Arg + ": " + c.test()
}

// test is what is asked of a number.
func (c *Condition) test() string {
	word := [...]string{"is", "not", "", "lt", "le", "gt", "ge", "", "all", "any", "none"}[c.Compare]
	switch {
	case c.Compare == Is && c.Width == 0:
		return one(c.Values)
	case c.Compare == MaskedIs:
		return fmt.Sprintf("{mask: %s, is: %s%s}", c.Mask, one(c.Values), c.width())
	case c.Compare == Between && len(c.Values) == 2:
		return fmt.Sprintf("{from: %s, to: %s%s}", c.Values[0], c.Values[1], c.width())
	}
	return fmt.Sprintf("{%s: %s%s}", word, one(c.Values), c.width())
}

func (c *Condition) width() string {
	if c.Width == 0 {
		return ""
	}
	return fmt.Sprintf(", width: %d", c.Width)
}

// one is a value, or a list of them.
func one(vs []Value) string {
	if len(vs) == 1 {
		return vs[0].String()
	}
	return "[" + texts(vs) + "]"
}

func texts(vs []Value) string {
	all := make([]string, len(vs))
	for i, v := range vs {
		all[i] = v.String()
	}
	return strings.Join(all, ", ")
}

// quoted is texts where "" is one.
func quoted(vs []Value) string {
	all := make([]string, len(vs))
	for i, v := range vs {
		all[i] = quote(v.Text)
	}
	return strings.Join(all, ", ")
}

// String is the value as a policy writes it; large numbers are hexadecimal.
func (v Value) String() string {
	switch {
	case v.Text != "":
		return quote(v.Text)
	case v.Number > 9999:
		return fmt.Sprintf("%#x", v.Number)
	}
	return strconv.FormatUint(v.Number, 10)
}

// String is the key of a policy.
func (s Subject) String() string {
	return [...]string{"argument", "path", "address", "argv", "text", "uid", "gid", "comm"}[s]
}

// quote writes a scalar that YAML reads as this text, and no quotes where it needs none.
func quote(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString("\\" + string(c))
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, "\\x%02x", c)
		case !strconv.IsPrint(c):
			fmt.Fprintf(&b, "\\U%08x", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + "\""
}

// plain tells whether a text is a word that YAML takes for nothing else.
func plain(s string) bool {
	switch strings.ToLower(s) {
	case "", "true", "false", "yes", "no", "on", "off", "null", "y", "n", "~":
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '/'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '.' || c == '-' || c == '|' || c == '+')) {
			return false
		}
	}
	return true
}
