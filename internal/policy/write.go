package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"portcullis/internal/abi"
)

// Write is m as YAML that Parse reads: one order of keys, comments in front of what they
// are about, lists of calls in lines of at most a hundred bytes.
func Write(m *Model) []byte {
	w := &writer{}
	w.comment(0, m.Comment)
	w.line(0, "version: %d", Version)
	w.text(0, "name", m.Name)
	w.includes(m.Include)
	w.action(0, "default", m.Default)
	w.action(0, "unknown", m.Unknown)
	if m.Links == LinksTrusted {
		w.line(0, "links: trusted")
	}
	w.groups(m.Groups)
	w.rules(m.Rules)
	w.programs(m.Programs)
	w.phases(m.Phases)
	w.orders(m.Order)
	w.flows(m.Flows)
	w.limits(m.Limits)
	w.serialized(m.Serialize)
	return []byte(w.String())
}

// width is how long a line of a list may be.
const width = 100

type writer struct{ strings.Builder }

func (w *writer) line(indent int, format string, args ...any) {
	fmt.Fprintf(w, strings.Repeat(" ", indent)+format+"\n", args...)
}

func (w *writer) comment(indent int, text string) {
	if text == "" {
		return
	}
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		w.WriteString(strings.TrimRight(strings.Repeat(" ", indent)+"# "+printable(l), " ") + "\n")
	}
}

// printable replaces what would end a comment, or is no text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}

func (w *writer) text(indent int, key, value string) {
	if value != "" {
		w.line(indent, "%s: %s", key, quote(value))
	}
}

func (w *writer) action(indent int, key string, a Action) {
	if a.Kind != NoAction {
		w.line(indent, "%s: %s", key, a)
	}
}

func (w *writer) owner(indent int, o Owner) {
	if o != Tree {
		w.line(indent, "per: %s", o)
	}
}

func (w *writer) includes(all []Include) {
	if len(all) == 0 {
		return
	}
	w.line(0, "include:")
	for _, i := range all {
		w.line(2, "- %s", quote(i.Path))
	}
}

func (w *writer) groups(all []Group) {
	if len(all) > 0 {
		w.line(0, "\ngroups:")
	}
	for _, g := range all {
		w.comment(2, g.Comment)
		w.names(2, quote(g.Name)+": ", g.Calls)
	}
}

// names writes a list of calls behind a key, in as many lines as it takes.
func (w *writer) names(indent int, key string, names []Name) {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = quote(n.Text)
	}
	w.list(indent, key, texts)
}

func (w *writer) list(indent int, key string, items []string) {
	if one := key + "[" + strings.Join(items, ", ") + "]"; indent+len(one) <= width {
		w.line(indent, "%s", one)
		return
	}
	w.line(indent, "%s[", key)
	at, line := indent+len(strings.TrimLeft(key, "- "))-len(strings.TrimLeft(key, " "))+4, ""
	if at < indent+4 {
		at = indent + 4
	}
	for _, item := range items {
		if line != "" && at+len(line)+len(item)+2 > width {
			w.line(at, "%s", strings.TrimRight(line, " "))
			line = ""
		}
		line += item + ", "
	}
	if line != "" {
		w.line(at, "%s", strings.TrimRight(line, " "))
	}
	w.line(at-2, "]")
}

func (w *writer) rules(all []Rule) {
	if len(all) > 0 {
		w.line(0, "\nrules:")
	}
	for _, r := range all {
		w.comment(2, r.Comment)
		word, more := r.Action.rule()
		w.names(2, "- "+word+": ", r.Calls)
		w.WriteString(more)
		w.condition(4, r.If)
	}
}

// rule is the key of a rule of the action, and lines that say the rest.
func (a Action) rule() (word, more string) {
	switch a.Kind {
	case Errno:
		if a.Data == eperm {
			return "deny", ""
		}
		return "deny", "    error: " + a.String() + "\n"
	case Trap:
		if a.Data != 0 {
			return "trap", fmt.Sprintf("    data: %d\n", a.Data)
		}
	}
	return a.Kind.String(), ""
}

func (w *writer) condition(indent int, c *Condition) {
	if c != nil {
		w.line(indent, "if: %s", c)
	}
}

func (w *writer) programs(all []Program) {
	if len(all) > 0 {
		w.line(0, "\nprograms:")
	}
	for _, p := range all {
		w.comment(2, p.Comment)
		paths := make([]string, len(p.Paths))
		for i, v := range p.Paths {
			paths[i] = quote(v.Text)
		}
		w.list(2, "- path: ", paths)
		w.allowed(p.Allow, p.Deny)
		w.text(4, "name", p.Name)
		w.action(4, "action", p.Action)
	}
}

// allowed writes the calls of a phase or a program.
func (w *writer) allowed(allow, deny []Name) {
	if deny != nil {
		w.names(4, "deny: ", deny)
	} else {
		w.names(4, "allow: ", allow)
	}
}

func (w *writer) phases(all []Phase) {
	if len(all) > 0 {
		w.line(0, "\nphases:")
	}
	for _, p := range all {
		w.comment(2, p.Comment)
		w.line(2, "- name: %s", quote(p.Name))
		w.allowed(p.Allow, p.Deny)
		w.action(4, "action", p.Action)
		if len(p.Next) > 0 {
			w.line(4, "next:")
		}
		for _, t := range p.Next {
			w.names(6, "- on: ", t.On)
			w.condition(8, t.If)
			w.line(8, "to: %s", quote(t.To))
		}
	}
}

func (w *writer) orders(all []Order) {
	if len(all) > 0 {
		w.line(0, "\norder:")
	}
	for _, o := range all {
		w.comment(2, o.Comment)
		if o.Kind == Once {
			w.names(2, "- once: ", o.Calls)
		} else {
			w.names(2, "- calls: ", o.Calls)
			w.names(4, o.Kind.String()+": ", o.Mark)
		}
		w.text(4, "name", o.Name)
		w.owner(4, o.Per)
		w.action(4, "action", o.Action)
	}
}

func (w *writer) flows(all []Flow) {
	if len(all) > 0 {
		w.line(0, "\nflow:")
	}
	for _, f := range all {
		w.comment(2, f.Comment)
		w.line(2, "- edges:")
		for _, e := range f.Edges {
			w.names(6, "- from: ", e.From)
			w.names(8, "to: ", e.To)
		}
		w.text(4, "name", f.Name)
		w.owner(4, f.Per)
		w.action(4, "action", f.Action)
	}
}

func (w *writer) limits(all []Limit) {
	if len(all) > 0 {
		w.line(0, "\nlimits:")
	}
	for _, l := range all {
		w.comment(2, l.Comment)
		w.names(2, "- calls: ", l.Calls)
		w.condition(4, l.If)
		w.line(4, "max: %d", l.Max)
		if l.Window != 0 {
			w.line(4, "window: %s", duration(l.Window))
		}
		if l.Burst != 0 {
			w.line(4, "burst: %d", l.Burst)
		}
		w.text(4, "name", l.Name)
		w.owner(4, l.Per)
		w.action(4, "action", l.Action)
	}
}

// duration writes 1m where time.Duration would write 1m0s.
func duration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func (w *writer) serialized(all []Serialize) {
	if len(all) > 0 {
		w.line(0, "\nserialize:")
	}
	for _, s := range all {
		w.comment(2, s.Comment)
		w.names(2, "- first: ", s.First)
		w.names(4, "second: ", s.Second)
		if s.Any {
			w.line(4, "any: true")
		}
		w.text(4, "name", s.Name)
	}
}

// eperm is the error of what denies and says no more.
const eperm = 1

// String is the action as a policy writes it.
func (a Action) String() string {
	switch {
	case a.Kind == Errno:
		return errnoText(a.Data)
	case a.Kind == Trap && a.Data != 0:
		return fmt.Sprintf("trap(%d)", a.Data)
	}
	return a.Kind.String()
}

func errnoText(e uint16) string {
	if name, ok := errnoName(e); ok {
		return name
	}
	return fmt.Sprintf("errno(%d)", e)
}

// Verdict is the action as the kernel has it; that of NoAction is ERRNO(EPERM).
func (a Action) Verdict() abi.Verdict {
	switch a.Kind {
	case Allow:
		return abi.Allow
	case Log:
		return abi.Log
	case Notify:
		return abi.UserNotif
	case Errno:
		return abi.Errno(a.Data)
	case Trap:
		return abi.Trap | abi.Verdict(a.Data)
	case KillThread:
		return abi.KillThread
	case Kill:
		return abi.KillProcess
	}
	return abi.Errno(eperm)
}

// String is the word of a policy.
func (k ActionKind) String() string {
	return [...]string{"none", "allow", "log", "notify", "errno", "trap", "kill_thread", "kill"}[k]
}

// String is the word of a policy.
func (k OrderKind) String() string { return [...]string{"once", "before", "after"}[k] }

// String is the word of a policy.
func (o Owner) String() string { return [...]string{"tree", "process", "thread"}[o] }
