package static

import (
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
)

// maxNesting bounds how deep groups of a policy hold groups.
const maxNesting = 16

// calls are the numbers of calls and groups, each once.
func (d *decider) calls(names []policy.Name) []uint32 { return d.merged(names, maxNesting) }

// merged is calls of names that groups may hold so deep: each once, or groups that hold one another
// many times over would become longer with each.
func (d *decider) merged(names []policy.Name, depth int) []uint32 {
	var all []uint32
	seen := map[uint32]bool{}
	for _, n := range names {
		for _, nr := range d.named(n, depth) {
			if !seen[nr] {
				seen[nr] = true
				all = append(all, nr)
			}
		}
	}
	return all
}

// named are the numbers of one name. What it is for is kept: policies name the same
// groups over and over.
func (d *decider) named(n policy.Name, depth int) []uint32 {
	if known, ok := d.names[n.Text]; ok {
		return known
	}
	var all []uint32
	nr, isCall := syscalls.Number(n.Text)
	own := d.own(n.Text)
	members, isGroup := group.Lookup(n.Text)
	switch {
	case n.Text == policy.Start:
	case isCall:
		all = []uint32{nr}
	case depth == 0:
		d.fail(n.Pos, "groups are nested more than %d deep", maxNesting)
	case own != nil:
		all = d.merged(own.Calls, depth-1)
	case isGroup:
		for _, m := range members {
			nr, _ := syscalls.Number(m)
			all = append(all, nr)
		}
	default:
		d.fail(n.Pos, "expected a call of x86-64 or a group, found %q", n.Text)
	}
	if d.err == nil {
		d.names[n.Text] = all
	}
	return all
}

func (d *decider) own(name string) *policy.Group {
	if !strings.HasPrefix(name, "@") {
		return nil
	}
	for i := range d.model.Groups {
		if d.model.Groups[i].Name == name {
			return &d.model.Groups[i]
		}
	}
	return nil
}

// phased is what phases make of a call that rules permit.
type phased struct {
	depends, denied bool
	action          policy.Action
}

// phases finds the calls that every phase denies, and those about which phases differ or
// which lead from one to another.
func (d *decider) phases() {
	if len(d.model.Phases) == 0 {
		return
	}
	allowed, moves := map[uint32]int{}, map[uint32]bool{}
	for i := range d.model.Phases {
		p := &d.model.Phases[i]
		d.note(p.Pos, "a phase")
		in := d.phase(p)
		for _, t := range p.Next {
			for _, nr := range d.calls(t.On) {
				in[nr], moves[nr] = true, true
			}
		}
		for nr := range in {
			allowed[nr]++
		}
	}
	first := either(d.model.Phases[0].Action, EPERM)
	for _, c := range syscalls.All() {
		switch n := allowed[c.Nr]; {
		case moves[c.Nr] || n > 0 && n < len(d.model.Phases):
			d.phased[c.Nr] = phased{depends: true}
		case n == 0:
			d.phased[c.Nr] = phased{denied: d.oneAction(), depends: !d.oneAction(), action: first}
		}
	}
}

// oneAction tells whether phases all answer the same to what they deny.
func (d *decider) oneAction() bool {
	first := either(d.model.Phases[0].Action, EPERM)
	for _, p := range d.model.Phases {
		if !Same(either(p.Action, EPERM), first) {
			return false
		}
	}
	return true
}

// phase is the calls that a phase allows.
func (d *decider) phase(p *policy.Phase) map[uint32]bool {
	in := map[uint32]bool{}
	for _, nr := range d.calls(p.Allow) {
		in[nr] = true
	}
	if p.Deny == nil {
		return in
	}
	for _, c := range syscalls.All() {
		in[c.Nr] = true
	}
	for _, nr := range d.calls(p.Deny) {
		delete(in, nr)
	}
	return in
}
