package policy

import (
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/group"
)

// callset is a set of system-call numbers below 64 * its length.
type callset [setWords]uint64

const setWords = 16

func (s *callset) add(nr uint32)      { s[nr/64%setWords] |= 1 << (nr % 64) }
func (s *callset) has(nr uint32) bool { return nr < 64*setWords && s[nr/64]>>(nr%64)&1 != 0 }

// bit is 1 for a member and 0 for others.
func (s *callset) bit(nr uint32) byte { return byte(s[nr/64%setWords] >> (nr % 64) & 1) }

func (s *callset) union(o *callset) {
	for i := range s {
		s[i] |= o[i]
	}
}

// numbers are the members in ascending order.
func (s *callset) numbers() []uint32 {
	var all []uint32
	for nr := uint32(0); nr < 64*setWords; nr++ {
		if s.has(nr) {
			all = append(all, nr)
		}
	}
	return all
}

// resolver turns names of calls and groups into numbers.
type resolver struct {
	own   map[string]*Group
	known map[string]*callset
	open  map[string]bool
}

func newResolver(m *Model) (*resolver, error) {
	r := &resolver{own: map[string]*Group{}, known: map[string]*callset{}, open: map[string]bool{}}
	for i := range m.Groups {
		g := &m.Groups[i]
		if _, ok := group.Lookup(g.Name); ok {
			return nil, Wrong(g.Pos, "give it a name of your own", "group %s comes with this program", Shown(g.Name))
		}
		if before := r.own[g.Name]; before != nil {
			return nil, Wrong(g.Pos, "write it once", "group %s is there twice, also at %s", Shown(g.Name), before.Pos)
		}
		r.own[g.Name] = g
	}
	for i := range m.Groups {
		if _, err := r.calls(m.Groups[i].Calls); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// calls is the set that names stand for.
func (r *resolver) calls(names []Name) (*callset, error) {
	s := &callset{}
	for _, n := range names {
		one, err := r.one(n)
		if err != nil {
			return nil, err
		}
		s.union(one)
	}
	return s, nil
}

func (r *resolver) one(n Name) (*callset, error) {
	if s := r.known[n.Text]; s != nil {
		return s, nil
	}
	s := &callset{}
	if nr, ok := syscalls.Number(n.Text); ok {
		s.add(nr)
	} else if g := r.own[n.Text]; g != nil {
		if r.open[n.Text] {
			return nil, Wrong(n.Pos, "leave one of them out", "group %s holds itself, at last", Shown(n.Text))
		}
		r.open[n.Text] = true
		in, err := r.calls(g.Calls)
		delete(r.open, n.Text)
		if err != nil {
			return nil, err
		}
		s = in
	} else if calls, ok := group.Lookup(n.Text); ok {
		for _, c := range calls {
			if nr, ok := syscalls.Number(c); ok {
				s.add(nr)
			}
		}
	} else {
		return nil, r.unknown(n)
	}
	r.known[n.Text] = s
	return s, nil
}

// unknown says that there is no such name, and which one is meant, if that can be told.
func (r *resolver) unknown(n Name) error {
	what, names := "call of x86-64", []string{}
	if len(n.Text) > 0 && n.Text[0] == '@' {
		what, names = "group", group.Names()
		for name := range r.own {
			names = append(names, name)
		}
	} else {
		for _, c := range syscalls.All() {
			names = append(names, c.Name)
		}
	}
	remedy := ""
	if best := closest(n.Text, names); best != "" {
		remedy = "perhaps " + best + " is meant"
	}
	return Wrong(n.Pos, remedy, "there is no %s named %s", what, Shown(n.Text))
}

// closest is the name that differs least from a text, "" if all differ a lot. Of several it
// is the first by name.
func closest(text string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(text, n, 3); d < least || d == least && best != "" && n < best {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters have to be changed, put in or taken out; most if more.
func distance(a, b string, most int) int {
	if len(a) > 64 || len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := before
			if a[i-1] != b[j-1] {
				cost++
			}
			before = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return min(row[len(b)], most)
}
