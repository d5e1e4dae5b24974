// Package oci reads and writes seccomp profiles of containers: the "seccomp" object of the
// OCI runtime specification, and the files that Docker and Podman take, which are the same
// with conditions on capabilities, architectures and kernels.
//
// A profile means what runc makes of it by libseccomp. docs/CONVERT.md says what that is,
// and what is lost on the way.
package oci

import (
	"sort"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// Loss is one thing that is not in what Read or Write makes. Those of Read tell what they do
// to the calls that can be made, those of Write do not.
type Loss = static.Loss

// Options are what a profile may ask about the container.
type Options struct {
	// Capabilities are those of the container's bounding set, such as CAP_SYS_ADMIN.
	Capabilities []string
}

// Recognise tells whether data look like JSON, and so like a profile.
func Recognise(data []byte) bool {
	return strings.HasPrefix(strings.TrimLeft(string(data[:min(len(data), 512)]), " \t\r\n"), "{")
}

// Read is the policy of a profile for a process without capabilities, and what the policy
// does not say. Errors are of type *policy.Error.
func Read(file string, data []byte) (*policy.Model, []Loss, error) {
	return Options{}.Read(file, data)
}

// Read is the policy of a profile under the options.
func (o Options) Read(file string, data []byte) (*policy.Model, []Loss, error) {
	v, err := parse(file, data)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{options: o}
	p := r.profile(r.seccomp(v))
	if r.Err() != nil {
		return nil, nil, r.Err()
	}
	return r.Result(p.model(), file, data)
}

// profile is a profile as far as it is about x86-64.
type profile struct {
	comment     string
	deflt       policy.Action
	listed      bool // whether the profile names x86-64 as its architecture
	rules       []rule
	defaultOCI  string
	largest     uint32
	defaultData int64
	*static.Findings
}

// rule is one rule of libseccomp: a call, conditions all of which hold, and what is done.
type rule struct {
	pos     policy.Pos
	comment string
	nr      uint32
	when    static.Cube
	action  policy.Action
}

// model orders the rules so that the first that matches decides as libseccomp does, and
// puts calls with equal rules together.
func (p *profile) model() *policy.Model {
	m := &policy.Model{Comment: p.comment, Default: p.deflt, Unknown: p.deflt}
	p.newer(m)
	byCall := map[uint32][]rule{}
	var order []uint32
	for _, r := range p.rules {
		if byCall[r.nr] == nil {
			order = append(order, r.nr)
		}
		byCall[r.nr] = append(byCall[r.nr], r)
	}
	made := map[string]int{}
	for _, nr := range order {
		name, _ := syscalls.Name(nr)
		for _, r := range p.decide(nr, byCall[nr]) {
			key := r.key()
			i, ok := made[key]
			if !ok {
				i = len(m.Rules)
				made[key] = i
				m.Rules = append(m.Rules, r.Rule)
			}
			m.Rules[i].Calls = append(m.Rules[i].Calls, policy.Name{Pos: r.Pos, Text: name})
		}
	}
	return m
}

// newer adds what runc puts in front of a filter whose default is no permission: calls
// behind the last that the profile names fail with ENOSYS, so that programs fall back to
// older ones. Without x86-64 among its architectures it does not, nor if the profile
// names no call of it.
func (p *profile) newer(m *policy.Model) {
	if p.deflt.Permits() || p.defaultOCI == "SCMP_ACT_TRACE" || p.defaultData == static.ENOSYS || !p.listed || p.largest == 0 {
		return
	}
	m.Unknown = policy.Action{Kind: policy.Errno, Data: static.ENOSYS}
	r := policy.Rule{Comment: "newer than all that the profile names", Action: m.Unknown}
	for _, c := range syscalls.All() {
		if c.Nr > p.largest {
			r.Calls = append(r.Calls, policy.Name{Text: c.Name})
		}
	}
	if len(r.Calls) > 0 {
		m.Rules = append(m.Rules, r)
	}
}

// made is a rule of the policy that is about one call yet.
type made struct{ policy.Rule }

// key tells rules apart that more calls may have.
func (r made) key() string {
	if r.If == nil {
		return r.Action.String() + "\x00" + r.Comment
	}
	return r.Action.String() + "\x00" + r.Comment + "\x00" + r.If.String()
}

// decide makes ordered rules of those that a profile has for one call. A rule without
// conditions takes the place of all others of its call, and of two the first counts. Of
// rules with conditions the strictest comes first: where only one can match at a time,
// the order is of no meaning.
func (p *profile) decide(nr uint32, rules []rule) []made {
	for _, r := range rules {
		if len(r.when) == 0 {
			return []made{{policy.Rule{Pos: r.pos, Comment: r.comment, Action: r.action}}}
		}
	}
	p.overlaps(rules)
	sort.SliceStable(rules, func(i, j int) bool { return stricter(rules[i].action, rules[j].action) })
	var all []made
	for i := 0; i < len(rules); {
		j := i + 1
		for j < len(rules) && static.Same(rules[j].action, rules[i].action) {
			j++
		}
		all = append(all, p.union(nr, rules[i:j]))
		i = j
	}
	return all
}

// union is one rule for rules with the same action.
func (p *profile) union(nr uint32, rules []rule) made {
	m := made{policy.Rule{Pos: rules[0].pos, Comment: rules[0].comment, Action: rules[0].action}}
	var any []policy.Condition
	seen := map[string]bool{}
	for _, r := range rules {
		c, ok := r.when.Condition(nr, r.pos)
		if !ok {
			name, _ := syscalls.Name(nr)
			p.Fail(r.pos, "leave the rule out", "a policy has no name for one of the arguments of %s that are compared", name)
		}
		if text := c.String(); !seen[text] {
			seen[text] = true
			any = append(any, c)
		}
	}
	m.If = &policy.Condition{Pos: m.Pos, Op: policy.Any, Sub: any}
	if one, ok := alternatives(any); ok {
		m.If = &one
	}
	return m
}

// alternatives is one condition for several if all they do is compare one argument with a
// value each.
func alternatives(any []policy.Condition) (policy.Condition, bool) {
	one := any[0]
	for _, c := range any[1:] {
		if one.Op != policy.Test || one.Compare != policy.Is || c.Op != policy.Test || c.Compare != policy.Is || c.Arg != one.Arg {
			return one, false
		}
		one.Values = append(one.Values[:len(one.Values):len(one.Values)], c.Values...)
	}
	return one, true
}

// overlaps notes rules of one call for which libseccomp may do otherwise than it says: it
// makes a tree of them in which one can hide another, and of two that match and say
// different things it takes either, or refuses them.
func (p *profile) overlaps(rules []rule) {
	for i, a := range rules {
		for _, b := range rules[:min(i, maxCompared)] {
			why := ""
			switch equal := static.Same(a.action, b.action); {
			case !equal && !a.when.Disjoint(b.when):
				why = "the stricter one counts; libseccomp takes either, or refuses them"
			case a.when.Tangled(b.when):
				why = "all of them count, as libseccomp says they do; its program may miss one"
			default:
				continue
			}
			name, _ := syscalls.Name(a.nr)
			p.LoseAs(static.Stricter.When(!missesPermission(rules)), a.pos, "rules of "+name+" that overlap", why)
			return
		}
	}
}

// maxCompared is how many rules of a call each is compared with.
const maxCompared = 64

// missesPermission tells whether libseccomp's program may miss a rule that permits, where the
// policy has it count.
func missesPermission(rules []rule) bool {
	permits := false
	for _, r := range rules {
		permits = permits || r.action.Permits()
	}
	return permits && (len(rules) > maxCompared || tangled(rules))
}

// tangled tells whether one of the rules may hide another in libseccomp's tree.
func tangled(rules []rule) bool {
	for i, a := range rules {
		for _, b := range rules[:i] {
			if a.when.Tangled(b.when) {
				return true
			}
		}
	}
	return false
}

// stricter tells whether a comes before b: by the kernel's precedence, then the smaller
// errno, so that the order does not depend on the profile's.
func stricter(a, b policy.Action) bool {
	if a.Kind != b.Kind {
		return a.Kind > b.Kind
	}
	return a.Data < b.Data
}
