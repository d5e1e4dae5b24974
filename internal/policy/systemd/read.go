// Package systemd reads and writes the directives of units that systemd carries out by
// seccomp: SystemCallFilter= and those beside it, as systemd 252 does.
//
// docs/CONVERT.md says what becomes of each, and what is lost on the way.
package systemd

import (
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
	"portcullis/internal/policy/oci/static"
)

// Loss is one thing that is not in what Read or Write makes.
type Loss = static.Loss

const eafnosupport = 97

// Recognise tells whether data look like lines of a unit.
func Recognise(data []byte) bool {
	all, err := lines("", data)
	if err != nil {
		return false
	}
	for _, l := range all {
		if directive(l.key) != "" {
			return true
		}
	}
	return false
}

// Read is the policy of the directives in a unit file, a drop-in, or lines of one, and
// what the policy does not say. Errors are of type *policy.Error.
func Read(file string, data []byte) (*policy.Model, []Loss, error) {
	all, err := lines(file, data)
	if err != nil {
		return nil, nil, err
	}
	u := &unit{switches: map[string]*line{}, groups: map[string][]string{}, spaces: -1}
	for i := range all {
		u.assign(&all[i])
	}
	if !u.any {
		u.Fail(policy.Pos{File: file}, "", "expected directives such as SystemCallFilter=, found none")
	}
	if u.Err() != nil {
		return nil, nil, u.Err()
	}
	u.others()
	return u.Result(u.model(), file, data)
}

// set is calls, by number, with what is to happen to each.
type set struct {
	calls map[uint32]entry
	// allow tells that others are denied.
	allow bool
}

// entry is what a list says of a call: an error, or noErrno.
type entry struct {
	pos   policy.Pos
	errno int
}

// Values of entry.errno that are no errors.
const (
	noErrno   = -1
	killErrno = -2
)

// unit is what directives have said so far.
type unit struct {
	static.Findings
	filter, log *set
	errno       policy.Action // what SystemCallErrorNumber= says; zero is to kill
	families    map[uint64]bool
	allowed     bool // whether families are allowed or denied
	familiesAt  policy.Pos
	spaces      int64 // flags of namespaces that may be made; -1 without the directive
	spacesAt    policy.Pos
	switches    map[string]*line
	foreign     []string // directives that are about other things
	foreignAt   policy.Pos
	any         bool
	count       int // of words
	groups      map[string][]string
}

// directives are those that systemd carries out by seccomp.
var directives = map[string]func(*unit, *line){
	"SystemCallFilter":        (*unit).systemCallFilter,
	"SystemCallErrorNumber":   (*unit).errorNumber,
	"SystemCallLog":           (*unit).systemCallLog,
	"SystemCallArchitectures": (*unit).architectures,
	"RestrictAddressFamilies": (*unit).addressFamilies,
	"RestrictNamespaces":      (*unit).namespaces,
	"MemoryDenyWriteExecute":  (*unit).toggle,
	"LockPersonality":         (*unit).toggle,
	"RestrictRealtime":        (*unit).toggle,
	"RestrictSUIDSGID":        (*unit).toggle,
	"ProtectClock":            (*unit).toggle,
	"ProtectHostname":         (*unit).toggle,
	"ProtectKernelLogs":       (*unit).toggle,
	"ProtectKernelModules":    (*unit).toggle,
	"ProtectKernelTunables":   (*unit).toggle,
	"PrivateDevices":          (*unit).toggle,
}

// directive is the name of the directive that a key is meant for, "" for none.
func directive(key string) string {
	for name := range directives {
		if strings.EqualFold(name, key) {
			return name
		}
	}
	return ""
}

// assign carries out one line.
func (u *unit) assign(l *line) {
	switch l.section {
	case "", "Service", "Socket", "Mount", "Swap":
	default:
		if directives[l.key] != nil {
			u.Lose(l.pos, l.key+"= in ["+l.section+"]", "systemd looks for it in [Service], [Socket], [Mount] and [Swap]")
		}
		return
	}
	if d := directives[l.key]; d != nil {
		u.any = true
		d(u, l)
		return
	}
	if name := directive(l.key); name != "" {
		u.Fail(l.pos, "write "+name+"=", "%s= means nothing to systemd", l.key)
	}
	if u.foreignAt.Line == 0 {
		u.foreignAt = l.pos
	}
	u.foreign = append(u.foreign, l.key)
}

// others notes, in one line, what is no matter of system calls.
func (u *unit) others() {
	if len(u.foreign) == 0 {
		return
	}
	seen := map[string]bool{}
	var names []string
	for _, n := range u.foreign {
		if !seen[n] {
			seen[n] = true
			names = append(names, n+"=")
		}
	}
	text := strings.Join(names, ", ")
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	u.Lose(u.foreignAt, text, "not a matter of system calls")
}

func (u *unit) systemCallFilter(l *line) {
	if l.value == "" {
		u.filter = nil
		return
	}
	words, inverted := u.words(l)
	if u.filter == nil {
		u.filter = &set{calls: map[uint32]entry{}, allow: !inverted}
		if !inverted {
			u.put(u.filter, word{l.pos, "@default"}, noErrno, false)
		}
	}
	for _, w := range words {
		name, errno := u.nameAndErrno(w)
		if errno != noErrno && !inverted {
			u.Fail(w.pos, "write ~ in front of the list", "a call that is let through cannot fail with an error")
		}
		u.put(u.filter, word{w.pos, name}, errno, inverted)
	}
}

// words are those of a line, as many as a file may have.
func (u *unit) words(l *line) (words []word, inverted bool) {
	words, inverted = l.words()
	if u.count += len(words); u.count > maxWords {
		u.Fail(l.pos, "", "the file has more than %d words", maxWords)
		return nil, inverted
	}
	return words, inverted
}

// lookup is the calls of a group, which are looked for once.
func (u *unit) lookup(name string) ([]string, bool) {
	if calls, ok := u.groups[name]; ok {
		return calls, true
	}
	calls, ok := group.Lookup(name)
	if ok {
		u.groups[name] = calls
	}
	return calls, ok
}

// nameAndErrno takes "name:EPERM" apart.
func (u *unit) nameAndErrno(w word) (string, int) {
	name, e, ok := strings.Cut(w.text, ":")
	if !ok {
		return name, noErrno
	}
	w.pos.Col += len(name) + 1
	if e == "kill" {
		return name, killErrno
	}
	return name, int(u.failing(w.pos, e).Data)
}

// failing is the action of calls that fail with an error, by name or number.
func (u *unit) failing(at policy.Pos, errno string) policy.Action {
	return u.Failing(at, "the error 0", u.Errno(at, errno))
}

// put adds calls to a list, or takes them from it if the list is of the other kind. A
// call that is to fail with an error of its own is noted on lists of what is let through.
func (u *unit) put(s *set, w word, errno int, inverted bool) {
	for _, nr := range u.calls(w, inverted) {
		if inverted != s.allow || s.allow && errno != noErrno {
			s.calls[nr] = entry{w.pos, errno}
		} else {
			delete(s.calls, nr)
		}
	}
}

// calls are the numbers of a call or group. What does not exist is passed over, as systemd
// does, unless that is a group that is to be denied: its calls would be let through.
func (u *unit) calls(w word, inverted bool) []uint32 {
	names, isGroup := u.lookup(w.text)
	if !isGroup {
		names = []string{w.text}
	}
	if strings.HasPrefix(w.text, "@docker") || strings.HasPrefix(w.text, "@") && !isGroup {
		if inverted {
			u.Fail(w.pos, "name its calls", "systemd 252 has no group %s", policy.Shown(w.text))
		}
		u.Lose(w.pos, policy.Shown(w.text), "systemd 252 has no such group; it is passed over")
		return nil
	}
	var numbers []uint32
	for _, n := range names {
		if nr, ok := syscalls.Number(n); ok {
			numbers = append(numbers, nr)
		} else if !isGroup && u.Strange(n) {
			u.Lose(w.pos, policy.Shown(n), "no call has that name; systemd passes over it, too")
		}
	}
	return numbers
}

func (u *unit) errorNumber(l *line) {
	u.errno = policy.Action{}
	if l.value != "" && l.value != "kill" {
		u.errno = u.failing(l.at, l.value)
	}
}

func (u *unit) systemCallLog(l *line) {
	if l.value == "" {
		u.log = nil
		return
	}
	words, inverted := u.words(l)
	if u.log == nil {
		u.log = &set{calls: map[uint32]entry{}, allow: !inverted}
	}
	for _, w := range words {
		u.put(u.log, w, noErrno, inverted)
	}
}

// architectures only notes those of this machine that are let in: a guard keeps them out.
func (u *unit) architectures(l *line) {
	words, _ := u.words(l)
	for _, w := range words {
		switch w.text {
		case "x86", "x32":
			u.LoseTable(w.pos, "calls of "+w.text)
		case "native", "x86-64", "arm", "arm64", "mips", "mips64", "mips64-n32", "mips-le", "mips64-le", "mips64-le-n32",
			"parisc", "parisc64", "ppc", "ppc64", "ppc64-le", "riscv64", "s390", "s390x":
		default:
			u.Fail(w.pos, "", "expected an architecture such as native, found %s", policy.Shown(w.text))
		}
	}
}

func (u *unit) addressFamilies(l *line) {
	u.familiesAt = l.pos
	switch l.value {
	case "":
		u.families, u.allowed = nil, false
		return
	case "none":
		// As in systemd, a list behind it begins anew.
		u.families, u.allowed = nil, true
		return
	}
	words, inverted := u.words(l)
	if u.families == nil {
		u.families, u.allowed = map[uint64]bool{}, !inverted
	}
	for _, w := range words {
		af, ok := family(w.text)
		if !ok {
			u.Fail(w.pos, "", "expected an address family such as AF_INET, found %s", policy.Shown(w.text))
			return
		}
		if inverted != u.allowed {
			u.families[af] = true
		} else {
			delete(u.families, af)
		}
	}
}

// space is a kind of namespace.
type space struct {
	name, constant string
	flag           int64
}

// spaces are the kinds of namespaces, from include/uapi/linux/sched.h.
func spaces() []space {
	return []space{
		{"cgroup", "CLONE_NEWCGROUP", 0x02000000},
		{"ipc", "CLONE_NEWIPC", 0x08000000},
		{"net", "CLONE_NEWNET", 0x40000000},
		{"mnt", "CLONE_NEWNS", 0x00020000},
		{"pid", "CLONE_NEWPID", 0x20000000},
		{"user", "CLONE_NEWUSER", 0x10000000},
		{"uts", "CLONE_NEWUTS", 0x04000000},
		{"time", "CLONE_NEWTIME", 0x00000080},
	}
}

func allSpaces() int64 {
	all := int64(0)
	for _, s := range spaces() {
		all |= s.flag
	}
	return all
}

func (u *unit) namespaces(l *line) {
	u.spacesAt = l.pos
	on, isBool := boolean(l.value)
	switch {
	case l.value == "":
		u.spaces = -1
		return
	case isBool && on:
		u.spaces = 0
		return
	case isBool:
		u.spaces = allSpaces()
		return
	}
	words, inverted := u.words(l)
	flags := int64(0)
	for _, w := range words {
		flags |= u.space(w)
	}
	switch {
	case u.spaces == -1 && inverted:
		u.spaces = allSpaces() &^ flags
	case u.spaces == -1:
		u.spaces = flags
	case inverted:
		u.spaces &^= flags
	default:
		u.spaces |= flags
	}
}

func (u *unit) space(w word) int64 {
	for _, s := range spaces() {
		if s.name == w.text {
			return s.flag
		}
	}
	u.Fail(w.pos, "", "expected a namespace such as user, found %s", policy.Shown(w.text))
	return 0
}

// toggle is a directive that is on or off.
func (u *unit) toggle(l *line) {
	on, ok := boolean(l.value)
	if !ok && l.value != "" {
		u.Fail(l.at, "", "%s=: expected yes or no, found %s", l.key, policy.Shown(l.value))
	}
	u.switches[l.key] = l
	if !on {
		delete(u.switches, l.key)
	}
}

// boolean is what systemd takes for yes and no.
func boolean(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}
