package systemd

import (
	"strings"

	"portcullis/internal/policy"
)

// Limits of what Read takes. systemd's own is a line of 1 MiB.
const (
	maxSize  = 1 << 20
	maxWords = 20_000 // of one file
)

// line is an assignment of a unit file, its continuations joined.
type line struct {
	pos     policy.Pos
	section string
	key     string
	value   string
	// at is where the value begins.
	at policy.Pos
}

// word is a part of a value between blanks.
type word struct {
	pos  policy.Pos
	text string
}

// lines takes a unit file, or lines of one, apart.
func lines(file string, data []byte) ([]line, error) {
	if len(data) > maxSize {
		return nil, policy.Wrong(policy.Pos{File: file}, "", "the file has %d bytes: expected at most %d", len(data), maxSize)
	}
	var all []line
	section := ""
	texts := strings.Split(string(data), "\n")
	for i := 0; i < len(texts); i++ {
		at := policy.Pos{File: file, Line: i + 1, Col: 1}
		text := strings.TrimSpace(texts[i])
		at.Col += strings.Index(texts[i], text)
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
			continue
		case text[0] == '[':
			if !strings.HasSuffix(text, "]") {
				return nil, policy.Wrong(at, "", "expected a section such as [Service], found %s", policy.Shown(text))
			}
			section = text[1 : len(text)-1]
			continue
		case strings.IndexByte(text, 0) >= 0:
			return nil, policy.Wrong(at, "", "expected text, found a zero byte")
		}
		text, i = joined(texts, i, text)
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, policy.Wrong(at, "", "expected NAME=VALUE, found %s", policy.Shown(text))
		}
		l := line{pos: at, section: section, key: strings.TrimSpace(key), value: strings.TrimSpace(value), at: at}
		l.at.Col += len(key) + 1 + len(value) - len(strings.TrimLeft(value, " \t"))
		all = append(all, l)
	}
	return all, nil
}

// joined is text with the lines that a backslash at its end asks for, and the number of
// the last. Comments between them are none of it.
func joined(texts []string, i int, text string) (string, int) {
	var b strings.Builder
	for strings.HasSuffix(text, "\\") && i+1 < len(texts) {
		b.WriteString(text[:len(text)-1] + " ")
		for i++; i+1 < len(texts) && comment(texts[i]); i++ {
		}
		if text = strings.TrimSpace(texts[i]); comment(text) {
			text = ""
		}
	}
	b.WriteString(strings.TrimSuffix(text, "\\"))
	return b.String(), i
}

func comment(text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && (text[0] == '#' || text[0] == ';')
}

// words are those of the value, without the ~ that may stand in front of it. Words of
// continued lines have the place of the first.
func (l *line) words() (words []word, inverted bool) {
	rest, offset := l.value, 0
	if strings.HasPrefix(rest, "~") {
		rest, offset, inverted = rest[1:], 1, true
	}
	for {
		trimmed := strings.TrimLeft(rest, " \t")
		offset += len(rest) - len(trimmed)
		if trimmed == "" {
			break
		}
		n := strings.IndexAny(trimmed, " \t")
		if n < 0 {
			n = len(trimmed)
		}
		at := l.at
		at.Col += offset
		words = append(words, word{at, trimmed[:n]})
		rest, offset = trimmed[n:], offset+n
	}
	return words, inverted
}
