package record

import (
	"path"
	"strings"
)

// stem is what names that differ from run to run have in common: where they are, how long
// they are, and how they begin.
type stem struct {
	form   form
	dir    string
	length int
	begin  string
}

// alike is how many characters names have in common where names are for long.
const alike = 3

// differing finds names that were another one in each run, such as those of temporary files:
// for each component that is one, what to take instead of it.
func differing(names map[name]*tally, runs int) map[string]string {
	seen := map[stem]map[string]*tally{}
	for n, t := range names {
		if s, component, ok := stemOf(n); ok {
			if seen[s] == nil {
				seen[s] = map[string]*tally{}
			}
			if seen[s][component] == nil {
				seen[s][component] = &tally{last: t.last, by: map[string]bool{}}
			}
			c := seen[s][component]
			if c.runs = max(c.runs, t.runs); c.last != t.last {
				c.runs = max(c.runs, 2)
			}
		}
	}
	instead := map[string]string{}
	for s, components := range seen {
		if front, ok := inEachRun(components, runs); ok && runs > 1 {
			for c := range components {
				instead[s.form.String()+join(s.dir, c)] = join(s.dir, front)
			}
		}
	}
	return instead
}

// stemOf is the stem of a name: that of what is directly below a directory for temporary
// files, or of its last component.
func stemOf(n name) (s stem, component string, ok bool) {
	if n.glob || n.form != absolute && n.form != here && n.form != below {
		return stem{}, "", false
	}
	for dir := path.Dir(n.text); len(dir) > 1; dir = path.Dir(dir) {
		if base := path.Base(dir); base == "tmp" || base == "shm" {
			component, _, _ = strings.Cut(n.text[len(dir)+1:], "/")
			return stem{n.form, dir, len(component), ""}, component, true
		}
	}
	dir, component := path.Split(n.text)
	if len(component) < 2*alike {
		return stem{}, "", false
	}
	return stem{n.form, strings.TrimSuffix(dir, "/"), len(component), component[:alike]}, component, true
}

// inEachRun is what components have in common if each was seen in one run, and one in each.
func inEachRun(components map[string]*tally, runs int) (front string, ok bool) {
	in := map[int]bool{}
	first := true
	for c, t := range components {
		if t.runs != 1 {
			return "", false
		}
		if in[t.last] = true; first {
			front, first = c, false
		}
		for !strings.HasPrefix(c, front) {
			front = front[:len(front)-1]
		}
	}
	return front, len(in) == runs
}

func join(dir, component string) string {
	if dir == "" {
		return component
	}
	return dir + "/" + component
}

// settled are names with those that differ taken together.
func settled(names map[name]*tally, runs int) map[name]*tally {
	instead := differing(names, runs)
	if len(instead) == 0 {
		return names
	}
	all := map[name]*tally{}
	for n, t := range names {
		n = n.replaced(instead)
		if all[n] == nil {
			joined := newTally()
			all[n] = &joined
		}
		all[n].joinRuns(t)
	}
	return all
}

func (n name) replaced(instead map[string]string) name {
	for i := 1; i <= len(n.text); i++ {
		if i == len(n.text) || n.text[i] == '/' {
			if front, ok := instead[n.form.String()+n.text[:i]]; ok {
				return name{form: n.form, text: front, glob: true}
			}
		}
	}
	return n
}

// joinRuns is join where the other may be of other runs.
func (t *tally) joinRuns(o *tally) {
	runs := t.runs
	t.join(o)
	if t.last != o.last {
		t.runs = max(t.runs, runs+o.runs)
	}
	t.last = o.last
}
