package policy

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// Reader gives the contents of a file that a policy includes. Its path is that of the
// including file's directory with what was written behind it, and has a slash; a word for
// which IsName holds is the name of a ready policy, which Ready has.
type Reader func(file string) ([]byte, error)

// Bounds of inclusion: hostile policies may name each other, and themselves.
const (
	maxIncludes     = 64
	maxIncludeDepth = 8
)

// Load parses a policy and what it includes, and makes one Model of them. What a policy says
// outdoes what those that it includes say: its rules are in front of theirs; its default,
// and its groups, limits, orders, flows and serializations take the place of those of the
// same name. The rest is added. Of those that it includes none outdoes another.
func Load(file string, data []byte, read Reader) (*Model, error) {
	l := &loader{read: read, open: map[string]bool{}}
	return l.load(file, data, 0)
}

type loader struct {
	read  Reader
	open  map[string]bool // the files that are being read, from the first on
	count int
}

func (l *loader) load(file string, data []byte, depth int) (*Model, error) {
	m, err := Parse(file, data)
	if err != nil {
		return nil, err
	}
	l.open[identity(file)] = true
	defer delete(l.open, identity(file))
	bases := &Model{Lines: map[string][]string{}}
	for _, i := range m.Include {
		base, err := l.include(file, i, depth)
		if err != nil {
			return nil, err
		}
		if err := bases.join(base, m); err != nil {
			return nil, err
		}
	}
	m.add(bases)
	m.Include = nil
	return m, nil
}

func (l *loader) include(from string, i Include, depth int) (*Model, error) {
	file := located(from, i.Path)
	l.count++
	switch {
	case l.open[identity(file)]:
		return nil, Wrong(i.Pos, "leave one of them out", "%s includes itself, at last", Shown(i.Path))
	case depth >= maxIncludeDepth:
		return nil, Wrong(i.Pos, "", "policies include each other more than %d deep", maxIncludeDepth)
	case l.count > maxIncludes:
		return nil, Wrong(i.Pos, "", "more than %d policies are included", maxIncludes)
	case l.read == nil:
		return nil, Wrong(i.Pos, "give it as a file", "a policy that is no file includes nothing")
	}
	data, err := l.read(file)
	if err != nil {
		return nil, &Error{Pos: i.Pos, Reason: "including " + Shown(i.Path) + ": " + cause(err).Error(), Err: err}
	}
	return l.load(file, data, depth+1)
}

// located is the path of what a file includes; the name of a ready policy stays a name.
func located(from, included string) string {
	if IsName(included) || strings.HasPrefix(included, "/") {
		return included
	}
	file := path.Join(path.Dir(from), included)
	if !strings.Contains(file, "/") {
		file = "./" + file
	}
	return file
}

// identity is the same for all ways to write a path, and another for a name.
func identity(file string) string {
	if IsName(file) {
		return file
	}
	return "/" + path.Clean(file)
}

// cause is an error without the file that it is about, which has been named.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// join adds another policy that the policy over includes, as well as this one. What both say
// in different ways is an error, unless over says it: none of them is silently without effect.
// A file that both include is there once.
func (m *Model) join(other, over *Model) error {
	for _, g := range other.Groups {
		if before := m.group(g.Name); before != nil && before.Pos != g.Pos && over.group(g.Name) == nil {
			return Wrong(g.Pos, "give one another name", "group %s is there twice, also at %s", Shown(g.Name), before.Pos)
		}
	}
	if over.Phases == nil && m.Phases != nil && other.Phases != nil && m.Phases[0].Pos != other.Phases[0].Pos {
		return Wrong(other.Phases[0].Pos, "have them in the policy that includes both", "there are also phases at %s", m.Phases[0].Pos)
	}
	m.inherit(other)
	m.Groups = merge(m.Groups, other.Groups, func(g Group) string { return g.Name })
	m.Programs = joined(m.Programs, other.Programs, func(p Program) Pos { return p.Pos })
	m.Order = joined(m.Order, other.Order, func(o Order) Pos { return o.Pos })
	m.Flows = joined(m.Flows, other.Flows, func(f Flow) Pos { return f.Pos })
	m.Limits = joined(m.Limits, other.Limits, func(l Limit) Pos { return l.Pos })
	m.Serialize = joined(m.Serialize, other.Serialize, func(s Serialize) Pos { return s.Pos })
	return nil
}

// group is the group of a name, nil if there is none.
func (m *Model) group(name string) *Group {
	for i := range m.Groups {
		if m.Groups[i].Name == name {
			return &m.Groups[i]
		}
	}
	return nil
}

// joined adds those of other that stand elsewhere.
func joined[T any](own, other []T, at func(T) Pos) []T {
	seen := map[Pos]bool{}
	for _, t := range own {
		seen[at(t)] = true
	}
	for _, t := range other {
		if !seen[at(t)] {
			own = append(own, t)
		}
	}
	return own
}

// inherit takes over what has no name.
func (m *Model) inherit(base *Model) {
	if m.Default.Kind == NoAction {
		m.Default = base.Default
	}
	if m.Unknown.Kind == NoAction {
		m.Unknown = base.Unknown
	}
	if base.Links == LinksTrusted {
		m.Links = LinksTrusted
	}
	m.Rules = append(m.Rules, base.Rules...)
	if m.Phases == nil {
		m.Phases = base.Phases
	}
	for file, lines := range base.Lines {
		m.Lines[file] = lines
	}
}

// add takes over from what is included what this policy does not say.
func (m *Model) add(base *Model) {
	m.inherit(base)
	m.Groups = merge(m.Groups, base.Groups, func(g Group) string { return g.Name })
	m.Programs = merge(m.Programs, base.Programs, func(p Program) string { return p.Name })
	m.Order = merge(m.Order, base.Order, func(o Order) string { return o.Name })
	m.Flows = merge(m.Flows, base.Flows, func(f Flow) string { return f.Name })
	m.Limits = merge(m.Limits, base.Limits, func(l Limit) string { return l.Name })
	m.Serialize = merge(m.Serialize, base.Serialize, func(s Serialize) string { return s.Name })
}

// merge adds those of base that have no name, or one of their own.
func merge[T any](own, base []T, name func(T) string) []T {
	seen := map[string]bool{"": false}
	for _, t := range own {
		seen[name(t)] = name(t) != ""
	}
	for _, t := range base {
		if !seen[name(t)] {
			own = append(own, t)
		}
	}
	return own
}

// lines are those of a file, for messages.
func lines(data []byte) []string {
	var all []string
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for {
		i := strings.IndexFunc(text, isBreak)
		if i < 0 {
			return append(all, text)
		}
		_, n := utf8.DecodeRuneInString(text[i:])
		all, text = append(all, text[:i]), text[i+n:]
	}
}
