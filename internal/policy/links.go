package policy

import (
	"strings"

	"portcullis/internal/abi/syscalls"
)

// renaming are calls that give files other names, or names another meaning.
var renaming = [...]string{
	"rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
	"mount", "move_mount", "pivot_root", "chroot", "open_by_handle_at",
}

// moving are calls that change what relative names are below.
var moving = [...]string{"chdir", "fchdir"}

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
	calls := renaming[:]
	if relative {
		calls = append(calls[:len(calls):len(calls)], moving[:]...)
	}
	var free []string
	for _, name := range calls {
		if nr, ok := syscalls.Number(name); ok && c.free(nr) {
			free = append(free, name)
		}
	}
	if free == nil {
		if relative {
			return c.checkMoves()
		}
		return nil
	}
	return Wrong(*named, "deny them, have conditions on their paths, or say links: trusted",
		"a path means little while names are given freely by %s", strings.Join(free, ", "))
}

// checkMoves refuses that a process goes to where relative paths can be links to whatever it
// has open, and are not told from others.
func (c *compiler) checkMoves() error {
	for _, name := range moving {
		nr, _ := syscalls.Number(name)
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
						"./ means little where %s leads to %s", name, dir)
				}
			}
		}
	}
	return nil
}

// leadsTo tells whether a test takes a directory, or one below it.
func (t *test) leadsTo(dir string) bool {
	if t == nil {
		return false
	}
	for i := range t.sub {
		if t.sub[i].leadsTo(dir) {
			return true
		}
	}
	for _, p := range t.paths {
		switch above := strings.TrimSuffix(p.text, "/"); {
		case strings.HasPrefix(p.text+"/", dir+"/"):
			return true
		case p.kind == begins && strings.HasPrefix(dir, p.text), p.kind < exact && strings.HasPrefix(dir, above+"/"):
			return true
		}
	}
	return false
}

// pathRules is where the first rule with a test of a path is, and whether one takes relative
// ones.
func (c *compiler) pathRules() (first *Pos, relative bool) {
	for _, r := range c.rules {
		paths, rel := r.If.paths()
		if paths && first == nil {
			first = &r.Rule.Pos
		}
		relative = relative || rel
	}
	return first, relative
}

// paths tells whether a condition has a test of a path, and of a relative one.
func (c *Condition) paths() (has, relative bool) {
	if c == nil {
		return false, false
	}
	if has = c.Op == Test && c.Subject == Path; has {
		for _, v := range c.Values {
			relative = relative || v.Text == "./"
		}
	}
	for i := range c.Sub {
		h, r := c.Sub[i].paths()
		has, relative = has || h, relative || r
	}
	return has, relative
}

// free tells whether a call is permitted by a rule that does not look at its path.
func (c *compiler) free(nr uint32) bool {
	links, err := c.chain(nr)
	if err != nil {
		return true
	}
	for _, l := range links {
		if l.action.Permits() && !l.test.looksAtPath() {
			return true
		}
	}
	return false
}

// looksAtPath tells whether a test cannot hold whatever the path is.
func (t *test) looksAtPath() bool {
	switch {
	case t == nil:
		return false
	case t.op == Test:
		return t.subject == Path
	case t.op == Any:
		for i := range t.sub {
			if !t.sub[i].looksAtPath() {
				return false
			}
		}
		return true
	}
	for i := range t.sub {
		if t.sub[i].looksAtPath() {
			return true
		}
	}
	return false
}
