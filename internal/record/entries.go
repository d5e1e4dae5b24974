package record

import (
	"path"
	"sort"
	"strings"
)

// entry is what a policy says of some names: all that its pattern takes.
type entry struct {
	name
	tally
	names int // how many it is from
}

// Bounds of lists: how many relative names, and odd ones, are named one by one.
const (
	mostRelative = 16
	mostOdd      = 64
)

// entriesOf are the entries for names, sorted. A directory of which at least so many entries
// were used is one entry with all that is below it.
func entriesOf(names map[name]*tally, many int) []entry {
	tops := map[string]bool{}
	for _, f := range []form{absolute, here, below} {
		for dir := range crowdedDirs(names, f, many) {
			tops[f.String()+dir] = true
		}
	}
	all := map[name]*entry{}
	for n, t := range names {
		n = n.under(tops)
		e := all[n]
		if e == nil {
			e = &entry{name: n, tally: newTally()}
			all[n] = e
		}
		e.names++
		e.tally.join(t)
	}
	return sortedEntries(all)
}

func sortedEntries(all map[name]*entry) []entry {
	var list []entry
	for _, e := range all {
		list = append(list, *e)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i].name, list[j].name
		if a.form != b.form {
			return a.form < b.form
		}
		if a.text != b.text {
			return a.text < b.text
		}
		if a.glob != b.glob {
			return a.glob
		}
		return !a.cut && b.cut
	})
	return dropCovered(list)
}

// dropCovered leaves out what a glob in front of it takes: those that begin with the same
// text follow each other.
func dropCovered(list []entry) []entry {
	var kept []entry
	for _, e := range list {
		if n := len(kept); n > 0 && kept[n-1].covers(e.name) {
			kept[n-1].names += e.names
			kept[n-1].cut = kept[n-1].cut || e.cut && e.text == kept[n-1].text
			kept[n-1].tally.join(&e.tally)
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// covers tells whether a glob takes another name of its form. What is below a directory is
// not the directory.
func (n name) covers(other name) bool {
	return n.glob && n.form == other.form && strings.HasPrefix(other.text, n.text) &&
		(other.text != n.text || !strings.HasSuffix(n.text, "/") || other.glob)
}

// under is the name of the highest of directories that has n, or n.
func (n name) under(tops map[string]bool) name {
	for i := 1; i < len(n.text); i++ {
		if n.text[i] == '/' && tops[n.form.String()+n.text[:i]] {
			return name{form: n.form, text: n.text[:i+1], glob: true}
		}
	}
	return n
}

// crowdedDirs are the directories of which many entries were used, or a multiple of that of
// directories in them.
func crowdedDirs(names map[name]*tally, f form, many int) map[string]bool {
	const multiple = 4
	children, inner := map[string]map[string]bool{}, map[string]map[string]bool{}
	for n := range names {
		if n.form != f || n.text == "" {
			continue
		}
		dir := directory(n)
		put(children, dir, n.text)
		for dir != "." && dir != "/" && dir != "" {
			above := path.Dir(dir)
			put(inner, above, dir)
			dir = above
		}
	}
	crowded := map[string]bool{}
	for dir, of := range children {
		if len(of) >= many && mayBeWhole(dir, f, many) {
			crowded[dir] = true
		}
	}
	for dir, of := range inner {
		if len(of) >= multiple*many && mayBeWhole(dir, f, many) {
			crowded[dir] = true
		}
	}
	return crowded
}

// directory is where a name is, or all that a glob takes.
func directory(n name) string {
	if n.glob {
		return path.Dir(n.text + "x")
	}
	return path.Dir(n.text)
}

func put(to map[string]map[string]bool, key, value string) {
	if to[key] == nil {
		to[key] = map[string]bool{}
	}
	to[key][value] = true
}

// mayBeWhole tells whether all of a directory may be taken for what was used of it. Those at
// the root, and the homes of users, hold too much that has nothing to do with each other;
// but for them there may be no room.
func mayBeWhole(dir string, f form, many int) bool {
	if f != absolute {
		return dir != "." && dir != ""
	}
	depth := strings.Count(dir, "/")
	if many <= 2 {
		return dir != "/"
	}
	return depth >= 3 || depth == 2 && !strings.HasPrefix(dir, "/home/")
}
