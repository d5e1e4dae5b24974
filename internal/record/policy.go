package record

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/group"
)

// Mode is what a policy says of what was seen.
type Mode string

// The modes: each says what Allowlist says, and All what any does.
const (
	Allowlist Mode = "allowlist"
	Phases    Mode = "phases"
	Flow      Mode = "flow"
	Paths     Mode = "paths"
	All       Mode = "all"
)

// Names tells whether a mode needs records of what arguments point to: see package probe.
func (m Mode) Names() bool { return m == Paths || m == All }

// Modes are those that there are.
func Modes() []Mode { return []Mode{Allowlist, Phases, Flow, Paths, All} }

// Options are how a policy is made.
type Options struct {
	Mode Mode
	// Name is the policy's; "" takes the file's.
	Name string
	// Title says what was run, in the first line.
	Title string
	// By says how it was observed, in a line of its own; "" says nothing.
	By string
	// Transitions are the calls that end the initialization, as CheckTransitions takes them; with
	// none, they are found.
	Transitions []string
	// StrictStart has the first phase deny what was not seen in it.
	StrictStart bool
}

// Policy makes a policy of what was seen.
func (r *Recorder) Policy(o Options) (*policy.Model, error) {
	if r.total == 0 {
		return nil, fmt.Errorf("no calls were seen: expected events of all calls, as record --events writes them (run --events writes denials alone)")
	}
	m := &policy.Model{
		Name: o.Name, Comment: r.summary(o),
		Default: policy.Action{Kind: policy.Errno, Data: 1},
	}
	if (o.Mode == Phases || o.Mode == Flow || o.Mode == All) && r.crowded {
		return nil, fmt.Errorf("more than %d threads or forks, or %d kinds of calls of all of them: expected fewer, to tell their order; record shorter runs, or use --mode allowlist", maxThreads, maxSpans)
	}
	var err error
	if o.Mode == Phases || o.Mode == All {
		m.Phases, err = r.phases(o)
	}
	if err == nil && (o.Mode == Flow || o.Mode == All) {
		m.Flows = r.flow()
	}
	if err != nil {
		return nil, err
	}
	if o.Mode.Names() {
		return m, r.withNames(m)
	}
	m.Rules = r.rules(nil)
	return m, nil
}

func (r *Recorder) summary(o Options) string {
	lines := []string{
		fmt.Sprintf("Recorded by portcullis from %s of %s:", many(uint64(len(r.runs)), "run"), o.Title),
		fmt.Sprintf("%s of %s. What was not seen is denied.", many(r.total, "call"), many(uint64(len(r.calls)), "kind")),
	}
	if o.By != "" {
		lines = append(lines, o.By)
	}
	if len(r.runs) == 1 {
		lines = append(lines, "One run tells little of others: record several that differ (--runs, --from).")
	}
	if r.lost > 0 {
		lines = append(lines, fmt.Sprintf("INCOMPLETE: %s lost, so calls may be missing.", wereMany(r.lost, "event")))
	}
	if r.denied > 0 {
		lines = append(lines, fmt.Sprintf("%s denied while recording, and not learnt from.", wereMany(r.denied, "call")))
	}
	if r.foreign > 0 {
		lines = append(lines, fmt.Sprintf("%s of no name on x86-64, and cannot be allowed by name.", wereMany(r.foreign, "call")))
	}
	return strings.Join(lines, "\n")
}

func many(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wereMany(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

// subject is a heading under which calls are put together.
type subject struct{ group, title string }

// programs is a subject that is no group.
const programs = "execve execveat"

// subjects are in order: a call belongs to the first whose group has it.
func subjects() []subject {
	return []subject{
		{programs, "starting programs"},
		{"@debug", "tracing"},
		{"@module", "kernel modules"},
		{"@mount", "mounts"},
		{"@setuid", "identity"},
		{"@chown", "owners of files"},
		{"@file-system", "files"},
		{"@basic-io", "input and output"},
		{"@sync", "writing to disk"},
		{"@io-event", "waiting for descriptors"},
		{"@network-io", "network"},
		{"@ipc", "communication of processes"},
		{"@signal", "signals"},
		{"@timer", "timers"},
		{"@process", "processes"},
		{"@resources", "resources"},
		{"@memlock", "locked memory"},
		{"@keyring", "keys"},
		{"@privileged", "privileged calls"},
		{"@default", "what every program needs"},
		{"", "other calls"},
	}
}

// place is where a call's rule stands.
type place struct {
	subject int
	missing int // in how many runs it was not seen
}

// rules are one for the calls of a subject that were seen in the same number of runs, and
// one for each choice, but for calls that have theirs.
func (r *Recorder) rules(done map[uint32]bool) []policy.Rule {
	plain, chosen := map[place][]uint32{}, map[place][]uint32{}
	for nr, s := range r.calls {
		at := place{subjectOf(nr), len(r.runs) - s.runs}
		if done[nr] {
			continue
		}
		if r.conditional(nr) {
			chosen[at] = append(chosen[at], nr)
		} else {
			plain[at] = append(plain[at], nr)
		}
	}
	var all []policy.Rule
	for _, at := range places(plain, chosen) {
		if nrs := plain[at]; len(nrs) > 0 {
			all = append(all, r.plainRule(at, nrs))
		}
		for _, nr := range sorted(chosen[at]) {
			all = append(all, r.chosenRules(nr)...)
		}
	}
	return append(all, r.always()...)
}

func (r *Recorder) conditional(nr uint32) bool {
	c, s := r.choices[nr], r.calls[nr]
	return c != nil && !s.varied && len(s.tuples) <= c.most
}

func subjectOf(nr uint32) int {
	name, _ := syscalls.Name(nr)
	all := subjects()
	for i, s := range all {
		calls, ok := group.Lookup(s.group)
		if !ok {
			calls = strings.Fields(s.group)
		}
		if at := sort.SearchStrings(calls, name); at < len(calls) && calls[at] == name {
			return i
		}
	}
	return len(all) - 1
}

func places(maps ...map[place][]uint32) []place {
	var all []place
	known := map[place]bool{}
	for _, m := range maps {
		for at := range m {
			if !known[at] {
				known[at] = true
				all = append(all, at)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].missing != all[j].missing {
			return all[i].missing < all[j].missing
		}
		return all[i].subject < all[j].subject
	})
	return all
}

// sorted sorts calls by their names.
func sorted(nrs []uint32) []uint32 {
	sort.Slice(nrs, func(i, j int) bool { return callName(nrs[i]) < callName(nrs[j]) })
	return nrs
}

func callName(nr uint32) string {
	name, _ := syscalls.Name(nr)
	return name
}

func names(nrs []uint32) []policy.Name {
	all := make([]policy.Name, len(nrs))
	for i, nr := range sorted(nrs) {
		all[i] = policy.Name{Text: callName(nr)}
	}
	return all
}

func (r *Recorder) plainRule(at place, nrs []uint32) policy.Rule {
	all := tally{by: map[string]bool{}}
	for _, nr := range nrs {
		all.join(&r.calls[nr].tally)
	}
	return policy.Rule{
		Comment: r.comment(subjects()[at.subject].title, &all),
		Action:  policy.Action{Kind: policy.Allow}, Calls: names(nrs),
	}
}

// join adds what another tally of the same number of runs, or fewer, has.
func (t *tally) join(o *tally) {
	t.count += o.count
	t.runs = max(t.runs, o.runs)
	t.manyNames = t.manyNames || o.manyNames
	for name := range o.by {
		t.by[name] = true
	}
}

// comment says where a rule is from, and how much that is worth.
func (r *Recorder) comment(title string, t *tally) string {
	text := fmt.Sprintf("%s: %s in %d of %s, by %s", title, many(t.count, "call"), t.runs, many(uint64(len(r.runs)), "run"), t.names())
	if 2*t.runs < len(r.runs) {
		text += "\nRARE: look whether this belongs here"
	}
	return text
}

func (t *tally) names() string {
	const most = 4
	var all []string
	for name := range t.by {
		all = append(all, name)
	}
	sort.Strings(all)
	if len(all) > most || t.manyNames {
		all = append(all[:min(most, len(all))], "others")
	}
	return strings.Join(all, ", ")
}

// chosenRules are the rules of one choice: one for the tuples that share all but the last
// value and were seen in the same number of runs.
func (r *Recorder) chosenRules(nr uint32) []policy.Rule {
	type key struct {
		first   uint64
		missing int
	}
	c, s := r.choices[nr], r.calls[nr]
	of := map[key][]tuple{}
	var keys []key
	for t, seen := range s.tuples {
		k := key{missing: len(r.runs) - seen.runs}
		if len(c.args) > 1 {
			k.first = t[0]
		}
		if of[k] == nil {
			keys = append(keys, k)
		}
		of[k] = append(of[k], t)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].missing != keys[j].missing {
			return keys[i].missing < keys[j].missing
		}
		return keys[i].first < keys[j].first
	})
	var all []policy.Rule
	for _, k := range keys {
		all = append(all, r.chosenRule(c, s, of[k]))
	}
	return all
}

func (r *Recorder) chosenRule(c *choice, s *seen, ts []tuple) policy.Rule {
	sort.Slice(ts, func(i, j int) bool {
		return ts[i][0] < ts[j][0] || ts[i][0] == ts[j][0] && ts[i][1] < ts[j][1]
	})
	all := tally{by: map[string]bool{}}
	for _, t := range ts {
		all.join(s.tuples[t])
	}
	return policy.Rule{
		Comment: r.comment(c.call, &all), Action: policy.Action{Kind: policy.Allow},
		Calls: []policy.Name{{Text: c.call}}, If: c.condition(ts),
	}
}

// incidental are calls to which any program can come by timing, signals, load or the amount
// of its data, and that give it nothing.
const incidental = "brk clock_getres clock_gettime clock_nanosleep exit exit_group futex getcpu getpid getrandom gettid gettimeofday " +
	"madvise mremap munmap nanosleep restart_syscall rt_sigprocmask rt_sigreturn rseq sched_yield set_robust_list time"

func incidentals() map[uint32]bool { return callsOf(incidental) }

const namespaces = "CLONE_NEWNS|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET"

// always are the rules for what was not seen and is to be expected.
func (r *Recorder) always() []policy.Rule {
	var missing []uint32
	for nr := range incidentals() {
		if r.calls[nr] == nil {
			missing = append(missing, nr)
		}
	}
	allow := policy.Action{Kind: policy.Allow}
	var all []policy.Rule
	if len(missing) > 0 {
		all = append(all, policy.Rule{
			Comment: "not seen, and added: any program may come to make these, by timing or for lack of memory",
			Action:  allow, Calls: names(missing),
		})
	}
	if r.calls[clone3] != nil {
		all = append(all, policy.Rule{
			Comment: "added: what a library makes in place of clone3 where that is refused, as it is to what the agent traces",
			Action:  allow, Calls: []policy.Name{{Text: "clone"}},
			If: &policy.Condition{Arg: "flags", Compare: policy.NoBit, Values: []policy.Value{{Text: namespaces}}},
		})
	}
	if r.names.runs > 0 && r.calls[clone] != nil && r.calls[clone3] == nil {
		const enosys = 38
		all = append(all, policy.Rule{
			Comment: "added: refused to what the agent traces, as it was while recording, so that libraries make clone",
			Action:  policy.Action{Kind: policy.Errno, Data: enosys}, Calls: []policy.Name{{Text: "clone3"}},
		})
	}
	return append(all, policy.Rule{
		Comment: "added: memory that is not executed",
		Action:  allow, Calls: []policy.Name{{Text: "mmap"}, {Text: "mprotect"}},
		If: &policy.Condition{Arg: "prot", Values: []policy.Value{{Text: "PROT_NONE"}, {Text: "PROT_READ"}, {Text: "PROT_READ|PROT_WRITE"}}},
	})
}
