package systemd

import (
	"sort"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
	"portcullis/internal/policy/oci/static"
	"portcullis/internal/policy/symbol"
)

// model joins the filters that systemd installs for the unit, one for each directive. The
// strictest answer counts, and of two errors that of the filter which is installed last:
// that of SystemCallFilter=. So rules come in the order of strictness, and those that it
// outdoes are left out.
func (u *unit) model() *policy.Model {
	m := &policy.Model{Default: u.verdict(noCall)}
	m.Unknown = m.Default
	for _, r := range u.restrictions() {
		var calls []policy.Name
		for _, c := range r.Calls {
			nr, _ := syscalls.Number(c.Text)
			if u.verdict(nr).Kind < r.Action.Kind {
				calls = append(calls, c)
			}
		}
		if r.Calls = calls; len(calls) > 0 {
			m.Rules = append(m.Rules, r)
		}
	}
	for _, a := range u.answers() {
		r := policy.Rule{Pos: a.Pos, Action: a}
		for _, c := range syscalls.All() {
			if v := u.verdict(c.Nr); static.Same(v, a) {
				r.Calls = append(r.Calls, policy.Name{Pos: v.Pos, Text: c.Name})
			}
		}
		m.Rules = append(m.Rules, r)
	}
	return m
}

// noCall is the number of calls that no list has.
const noCall = ^uint32(0)

// answers are the actions that SystemCallFilter= and SystemCallLog= have for some call,
// the strictest first, but for the default's.
func (u *unit) answers() []policy.Action {
	deflt := u.verdict(noCall)
	seen := map[policy.Action]bool{{Kind: deflt.Kind, Data: deflt.Data}: true}
	var all []policy.Action
	for _, c := range syscalls.All() {
		a := u.verdict(c.Nr)
		if key := (policy.Action{Kind: a.Kind, Data: a.Data}); !seen[key] {
			seen[key] = true
			all = append(all, a)
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].Kind != all[j].Kind {
			return all[i].Kind > all[j].Kind
		}
		return all[i].Data < all[j].Data
	})
	return all
}

// verdict is what SystemCallFilter= and SystemCallLog= make of a call.
func (u *unit) verdict(nr uint32) policy.Action {
	a := policy.Action{Kind: policy.Allow}
	if u.log != nil {
		if _, listed := u.log.calls[nr]; listed == u.log.allow {
			a.Kind = policy.Log
		}
	}
	if u.filter == nil {
		return a
	}
	e, listed := u.filter.calls[nr]
	negative := u.errno
	if negative.Kind == policy.NoAction {
		negative.Kind = policy.Kill
	}
	switch {
	case listed && e.errno == killErrno:
		return policy.Action{Pos: e.pos, Kind: policy.Kill}
	case listed && e.errno >= 0:
		return policy.Action{Pos: e.pos, Kind: policy.Errno, Data: uint16(e.errno)}
	case listed == u.filter.allow:
		a.Pos = e.pos
		return a
	}
	return negative
}

// restrictions are the rules of the other directives.
func (u *unit) restrictions() []policy.Rule {
	rules := append(u.familyRules(), u.namespaceRules()...)
	for _, name := range switchNames() {
		l := u.switches[name]
		if l == nil {
			continue
		}
		if more := switchLoses(name); more != "" {
			u.Lose(l.pos, name+"=", more)
		}
		for _, r := range switchRules(name) {
			r.Pos, r.Comment = l.pos, name+"="
			rules = append(rules, r)
		}
	}
	return rules
}

// switchNames are the directives that are on or off, in the order in which systemd
// installs their filters.
func switchNames() []string {
	return []string{
		"MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "ProtectKernelTunables", "ProtectKernelModules",
		"ProtectKernelLogs", "ProtectClock", "PrivateDevices", "LockPersonality", "ProtectHostname",
	}
}

// switchLoses is what a directive does besides.
func switchLoses(name string) string {
	switch name {
	case "ProtectKernelTunables":
		return "the policy denies _sysctl; that /proc and /sys are read-only is not a matter of system calls"
	case "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock":
		return "the policy denies its calls; it also takes a capability and hides files"
	case "PrivateDevices":
		return "the policy denies @raw-io; it also takes capabilities and gives another /dev"
	case "ProtectHostname":
		return "the policy denies its calls; it also gives a UTS namespace"
	}
	return ""
}

func switchRules(name string) []policy.Rule {
	switch name {
	case "MemoryDenyWriteExecute":
		return []policy.Rule{
			deny(static.EPERM, test("prot", policy.AllBits, "PROT_WRITE|PROT_EXEC"), "mmap"),
			deny(static.EPERM, test("prot", policy.AllBits, "PROT_EXEC"), "mprotect", "pkey_mprotect"),
			deny(static.EPERM, test("flags", policy.AllBits, "SHM_EXEC"), "shmat"),
		}
	case "RestrictRealtime":
		return []policy.Rule{deny(static.EPERM, test("policy", policy.IsNot, "SCHED_NORMAL", "SCHED_BATCH", "SCHED_IDLE"), "sched_setscheduler")}
	case "RestrictSUIDSGID":
		create := test("flags", policy.AllBits, "O_CREAT")
		mode := test("mode", policy.AnyBit, "S_ISUID|S_ISGID")
		return []policy.Rule{
			deny(static.EPERM, mode, "chmod", "fchmod", "fchmodat", "fchmodat2", "mkdir", "mkdirat", "mknod", "mknodat", "creat"),
			deny(static.EPERM, &policy.Condition{Op: policy.All, Sub: []policy.Condition{*create, *mode}}, "open", "openat"),
			deny(static.ENOSYS, nil, "openat2"),
		}
	case "ProtectKernelTunables":
		return []policy.Rule{deny(static.EPERM, nil, "_sysctl")}
	case "ProtectKernelModules":
		return []policy.Rule{deny(static.EPERM, nil, inGroup("@module")...)}
	case "ProtectKernelLogs":
		return []policy.Rule{deny(static.EPERM, nil, "syslog")}
	case "ProtectClock":
		return []policy.Rule{deny(static.EPERM, nil, inGroup("@clock")...)}
	case "PrivateDevices":
		return []policy.Rule{deny(static.EPERM, nil, inGroup("@raw-io")...)}
	case "LockPersonality":
		return []policy.Rule{deny(static.EPERM, test("personality", policy.IsNot, "PER_LINUX"), "personality")}
	case "ProtectHostname":
		return []policy.Rule{deny(static.EPERM, nil, "sethostname", "setdomainname")}
	}
	return nil
}

func inGroup(name string) []string {
	calls, _ := group.Lookup(name)
	return calls
}

func deny(errno uint16, when *policy.Condition, calls ...string) policy.Rule {
	r := policy.Rule{Action: policy.Action{Kind: policy.Errno, Data: errno}, If: when}
	for _, c := range calls {
		r.Calls = append(r.Calls, policy.Name{Text: c})
	}
	return r
}

// test compares an argument with numbers, or the names of constants.
func test(arg string, how policy.Compare, values ...string) *policy.Condition {
	c := &policy.Condition{Arg: arg, Compare: how}
	for _, v := range values {
		c.Values = append(c.Values, policy.Value{Text: v})
	}
	return c
}

// familyRules are the rules for the families of addresses. AF_UNSPEC is none that can be
// let through.
func (u *unit) familyRules() []policy.Rule {
	if u.families == nil && !u.allowed {
		return nil
	}
	var numbers []uint64
	for af := range u.families {
		if af < maxFamily && (af > 0 || !u.allowed) {
			numbers = append(numbers, af)
		}
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	c := &policy.Condition{Pos: u.familiesAt, Arg: "family"}
	if u.allowed {
		c.Compare = policy.IsNot
	}
	names := familyNames()
	for _, af := range numbers {
		c.Values = append(c.Values, policy.Value{Text: names[af]})
	}
	switch {
	case len(numbers) > 0:
	case u.allowed:
		c = nil
	default:
		return nil
	}
	r := deny(eafnosupport, c, "socket")
	r.Pos, r.Comment = u.familiesAt, "RestrictAddressFamilies="
	return []policy.Rule{r}
}

// maxFamily is AF_MAX.
const maxFamily = 46

// familySet is the set of constants of the first argument of socket.
func familySet() string {
	nr, _ := syscalls.Number("socket")
	a, _ := symbol.Find(nr, "family")
	return a.Set
}

func family(name string) (uint64, bool) {
	if len(name) < 3 || name[:3] != "AF_" {
		return 0, false
	}
	return symbol.Constant(familySet(), name)
}

// familyNames are the names of families, one for each.
func familyNames() map[uint64]string {
	alias := map[string]bool{"AF_FILE": true, "AF_LOCAL": true, "AF_ROUTE": true, "AF_MAX": true}
	set, names := familySet(), map[uint64]string{}
	for _, n := range symbol.Names(set) {
		if v, ok := symbol.Constant(set, n); ok && strings.HasPrefix(n, "AF_") && !alias[n] {
			names[v] = n
		}
	}
	return names
}

// namespaceRules are the rules for kinds of namespaces that may not be made or entered.
func (u *unit) namespaceRules() []policy.Rule {
	if u.spaces == -1 || u.spaces == allSpaces() {
		return nil
	}
	var denied []string
	for _, s := range spaces() {
		if u.spaces&s.flag == 0 {
			denied = append(denied, s.constant)
		}
	}
	made := test("flags", policy.AnyBit, strings.Join(denied, "|"))
	entered := &policy.Condition{Op: policy.Any, Sub: []policy.Condition{*test("flags", policy.Is, "0"), *made}}
	if u.spaces == 0 {
		entered = nil
	}
	rules := []policy.Rule{deny(static.ENOSYS, nil, "clone3"), deny(static.EPERM, entered, "setns"), deny(static.EPERM, made, "unshare", "clone")}
	for i := range rules {
		rules[i].Pos, rules[i].Comment = u.spacesAt, "RestrictNamespaces="
	}
	return rules
}

// number is that of a call which is known to exist.
func number(call string) uint32 {
	nr, _ := syscalls.Number(call)
	return nr
}
