package oci

import (
	"fmt"
	"strconv"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// reader takes a profile apart.
type reader struct {
	static.Findings
	options Options
}

// seccomp finds the profile in the configuration of a container, or takes v for one.
func (r *reader) seccomp(v *value) *value {
	linux := v.get("linux")
	if linux == nil || v.get("defaultAction") != nil {
		return v
	}
	if p := linux.get("seccomp"); p != nil {
		return p
	}
	r.Fail(linux.pos, "", "the container's configuration has no linux.seccomp")
	return v
}

// want tells whether v has the kind, and fails if not.
func (r *reader) want(v *value, k kind, what string) bool {
	if v == nil || r.Err() != nil {
		return false
	}
	if v.kind != k {
		r.Fail(v.pos, "", "%s: expected %s, found %s", what, k, v.kind)
	}
	return v.kind == k
}

// known fails on names that readers which ignore the case of letters would take for
// others, and notes names that mean nothing.
func (r *reader) known(v *value, what string, names ...string) {
	for i := range v.fields {
		f := &v.fields[i]
		found := false
		for _, n := range names {
			switch {
			case f.name == n:
				found = true
			case strings.EqualFold(f.name, n):
				r.Fail(f.pos, "write "+n, "%s has %s, which some readers take for %q", what, policy.Shown(f.name), n)
			}
		}
		if !found {
			r.Lose(f.pos, policy.Shown(f.name)+" in "+what, "not known, ignored as runc does")
		}
	}
}

func (r *reader) profile(v *value) *profile {
	p := &profile{Findings: &r.Findings}
	if !r.want(v, object, "a profile") {
		return p
	}
	r.known(v, "the profile", "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap",
		"syscalls", "flags", "listenerPath", "listenerMetadata")
	d := v.get("defaultAction")
	if d == nil {
		r.Fail(v.pos, "a profile without it switches seccomp off", "expected a defaultAction, found none")
		return p
	}
	p.defaultOCI = d.text
	p.defaultData = r.errnoOf(v, "defaultErrnoRet", "defaultErrno")
	p.deflt = r.action(d, p.defaultData)
	if p.deflt.Kind == policy.Notify {
		r.Fail(d.pos, "name the calls to notify of in rules", "SCMP_ACT_NOTIFY cannot be the defaultAction: runc refuses it")
	}
	r.architectures(v, p)
	r.flags(v)
	r.listener(v)
	if calls := v.get("syscalls"); r.want(calls, array, "syscalls") {
		for i := range calls.items {
			r.entry(&calls.items[i], p)
		}
	}
	return p
}

// actions are the names of actions; Docker's errors of old have SCMP_ACT_KILL for a thread.
var actions = map[string]policy.ActionKind{
	"SCMP_ACT_KILL": policy.KillThread, "SCMP_ACT_KILL_THREAD": policy.KillThread,
	"SCMP_ACT_KILL_PROCESS": policy.Kill, "SCMP_ACT_TRAP": policy.Trap, "SCMP_ACT_ERRNO": policy.Errno,
	"SCMP_ACT_TRACE": policy.Errno, "SCMP_ACT_LOG": policy.Log, "SCMP_ACT_NOTIFY": policy.Notify,
	"SCMP_ACT_ALLOW": policy.Allow,
}

// action is the action with that name and errno; -1 is none. What is not known is refused:
// taken for anything, it could permit what it was to deny.
func (r *reader) action(v *value, errno int64) policy.Action {
	if !r.want(v, text, "an action") {
		return policy.Action{}
	}
	k, ok := actions[v.text]
	if !ok {
		r.Fail(v.pos, "", "expected an action such as SCMP_ACT_ERRNO, found %s", policy.Shown(v.text))
	}
	a := policy.Action{Pos: v.pos, Kind: k}
	switch {
	case v.text == "SCMP_ACT_TRACE":
		a.Data = static.ENOSYS
		r.LoseAs(static.Stricter, v.pos, "SCMP_ACT_TRACE", "calls fail with ENOSYS, as they do without a tracer")
	case k != policy.Errno:
	case errno < 0:
		a.Data = static.EPERM
	default:
		a = r.Failing(v.pos, "SCMP_ACT_ERRNO with error 0", uint16(errno))
	}
	return a
}

// errnoOf is the error that v gives for its action by number, or Podman's by name, which
// counts where both are given; -1 for none.
func (r *reader) errnoOf(v *value, numbered, named string) int64 {
	e := int64(-1)
	if n := v.get(numbered); r.want(n, number, numbered) {
		e = int64(r.number(n, numbered, static.MaxErrno))
	}
	if n := v.get(named); r.want(n, text, named) && n.text != "" {
		e = int64(r.Errno(n.pos, n.text))
	}
	return e
}

// number is v as a number without a sign, at most most.
func (r *reader) number(v *value, what string, most uint64) uint64 {
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil || n > most {
		r.Fail(v.pos, "", "%s: expected a number from 0 to %d, found %.40s", what, most, v.text)
	}
	return n
}

// arches are the architectures that runc knows, and whether their calls can be made on a
// machine of x86-64.
var arches = map[string]string{
	"SCMP_ARCH_X86_64": "", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32", "SCMP_ARCH_ARM": "", "SCMP_ARCH_AARCH64": "",
	"SCMP_ARCH_MIPS": "", "SCMP_ARCH_MIPS64": "", "SCMP_ARCH_MIPS64N32": "", "SCMP_ARCH_MIPSEL": "",
	"SCMP_ARCH_MIPSEL64": "", "SCMP_ARCH_MIPSEL64N32": "", "SCMP_ARCH_PPC": "", "SCMP_ARCH_PPC64": "",
	"SCMP_ARCH_PPC64LE": "", "SCMP_ARCH_RISCV64": "", "SCMP_ARCH_S390": "", "SCMP_ARCH_S390X": "",
	"SCMP_ARCH_LOONGARCH64": "", "SCMP_ARCH_PARISC": "", "SCMP_ARCH_PARISC64": "", "SCMP_ARCH_M68K": "",
	"SCMP_ARCH_SH": "", "SCMP_ARCH_SHEB": "",
}

func (r *reader) architectures(v *value, p *profile) {
	list, table := v.get("architectures"), v.get("archMap")
	if r.want(list, array, "architectures") && r.want(table, array, "archMap") && len(list.items) > 0 && len(table.items) > 0 {
		r.Fail(table.pos, "keep one of them", "both architectures and archMap are given")
	}
	if list != nil {
		r.arches(list.items, p)
	}
	if !r.want(table, array, "archMap") {
		return
	}
	for i := range table.items {
		e := &table.items[i]
		if !r.want(e, object, "an entry of archMap") {
			return
		}
		r.known(e, "an entry of archMap", "architecture", "subArchitectures")
		if a := e.get("architecture"); r.want(a, text, "architecture") && a.text == native {
			r.arches([]value{*a}, p)
			if sub := e.get("subArchitectures"); r.want(sub, array, "subArchitectures") {
				r.arches(sub.items, p)
			}
		}
	}
}

// native is the architecture that policies are about.
const native = "SCMP_ARCH_X86_64"

func (r *reader) arches(list []value, p *profile) {
	for i := range list {
		a := &list[i]
		if !r.want(a, text, "an architecture") {
			return
		}
		other, ok := arches[a.text]
		switch {
		case !ok:
			r.Fail(a.pos, "", "expected an architecture such as %s, found %s", native, policy.Shown(a.text))
		case a.text == native:
			p.listed = true
		case other != "":
			r.LoseTable(a.pos, "the rules for calls of "+other)
		}
	}
}

func (r *reader) flags(v *value) {
	list := v.get("flags")
	if !r.want(list, array, "flags") {
		return
	}
	for i := range list.items {
		f := &list.items[i]
		if !r.want(f, text, "a flag") {
			return
		}
		switch f.text {
		case "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "":
		case "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
			r.LoseAs(static.Stricter, f.pos, f.text, "it is a matter of installing a filter, not of its rules")
		default:
			r.Fail(f.pos, "", "expected a flag such as SECCOMP_FILTER_FLAG_LOG, found %s", policy.Shown(f.text))
		}
	}
}

func (r *reader) listener(v *value) {
	for _, name := range []string{"listenerPath", "listenerMetadata"} {
		if l := v.get(name); r.want(l, text, name) && l.text != "" {
			r.LoseAs(static.Stricter, l.pos, name, "a policy has no agent of others: calls that are notified of fail with ENOSYS")
		}
	}
}

// entry is one of the profile's syscalls.
func (r *reader) entry(v *value, p *profile) {
	if !r.want(v, object, "an entry of syscalls") {
		return
	}
	r.known(v, "an entry of syscalls", "names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
	names := r.names(v)
	act := v.get("action")
	if act == nil {
		r.Fail(v.pos, "", "an entry of syscalls has no action")
		return
	}
	a := r.action(act, r.errnoOf(v, "errnoRet", "errno"))
	cubes := r.cubes(v.get("args"))
	if !r.applies(v, a) || r.Err() != nil {
		return
	}
	comment := ""
	if c := v.get("comment"); r.want(c, text, "comment") {
		comment = c.text
	}
	if len(p.rules)+len(names)*len(cubes) > maxRules {
		r.Fail(v.pos, "", "the profile has more than %d rules", maxRules)
		return
	}
	for i := range names {
		if nr, ok := r.call(&names[i], a, p.deflt); ok {
			if nr > p.largest {
				p.largest = nr
			}
			if names[i].text == "io_uring_setup" && a.Permits() {
				r.LoseAs(static.Stricter, names[i].pos, "the permission of io_uring_setup", "a guard fails it with ENOSYS, unless io_uring is lifted")
			}
			if static.Same(a, p.deflt) && p.defaultOCI != "SCMP_ACT_TRACE" {
				continue // runc adds no rule that does what is done anyway
			}
			for _, c := range cubes {
				p.rules = append(p.rules, rule{names[i].pos, comment, nr, c, a})
			}
		}
	}
}

// call is the number of a call that the policy can be about. Others runc ignores, too; should
// it know a newer one, that has the default's answer here.
func (r *reader) call(name *value, a, deflt policy.Action) (uint32, bool) {
	nr, ok := syscalls.Number(name.text)
	switch {
	case !ok && r.Strange(name.text):
		harmless := static.Stricter.When(a.Permits() || !deflt.Permits())
		r.LoseAs(harmless, name.pos, "the rule for "+policy.Shown(name.text), "no call has that name; runc ignores it, too")
	case ok && name.text == "write" && a.Kind == policy.Notify:
		r.Fail(name.pos, "choose another action", "SCMP_ACT_NOTIFY cannot be the action for write: runc refuses it")
	}
	return nr, ok
}

func (r *reader) names(v *value) []value {
	list, one := v.get("names"), v.get("name")
	var names []value
	if r.want(list, array, "names") {
		names = list.items
	}
	if r.want(one, text, "name") && one.text != "" {
		if len(names) > 0 {
			r.Fail(one.pos, "keep one of them", "both name and names are given")
		}
		names = []value{*one}
	}
	if r.Err() == nil && len(names) == 0 {
		r.Fail(v.pos, "", "an entry of syscalls names no call")
	}
	for i := range names {
		if r.want(&names[i], text, "the name of a call") && names[i].text == "" {
			r.Fail(names[i].pos, "", "expected the name of a call, found an empty one")
		}
	}
	return names
}

// cubes are the conditions of an entry, of which one has to hold. All conditions have to,
// unless two are about one argument: then runc makes a rule of each.
func (r *reader) cubes(v *value) []static.Cube {
	if v == nil || !r.want(v, array, "args") || len(v.items) == 0 {
		return []static.Cube{nil}
	}
	if len(v.items) > maxArgs {
		r.Fail(v.pos, "make entries of it", "args has %d conditions: expected at most %d", len(v.items), maxArgs)
		return nil
	}
	var all static.Cube
	seen, twice := map[int]bool{}, false
	for i := range v.items {
		a := r.atom(&v.items[i])
		twice = twice || seen[a.Arg]
		seen[a.Arg] = true
		all = append(all, a)
	}
	if !twice {
		return []static.Cube{all.Simplify()}
	}
	r.LoseAs(static.Stricter, v.pos, "args with two conditions on one argument", "one of the conditions has to hold, as in runc, not all")
	var cubes []static.Cube
	for _, a := range all {
		cubes = append(cubes, static.Cube{a}.Simplify())
	}
	return cubes
}

var operators = map[string]static.Op{
	"SCMP_CMP_EQ": static.Equal, "SCMP_CMP_NE": static.NotEqual, "SCMP_CMP_LT": static.Less, "SCMP_CMP_LE": static.LessEqual,
	"SCMP_CMP_GT": static.Greater, "SCMP_CMP_GE": static.GreaterEqual, "SCMP_CMP_MASKED_EQ": static.Masked,
}

func (r *reader) atom(v *value) static.Atom {
	var a static.Atom
	if !r.want(v, object, "an entry of args") {
		return a
	}
	r.known(v, "an entry of args", "index", "value", "valueTwo", "op")
	number := func(name string, most uint64) uint64 {
		n := v.get(name)
		if !r.want(n, number, name) {
			return 0
		}
		return r.number(n, name, most)
	}
	a.Arg = int(number("index", 5))
	first, second := number("value", 1<<64-1), number("valueTwo", 1<<64-1)
	op := v.get("op")
	if op == nil {
		r.Fail(v.pos, "", "an entry of args has no op")
	}
	if r.want(op, text, "op") {
		var ok bool
		if a.Op, ok = operators[op.text]; !ok {
			r.Fail(op.pos, "", "expected an op such as SCMP_CMP_EQ, found %s", policy.Shown(op.text))
		}
	}
	if a.Value = first; a.Op == static.Masked {
		a.Mask, a.Value = first, second&first
	}
	return a
}

// applies tells whether an entry with that action is for this container, as Docker decides it.
// To leave out what permits is stricter, and so is to take what denies.
func (r *reader) applies(v *value, a policy.Action) bool {
	excluded, included := false, true
	if e := v.get("excludes"); r.want(e, object, "excludes") {
		arch, caps, kernel := r.filter(e, "excludes", static.Stricter.When(!a.Permits()))
		excluded = arch == some || arch == every || caps == some || caps == every || kernel == every
	}
	if i := v.get("includes"); r.want(i, object, "includes") {
		arch, caps, kernel := r.filter(i, "includes", static.Stricter.When(a.Permits()))
		included = (arch == unasked || arch == some || arch == every) && (caps == unasked || caps == every) && kernel != none
		if !included && caps != unasked && caps != every && r.Err() == nil {
			r.LoseAs(static.Stricter.When(a.Permits()), i.pos, "an entry of syscalls for containers with "+list(i.get("caps")), "the policy is for a process without")
		}
	}
	return included && !excluded
}

// list is texts with commas between them.
func list(v *value) string {
	var all []string
	for i := range v.items {
		all = append(all, v.items[i].text)
	}
	return policy.Shown(strings.Join(all, ", "))
}

// answer is how much of a list holds.
type answer uint8

const (
	unasked answer = iota
	none
	some
	every
)

// filter answers the questions of an entry. Older is what it does to take the kernel for older
// than it is.
func (r *reader) filter(v *value, what string, older static.Effect) (arch, caps, kernel answer) {
	r.known(v, what, "caps", "arches", "minKernel")
	arch = r.count(v.get("arches"), "arches", func(s string) bool { return s == "amd64" })
	caps = r.count(v.get("caps"), "caps", func(s string) bool {
		for _, c := range r.options.Capabilities {
			if c == s {
				return true
			}
		}
		return false
	})
	if k := v.get("minKernel"); r.want(k, text, "minKernel") && k.text != "" {
		kernel = none
		if r.kernel(k, older) {
			kernel = every
		}
	}
	return arch, caps, kernel
}

func (r *reader) count(list *value, what string, has func(string) bool) answer {
	if !r.want(list, array, what) || len(list.items) == 0 {
		return unasked
	}
	n := 0
	for i := range list.items {
		if s := &list.items[i]; r.want(s, text, what) && has(s.text) {
			n++
		}
	}
	switch n {
	case 0:
		return none
	case len(list.items):
		return every
	}
	return some
}

// The oldest kernel that an engine runs on, and with that the oldest that matters.
const oldestMajor, oldestMinor = 5, 19

// kernel tells whether the kernel is at least that: those that are older do not matter,
// and of those that are newer nothing is known here.
func (r *reader) kernel(v *value, older static.Effect) bool {
	var major, minor int
	if n, err := fmt.Sscanf(v.text, "%d.%d", &major, &minor); err != nil || n != 2 || major < 0 || minor < 0 ||
		v.text != fmt.Sprintf("%d.%d", major, minor) {
		r.Fail(v.pos, "", "minKernel: expected a version such as 4.8, found %s", policy.Shown(v.text))
		return false
	}
	if major > oldestMajor || major == oldestMajor && minor > oldestMinor {
		r.LoseAs(older, v.pos, "minKernel "+v.text, "the kernel is taken for older")
		return false
	}
	return true
}
