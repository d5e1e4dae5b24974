package policy

import (
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/symbol"
)

// naming is a call that gives files other names, or names another meaning.
type naming struct {
	call string
	// paths are the arguments that say which: a rule that permits has to look at all. Where
	// there are none, nothing that a rule looks at says what names mean afterwards.
	paths []string
}

// renaming are those calls for names from the root on.
func renaming() []naming {
	return []naming{
		{"rename", []string{"oldpath", "newpath"}},
		{"renameat", []string{"oldpath", "newpath"}},
		{"renameat2", []string{"oldpath", "newpath"}},
		{"link", []string{"oldpath", "newpath"}},
		{"linkat", []string{"oldpath", "newpath"}},
		{"symlink", []string{"target", "path"}},
		{"symlinkat", []string{"target", "path"}},
		{"umount2", []string{"path"}},
		{"mount", nil},
		{"move_mount", nil},
		{"pivot_root", nil},
		{"chroot", nil},
		{"setns", nil},
		{"open_by_handle_at", nil},
	}
}

// moving are those that change what relative names are below.
func moving() []naming { return []naming{{"chdir", []string{"path"}}, {"fchdir", nil}} }

// checkLinks refuses a policy that tells calls apart by their paths while others give files
// any name: then a path says nothing. A policy may say that it knows.
func (c *compiler) checkLinks() error {
	if c.m.Links == LinksTrusted {
		return nil
	}
	named, relative := c.pathRules()
	if named == nil {
		return nil
	}
	calls := renaming()
	if relative {
		calls = append(calls, moving()...)
	}
	var free []string
	for _, n := range calls {
		if c.free(n) {
			free = append(free, n.call)
		}
	}
	if free == nil {
		if relative {
			return c.checkMoves()
		}
		return nil
	}
	return Wrong(*named, "deny them, have conditions on all paths of those that link, rename and unmount, or say links: trusted",
		"a path means little while names are given freely by %s", strings.Join(free, ", "))
}

// checkMoves refuses that a process goes to where relative paths can be links to whatever it
// has open, and are not told from others.
func (c *compiler) checkMoves() error {
	for _, n := range moving() {
		nr, _ := syscalls.Number(n.call)
		links, err := c.chain(nr)
		if err != nil {
			return err
		}
		for _, l := range links {
			if !l.action.Permits() {
				continue
			}
			for _, dir := range [...]string{"/proc", "/dev"} {
				if l.test.leadsTo(dir) {
					return Wrong(l.at, "name other directories, or say links: trusted",
						"./ means little where %s leads to %s", n.call, dir)
				}
			}
		}
	}
	return nil
}

// leadsTo tells whether a test may take a directory, or one below it, or the root, below which
// relative paths lead there.
func (t *test) leadsTo(dir string) bool {
	switch {
	case t.op == All:
		for i := range t.sub {
			if !t.sub[i].leadsTo(dir) {
				return false
			}
		}
		return true
	case t.op == Any:
		for i := range t.sub {
			if t.sub[i].leadsTo(dir) {
				return true
			}
		}
		return false
	case t.op == Not || t.subject != Path:
		return true
	}
	for _, p := range t.paths {
		switch above := strings.TrimSuffix(p.text, "/"); {
		case strings.HasPrefix(p.text+"/", dir+"/"):
			return true
		case p.kind == begins && strings.HasPrefix(dir, p.text), p.kind <= exact && strings.HasPrefix(dir, above+"/"):
			return true
		}
	}
	return false
}

// pathRules is where the first entry with a test of a path is, or of a socket's, and whether one
// takes relative ones. A limit, or the way to a phase, is evaded by another name as a rule is;
// programs have none but what rules say.
func (c *compiler) pathRules() (first *Pos, relative bool) {
	look := func(at *Pos, cond *Condition) {
		paths, rel := cond.paths()
		if paths && first == nil {
			first = at
		}
		relative = relative || rel
	}
	for _, r := range c.rules {
		look(&r.Rule.Pos, r.If)
	}
	for i := range c.m.Limits {
		look(&c.m.Limits[i].Pos, c.m.Limits[i].If)
	}
	for i := range c.m.Phases {
		for j := range c.m.Phases[i].Next {
			look(&c.m.Phases[i].Next[j].Pos, c.m.Phases[i].Next[j].If)
		}
	}
	return first, relative
}

// paths tells whether a condition has a test of a path, and of a relative one.
func (c *Condition) paths() (has, relative bool) {
	if c == nil {
		return false, false
	}
	for _, v := range c.Values {
		has = has || c.Subject == Path || c.Subject == Address && strings.HasPrefix(v.Text, "unix:/") && v.Text != "unix:/*"
		relative = relative || c.Subject == Path && v.Text == "./"
	}
	for i := range c.Sub {
		h, r := c.Sub[i].paths()
		has, relative = has || h, relative || r
	}
	return has, relative
}

// free tells whether a call is permitted by a rule that does not look at all of its paths.
func (c *compiler) free(n naming) bool {
	nr, ok := syscalls.Number(n.call)
	if !ok {
		return false
	}
	links, err := c.chain(nr)
	if err != nil {
		return true
	}
	for _, l := range links {
		if l.action.Permits() && !l.test.looksAtAll(nr, n.paths) {
			return true
		}
	}
	return false
}

// looksAtAll tells whether a test looks at each of some paths, of which there are any.
func (t *test) looksAtAll(nr uint32, paths []string) bool {
	for _, name := range paths {
		a, ok := symbol.Find(nr, name)
		if !ok || t == nil || !t.names(func(t *test) bool { return t.subject == Path && t.arg == a.Index }, All) {
			return false
		}
	}
	return len(paths) > 0
}

// names tells whether a test cannot hold whatever it is that some tests in it, which is tells,
// are about. Of the subs of one that is made by way of all, which is Any within Not, one is
// enough.
func (t *test) names(is func(*test) bool, all Op) bool {
	switch t.op {
	case Test:
		return is(t)
	case Not:
		return t.sub[0].names(is, All+Any-all)
	}
	for i := range t.sub {
		if t.sub[i].names(is, all) == (t.op == all) {
			return t.op == all
		}
	}
	return t.op != all
}
