package systemd

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// Write is the lines of a drop-in for a policy, and what of the policy is not in them.
// Where systemd cannot tell calls apart by what the policy does, they are denied. Errors
// are of type *policy.Error.
func Write(m *policy.Model) ([]byte, []Loss, error) {
	t, err := static.Decide(m)
	if err != nil {
		return nil, nil, err
	}
	w := &writer{table: t, answers: map[string]policy.Action{}}
	w.defaults()
	if err := w.restrict(); err != nil {
		return nil, nil, err
	}
	for i := range t.Calls {
		w.call(&t.Calls[i])
	}
	w.filter()
	w.log()
	for _, p := range t.Dynamic {
		w.Lose(p.Pos, p.What, "systemd decides by numbers alone")
	}
	return []byte("[Service]\n" + w.text.String()), w.All(), nil
}

type writer struct {
	table *static.Table
	text  strings.Builder
	deflt policy.Action
	// answers is what is to be done with each call, its arguments left aside.
	answers map[string]policy.Action
	// restricted are calls whose arguments a directive is about.
	restricted map[string]bool
	static.Losses
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format+"\n", args...)
}

func (w *writer) defaults() {
	w.deflt = w.action(w.table.Default, "calls that no rule matches")
	if !static.Same(w.table.Unknown, w.deflt) {
		w.Lose(w.table.Unknown.Pos, "the answer to calls without a name, "+w.table.Unknown.String(), "systemd's is the default, "+w.deflt.String())
	}
}

// action is one of those that systemd has.
func (w *writer) action(a policy.Action, what string) policy.Action {
	switch a.Kind {
	case policy.Notify:
		w.Lose(a.Pos, "notify for "+what, "fails with ENOSYS, as it does without an agent")
		return policy.Action{Pos: a.Pos, Kind: policy.Errno, Data: static.ENOSYS}
	case policy.Trap, policy.KillThread:
		w.Lose(a.Pos, a.String()+" for "+what, "kills the process")
		return policy.Action{Pos: a.Pos, Kind: policy.Kill}
	}
	return a
}

// candidate is lines of other directives, and the table of what they do.
type candidate struct {
	text  string
	table *static.Table
}

// restrict writes the directives that do just what the policy does with the arguments of
// some calls.
func (w *writer) restrict() error {
	w.restricted = map[string]bool{}
	for _, text := range w.candidates() {
		c, err := parsed(text)
		if err != nil {
			return err
		}
		if calls, ok := w.fits(c); ok {
			w.line("%s", text)
			for _, name := range calls {
				w.restricted[name] = true
			}
		}
	}
	return nil
}

func parsed(text string) (candidate, error) {
	m, _, err := Read("", []byte(text))
	if err != nil {
		return candidate{}, err
	}
	t, err := static.Decide(m)
	return candidate{text, t}, err
}

// candidates are directives about arguments that might fit.
func (w *writer) candidates() []string {
	all := []string{"MemoryDenyWriteExecute=yes", "LockPersonality=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes"}
	if text := w.familyLine(); text != "" {
		all = append(all, text)
	}
	return append(all, w.namespaceLine())
}

// familyLine is what socket does with each family.
func (w *writer) familyLine() string {
	var allowed, denied []string
	names := familyNames()
	for af := uint64(0); af < maxFamily; af++ {
		name, ok := names[af]
		if !ok {
			continue
		}
		a, dynamic := w.table.Verdict(number("socket"), [6]uint64{af})
		if a.Permits() && !dynamic {
			allowed = append(allowed, name)
		} else {
			denied = append(denied, name)
		}
	}
	// A family without a name tells a list of what is let through from one of what is not.
	other, _ := w.table.Verdict(number("socket"), [6]uint64{maxFamily + 1})
	switch {
	case other.Permits():
		return "RestrictAddressFamilies=~" + strings.Join(denied, " ")
	case len(allowed) == 0:
		return ""
	}
	return "RestrictAddressFamilies=" + strings.Join(allowed, " ")
}

// namespaceLine is what unshare does with each kind.
func (w *writer) namespaceLine() string {
	var allowed []string
	for _, s := range spaces() {
		if a, dynamic := w.table.Verdict(number("unshare"), [6]uint64{uint64(s.flag)}); a.Permits() && !dynamic {
			allowed = append(allowed, s.name)
		}
	}
	if len(allowed) == 0 {
		return "RestrictNamespaces=yes"
	}
	return "RestrictNamespaces=" + strings.Join(allowed, " ")
}

// fits tells whether a directive does what the policy does with every call that it looks
// at, and which those are.
func (w *writer) fits(c candidate) ([]string, bool) {
	var calls []string
	conditional := false
	for i := range c.table.Calls {
		theirs, ours := &c.table.Calls[i], &w.table.Calls[i]
		if len(theirs.Cases) == 0 || w.never(ours) {
			continue
		}
		if !w.agree(theirs, ours) || w.restricted[ours.Name] {
			return nil, false
		}
		calls = append(calls, ours.Name)
		conditional = conditional || !theirs.Cases[0].Always()
	}
	return calls, conditional
}

// never tells whether a call is denied whatever its arguments: SystemCallFilter= says that,
// and outdoes what other directives say.
func (w *writer) never(c *static.Call) bool {
	if len(c.Cases) == 0 {
		return !w.table.Default.Permits()
	}
	return c.Cases[0].Always() && !c.Cases[0].Dynamic && !c.Cases[0].Action.Permits()
}

// agree compares what is denied: it has to be the same, and where the policy denies by
// default, all else has to be let through.
func (w *writer) agree(theirs, ours *static.Call) bool {
	if len(theirs.Cases) != 1 {
		return false // no directive says two things of a call
	}
	want, got := theirs.Cases[0], []static.Cube(nil)
	var through []static.Cube
	for _, k := range ours.Cases {
		switch {
		case k.Action.Permits():
			through = append(through, k.When...)
		case static.Same(k.Action, want.Action) && !k.Dynamic:
			got = k.When
		default:
			return false
		}
	}
	if w.table.Default.Permits() {
		return static.SameCubes(got, want.When)
	}
	rest, ok := static.Others(want.When)
	return ok && static.SameCubes(through, rest) && (static.Same(want.Action, w.table.Default) || static.SameCubes(got, want.When))
}

// call finds the answer to a call whatever its arguments.
func (w *writer) call(c *static.Call) {
	a := w.table.Default
	switch {
	case w.restricted[c.Name]:
		a = w.through(c)
	case len(c.Cases) == 1 && c.Cases[0].Always() && !c.Cases[0].Dynamic:
		a = c.Cases[0].Action
	case len(c.Cases) > 0:
		a = w.refused(c)
	}
	w.answers[c.Name] = w.action(a, c.Name)
}

// through is what is done with a call that a directive does not deny.
func (w *writer) through(c *static.Call) policy.Action {
	for _, k := range c.Cases {
		if k.Action.Permits() {
			return k.Action
		}
	}
	if w.table.Default.Permits() {
		return w.table.Default
	}
	return policy.Action{Kind: policy.Allow}
}

// refused is what a call is denied with that is sometimes let through.
func (w *writer) refused(c *static.Call) policy.Action {
	a := policy.Action{Pos: c.Cases[0].Pos, Kind: policy.Errno, Data: static.EPERM}
	if d := w.table.Default; !d.Permits() {
		a.Kind, a.Data = d.Kind, d.Data
	}
	what := "what " + c.Name + " is decided by"
	for _, k := range c.Cases {
		if !k.Dynamic && !k.Action.Permits() {
			a.Kind, a.Data = k.Action.Kind, k.Action.Data
		}
	}
	w.Lose(a.Pos, what, "systemd has no words for it; all of "+c.Name+" is denied: "+w.action(a, c.Name).String())
	return a
}

// width is how long a line of names may be.
const width = 100

// list writes names behind a key, in as many lines as it takes.
func (w *writer) list(key string, names []string) {
	text := key
	for _, n := range names {
		if len(text)+1+len(n) > width && text != key {
			w.line("%s", text)
			text = key
		}
		if text != key {
			text += " "
		}
		text += n
	}
	if text != key {
		w.line("%s", text)
	}
}

// filter writes SystemCallFilter=: what is let through and what, of @default, which is
// always on such lists, is not; or what is denied.
func (w *writer) filter() {
	var permitted []string
	byErrno := map[string][]string{}
	implied := map[string]bool{}
	for _, n := range inGroup("@default") {
		implied[n] = true
	}
	for _, c := range w.table.Calls {
		switch a := w.answers[c.Name]; {
		case a.Permits():
			permitted = append(permitted, c.Name)
		case w.deflt.Permits() || !static.Same(a, w.deflt) || implied[c.Name]:
			byErrno[errnoText(a)] = append(byErrno[errnoText(a)], c.Name)
		}
	}
	if !w.deflt.Permits() {
		if len(permitted) == 0 {
			permitted = []string{"@default"}
		}
		w.list("SystemCallFilter=", permitted)
		if w.deflt.Kind == policy.Errno {
			w.line("SystemCallErrorNumber=%s", errnoName(w.deflt))
		}
	}
	for _, e := range keys(byErrno) {
		names := byErrno[e]
		for i, n := range names {
			if w.deflt.Permits() || e != errnoText(w.deflt) {
				names[i] = n + ":" + e
			}
		}
		w.list("SystemCallFilter=~", names)
	}
	if a := w.answers["execve"]; !a.Permits() {
		w.Lose(a.Pos, "the start of the program", "systemd starts it under the filter, which denies execve: the unit fails; take execve out of the list")
	}
}

func errnoText(a policy.Action) string {
	if a.Kind == policy.Kill {
		return "kill"
	}
	return errnoName(a)
}

// errnoName is an error as systemd reads it.
func errnoName(a policy.Action) string {
	if s := a.String(); !strings.Contains(s, "(") {
		return s
	}
	return fmt.Sprint(a.Data)
}

func keys(m map[string][]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	sort.Strings(all)
	return all
}

// log writes SystemCallLog=.
func (w *writer) log() {
	var logged, silent []string
	for _, c := range w.table.Calls {
		switch w.answers[c.Name].Kind {
		case policy.Log:
			logged = append(logged, c.Name)
		case policy.Allow:
			silent = append(silent, c.Name)
		}
	}
	if w.deflt.Kind != policy.Log {
		w.list("SystemCallLog=", logged)
		return
	}
	if len(silent) == 0 {
		silent = []string{w.unlogged()}
	}
	w.list("SystemCallLog=~", silent)
}

// unlogged is a call that need not be logged: a list of nothing would be no list.
func (w *writer) unlogged() string {
	for _, c := range w.table.Calls {
		if !w.answers[c.Name].Permits() {
			return c.Name
		}
	}
	w.Lose(w.deflt.Pos, "the log of nfsservctl", "SystemCallLog=~ has to name something; no kernel has that call any more")
	return "nfsservctl"
}
