package why

import (
	"fmt"
	"path"
	"sort"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
	"portcullis/internal/prefilter"
	"portcullis/internal/record"
)

// explain is what an event says, or a record, before it is counted.
func (r *Report) explain(e *event.Event, withArguments bool) *Denial {
	d := &Denial{Call: symbolic(&e.Call), Permitted: e.Permitted, Cause: causeOf(e, withArguments), By: []string{}}
	if withArguments {
		return d
	}
	d.Call, d.Reason = e.Call.Title(), "a filter that the kernel's log does not name" // nor the error
	if answered(e.Verdict.Action()) {
		d.Reason = "a supervisor whose answer the kernel's log does not hold"
	}
	d.Verdict, _, _ = strings.Cut(d.Verdict, "(")
	switch {
	case e.Call.Nr == -1 && e.Verdict.Action() == abi.Trace: // which a tracer puts in the place of a call that is not to be made
		d.Cause = Cause{Verdict: d.Verdict, Reason: "a tracer, in the place of another call", Where: askEvents}
	case r.Suspects != nil:
		r.Suspects.accuse(d, e)
	}
	return d
}

// askEvents is what to do where a record is not of the call that was denied.
const askEvents = "run with --events FILE, and give that: the record does not hold the call"

// causeOf is what an event says of what denied its call.
func causeOf(e *event.Event, withArguments bool) Cause {
	denied := *e
	denied.Permitted = false // which is said beside
	d := Cause{Verdict: event.Verdict(e.Verdict)}
	d.Reason = strings.TrimPrefix(denied.Explain(), d.Verdict+" from ")
	name, ok := syscalls.Name(uint32(e.Call.Nr))
	switch {
	case e.Leaf == event.LeafGuard:
		d.guard(e.Program)
	case !ok || e.Call.Arch != abi.ArchX86_64:
		d.Where = "no rule names it: it is no x86-64 call with a name"
	default:
		d.change(e, name, withArguments)
	}
	return d
}

func (d *Cause) guard(name string) {
	d.Where = "no option leaves the guard out"
	for _, g := range prefilter.Guards() {
		switch {
		case string(g.Name) != name:
		case g.Liftable:
			d.Where = fmt.Sprintf("run --lift %s leaves the guard out", name)
			d.Warnings = []string{"the guard closes a way around the filters, for all that the command starts"}
		default:
			d.Where += ": " + g.Why
		}
	}
}

// origins of a denial, told by the line of the policy that it names.
type origin int

const (
	fromElsewhere origin = iota
	fromDefault
	fromRule
	fromPhase
	fromProgram
	fromWaiting
	fromFlow
	fromOrder
	fromCount // a limit
	fromFailure
)

// compiled tells files of programs by their names: those of languages that become eBPF.
func compiled(file string) bool {
	switch path.Ext(file) {
	case ".c", ".h", ".cc", ".cpp", ".hpp", ".rs", ".zig", ".go", ".s", ".S":
		return true
	}
	return false
}

// fileOf is the file that an event names.
func fileOf(e *event.Event) string {
	if i := strings.LastIndexByte(e.Line, ':'); i >= 0 {
		return e.Line[:i]
	}
	return e.Line
}

// originOf tells by the line, not by the name of its file, which a policy need not have: where the
// line does not say it, the policy's compiler puts the name of the list in front. A quote in front
// of a line is of a profile in JSON.
func originOf(e *event.Event) origin {
	file, text := fileOf(e), strings.TrimLeft(e.Source, " -{\"'")
	named := strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml")
	if e.Line == "" || compiled(file) || !named && strings.HasPrefix(strings.TrimSpace(e.Source), "\"") {
		return fromElsewhere
	}
	if o := told(text); o != fromElsewhere || !named {
		return o
	}
	return fromCount
}

// told is the origin that the text of a line tells, fromElsewhere if it does not.
func told(text string) origin {
	word, _, _ := strings.Cut(text, ":")
	for _, f := range policy.Failures() {
		if word == string(f) {
			return fromFailure
		}
	}
	switch strings.Trim(word, "\"' ") {
	case "version", "policy", "default", "unknown":
		return fromDefault
	case "rules", "allow", "log", "deny", "trap", "kill", "kill_thread", "notify", "error", "data", "if":
		return fromRule
	case "name", "phases":
		return fromPhase
	case "path", "programs":
		return fromProgram
	case "first", "second", "serialize":
		return fromWaiting
	case "edges", "flow":
		return fromFlow
	case "once", "order":
		return fromOrder
	case "calls":
		if strings.Contains(text, "before:") || strings.Contains(text, "after:") {
			return fromOrder
		}
		return fromCount
	case "limits":
		return fromCount
	}
	return fromElsewhere
}

// change says what would let the calls be made.
func (d *Cause) change(e *event.Event, name string, withArguments bool) {
	at := e.Line
	rule := func(where string) {
		c := condition(e, withArguments)
		d.Change, d.Where, d.Warnings = allowing(name, c), where, warnings(name, c, withArguments)
	}
	switch originOf(e) {
	case fromDefault:
		rule("behind the other rules of the policy")
	case fromRule:
		rule("in front of the rule at " + at)
	case fromPhase:
		d.Where = fmt.Sprintf("take %s out of the deny list of the phase at %s, or put it into its allow list", name, at)
	case fromProgram:
		d.Where = fmt.Sprintf("take %s out of the deny list of the program at %s, or put it into its allow list", name, at)
	case fromWaiting:
		d.Where = fmt.Sprintf("run with a longer --wait-limit, or take %s out of the entry at %s", name, at)
	case fromFlow:
		d.Change = fmt.Sprintf("- {from: start, to: %s}\n", name)
		d.Where = "among the edges of the flow at " + at + ", with the call before it in place of start if there was one"
		d.Warnings = []string{"the edge is for every thread under the policy"}
	case fromOrder:
		d.Where = fmt.Sprintf("take %s out of the order at %s: no rule gives back what it takes", name, at)
	case fromFailure:
		failure, _, _ := strings.Cut(e.Source, ":")
		d.Where = fmt.Sprintf("no rule denies it: it fails for %s, asked about at %s", failure, at)
	case fromCount:
		d.Where = fmt.Sprintf("raise the max of the entry at %s, or take %s out of its calls: no rule gives back what it takes", at, name)
	default:
		d.elsewhere(e, rule)
	}
}

func (d *Cause) elsewhere(e *event.Event, rule func(string)) {
	if e.Program == "" {
		rule("in the policy that these processes run under")
		return
	}
	if file := fileOf(e); file != "" && !compiled(file) { // of a profile, or of a unit
		d.Where = fmt.Sprintf("change what %s says: what one policy of a stack denies, no other allows", e.Line)
		return
	}
	d.Where = fmt.Sprintf("change the filter %s or its variables: what one filter of a stack denies, no policy allows", e.Program)
}

func condition(e *event.Event, withArguments bool) *policy.Condition {
	if !withArguments {
		return nil
	}
	return record.Condition(uint32(e.Call.Nr), e.Call.Args)
}

// allowing is a rule as it stands in a policy.
func allowing(name string, c *policy.Condition) string {
	text := policy.Write(&policy.Model{Rules: []policy.Rule{{
		Action: policy.Action{Kind: policy.Allow}, Calls: []policy.Name{{Text: name}}, If: c,
	}}})
	_, rule, _ := strings.Cut(string(text), "rules:\n")
	return rule
}

// dangers say what a call can do.
func dangers(name string) []string {
	for _, s := range [...]struct{ group, what string }{
		{"@debug", "looks into, and changes, other processes"},
		{"@module", "loads code into the kernel"},
		{"@mount", "changes what paths lead to"},
		{"@raw-io", "reaches hardware"},
		{"@reboot", "replaces or stops the system"},
		{"@swap", "changes the system's memory"},
		{"@privileged", "is for administrators"},
		{"@keyring", "reaches keys of the user"},
		{"@obsolete", "is obsolete"},
	} {
		if member(s.group, name) {
			return []string{fmt.Sprintf("%s %s (%s)", name, s.what, s.group)}
		}
	}
	return nil
}

// warnings say where a rule lets more be made than was denied.
func warnings(name string, c *policy.Condition, withArguments bool) []string {
	all := dangers(name)
	if text := broad()[name]; text != "" {
		all = append(all, text)
	}
	if c == nil && !withArguments && record.Condition(number(name), [6]uint64{}) != nil {
		all = append(all, "the record does not hold the arguments: the rule takes all of them")
	}
	return all
}

func number(name string) uint32 {
	nr, _ := syscalls.Number(name)
	return nr
}

func member(of, name string) bool {
	calls, _ := group.Lookup(of)
	at := sort.SearchStrings(calls, name)
	return at < len(calls) && calls[at] == name
}

// broad says of calls what rules without a condition on memory take.
func broad() map[string]string {
	const file, link = "it takes any file: a condition on path says which", "files can get any name by it: conditions on paths no longer hold"
	const program, address = "it starts any program: conditions on path and argv say which", "it takes any address: a condition on address says which"
	all := map[string]string{
		"process_vm_readv": "it reads other processes' memory", "process_vm_writev": "it writes other processes' memory",
		"bpf": "it loads programs into the kernel", "userfaultfd": "it halts the kernel in the middle of a call",
		"unshare": "new namespaces open much of the kernel", "setns": "it enters other namespaces",
		"clone3": "its flags are in memory: new namespaces too", "io_uring_setup": "calls made through io_uring are not asked about",
		"memfd_create": "what it makes can be executed without a path",
	}
	for _, names := range [...]struct{ calls, text string }{
		{"open openat openat2 creat truncate unlink unlinkat mkdir mkdirat chmod fchmodat chown fchownat", file},
		{"rename renameat renameat2 link linkat symlink symlinkat", link},
		{"mknod mknodat", "it makes device nodes, too: a condition on path takes files alone"},
		{"execve execveat", program},
		{"connect sendto sendmsg bind", address},
	} {
		for _, name := range strings.Fields(names.calls) {
			all[name] = names.text
		}
	}
	return all
}
