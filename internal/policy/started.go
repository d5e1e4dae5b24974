package policy

import "strings"

// Takes tells whether the program is what is executed by that path, which is absolute. What
// is not a path as policies have them is not.
func (p *Program) Takes(path string) bool {
	for _, v := range p.Paths {
		if pattern, err := parsePattern(v); err == nil && pattern.takes(path) {
			return true
		}
	}
	return false
}

// takes tells whether an absolute path without links is one that the entry is for.
func (p pattern) takes(path string) bool {
	switch p.kind {
	case exact:
		return path == p.text
	case below:
		return strings.HasPrefix(path, p.text) && path != p.text
	case begins:
		return strings.HasPrefix(path, p.text)
	case exactOrBelow:
		return path == p.text || strings.HasPrefix(path, p.text+"/")
	}
	return false
}
