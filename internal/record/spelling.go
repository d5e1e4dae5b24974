package record

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// form is what kind of name a name is.
type form uint8

// The forms.
const (
	// absolute is a path that a policy can tell from others by itself.
	absolute form = iota
	// linked is one through a link of /proc to what a process has open: itself alone.
	linked
	// here is relative to the working directory, below to a descriptor's.
	here
	below
	// odd is compared as it is written: with "..", ".", or slashes that it could do without.
	odd
	// ofProcess is one below a process's directory in /proc.
	ofProcess
	// none is the empty name.
	none
)

// name is a name, or with glob all that begin with its text.
type name struct {
	form form
	text string
	glob bool
	// cut tells that the glob is for want of a better word: a policy cannot hold what follows.
	cut bool
}

// mostText is how long a text of a policy may be, with a * at its end.
const mostText = 255

// spell is the name for a path as a call had it. What will be another one the next time is
// left out of it: versions, numbers of processes, random letters.
func spell(raw string, open bool, pid, tid int) name {
	text, cut := printable(raw)
	n := name{form: formOf(text, open), text: text, glob: cut, cut: cut}
	if cut { // something follows: so it is neither the empty name nor one with a slash at its end
		n.form = formOf(text+"x", open)
	}
	switch n.form {
	case none, linked:
		return n
	case absolute, here, below:
		n = n.general(pid, tid)
	}
	if n.form == absolute && (n.text == "/" && n.glob || !clean(n.text)) {
		n.form = odd
	}
	return n
}

// printable is a text up to what a policy cannot hold, or that would be lost there.
func printable(s string) (text string, cut bool) {
	for i, c := range s {
		size := utf8.RuneLen(c)
		if c == utf8.RuneError || !unicode.IsPrint(c) || i+size > mostText-1 {
			return s[:i], true
		}
	}
	return s, strings.HasSuffix(s, "*")
}

// clean tells whether a path is one that a policy takes, up to a slash at its end.
func clean(text string) bool {
	bare := strings.TrimSuffix(text, "/")
	return !strings.Contains(text, "*") && (text == "/" || path.Clean(bare) == bare)
}

func formOf(text string, open bool) form {
	switch {
	case text == "":
		return none
	case text[0] != '/':
		if path.Clean(text) == strings.TrimPrefix(text, "./") && !strings.HasPrefix(text, "..") {
			if open {
				return below
			}
			return here
		}
		return odd
	case text != path.Clean(text), strings.Contains(text, "*"):
		return odd
	}
	return procForm(text)
}

// procForm tells links to what processes have open from other absolute paths, as policies do.
func procForm(text string) form {
	if rest, ok := strings.CutPrefix(text, "/dev/"); ok {
		if rest == "fd" || strings.HasPrefix(rest, "fd/") || strings.HasPrefix(rest, "std") {
			return linked
		}
		return absolute
	}
	rest, ok := strings.CutPrefix(text, "/proc/")
	if !ok {
		return absolute
	}
	first, inner, _ := strings.Cut(rest, "/")
	if _, err := strconv.Atoi(first); err == nil {
		return ofProcess
	}
	if first == "thread-self" {
		return linked
	}
	if first == "self" {
		for _, link := range [...]string{"cwd", "exe", "root", "map_", "task", "fd/"} {
			if strings.HasPrefix(inner+"/", link) {
				return linked
			}
		}
	}
	return absolute
}

// general is a name without what differs from run to run.
func (n name) general(pid, tid int) name {
	at := 0
	for _, component := range strings.SplitAfter(n.text, "/") {
		bare := strings.TrimSuffix(component, "/")
		if keep, ok := varies(path.Base(n.text[:at]), bare, pid, tid); ok {
			return name{form: n.form, text: n.text[:at] + keep, glob: true}
		}
		at += len(component)
	}
	return n
}

// Names that differ: versions of libraries, numbers, and a last word with an ending.
var (
	versioned = regexp.MustCompile(`^(.+\.so\.)[0-9][0-9.]*$`)
	numbered  = regexp.MustCompile(`^(.*?)[0-9]{5,}$`)
	lettered  = regexp.MustCompile(`^(.*?)([A-Za-z0-9]+)(\.[A-Za-z0-9]{1,4})?$`)
)

// varies is what of a component below a directory stays the same, if that is not all of it.
func varies(dir, component string, pid, tid int) (keep string, ok bool) {
	if m := versioned.FindStringSubmatch(component); m != nil {
		return m[1], true
	}
	if keep, ok = numberOf(component, pid, tid); ok {
		return keep, true
	}
	if m := numbered.FindStringSubmatch(component); m != nil {
		return m[1], true
	}
	return temporary(dir == "tmp" || dir == "shm", component)
}

// numberOf is what stands in front of a process's number. Small ones are too common.
func numberOf(component string, numbers ...int) (front string, ok bool) {
	for _, n := range numbers {
		text := strconv.Itoa(n)
		at := strings.Index(component, text)
		if n < 100 || at < 0 {
			continue
		}
		before, behind := component[:at], component[at+len(text):]
		if !strings.HasSuffix(strings.TrimRight(before, "0123456789")+"x", before+"x") || behind != "" && behind[0] >= '0' && behind[0] <= '9' {
			continue // part of a longer number
		}
		return before, true
	}
	return "", false
}

// temporary is what stands in front of the letters that make a name one of its own. Where
// names are for a short time they need not be as random.
func temporary(there bool, component string) (front string, ok bool) {
	if rest, is := strings.CutPrefix(component, "tmp"); is && len(rest) >= 6 && (there || strings.ContainsAny(rest, "_0123456789")) {
		return "tmp", true
	}
	m := lettered.FindStringSubmatch(component)
	if m == nil {
		return "", false
	}
	front, run := m[1], m[2]
	switch {
	case there && len(run) == 8 && strings.HasPrefix(run, "cc"): // a compiler's
		return front + "cc", true
	case !random(run) || !there && front == "":
		return "", false
	case there && len(run) == 8:
		return front + run[:2], true // letters in front of the usual six
	}
	return front, true
}

// random tells whether a word looks as if nobody had thought of it: at least six characters,
// digits among letters, or capitals behind others.
func random(word string) bool {
	digits := strings.ContainsAny(word, "0123456789")
	letters := strings.TrimLeft(word, "0123456789") != "" && strings.ToLower(word) != strings.ToUpper(word)
	inner := len(word) > 1 && strings.ToLower(word[1:]) != word[1:]
	lower := strings.ToUpper(word) != word
	return len(word) >= 6 && (digits && letters || inner && lower)
}

// String is a word for each form.
func (f form) String() string {
	return [...]string{"absolute", "linked", "here", "below", "odd", "process", "none"}[f]
}
