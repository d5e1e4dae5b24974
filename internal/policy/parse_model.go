package policy

import (
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"portcullis/internal/policy/symbol"
)

// model reads a whole policy.
func (d *decoder) model(n *yaml.Node, m *Model) {
	m.Comment = comment(n)
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 && m.Comment == "" {
		m.Comment = comment(n.Content[0])
	}
	version := false
	d.fields(n, "a policy",
		field{"version", func(v *yaml.Node) { version = true; d.version(v) }},
		field{"name", func(v *yaml.Node) { m.Name = d.word(v, "a name") }},
		field{"include", func(v *yaml.Node) {
			d.either(v, "include", func(e *yaml.Node) {
				m.Include = append(m.Include, Include{d.pos(e), d.scalar(e, "the path of a policy")})
			})
		}},
		field{"default", func(v *yaml.Node) { m.Default = d.action(v) }},
		field{"unknown", func(v *yaml.Node) { m.Unknown = d.action(v) }},
		field{"links", func(v *yaml.Node) { m.Links = Links(d.choice(v, "checked", "trusted")) }},
		field{"groups", func(v *yaml.Node) { d.groups(v, m) }},
		field{"rules", func(v *yaml.Node) { each(d, v, "rules", &m.Rules, d.rule) }},
		field{"programs", func(v *yaml.Node) { each(d, v, "programs", &m.Programs, d.program) }},
		field{"phases", func(v *yaml.Node) { each(d, v, "phases", &m.Phases, d.phase) }},
		field{"order", func(v *yaml.Node) { each(d, v, "order", &m.Order, d.order) }},
		field{"flow", func(v *yaml.Node) { each(d, v, "flow", &m.Flows, d.flow) }},
		field{"limits", func(v *yaml.Node) { each(d, v, "limits", &m.Limits, d.limit) }},
		field{"serialize", func(v *yaml.Node) { each(d, v, "serialize", &m.Serialize, d.serialize) }},
	)
	if !version {
		d.fail(n, "begin with \"version: 1\"", "the policy does not say its version")
	}
}

// each reads a list of mappings.
func each[T any](d *decoder, n *yaml.Node, what string, to *[]T, read func(*yaml.Node, *T)) {
	d.list(n, what, func(e *yaml.Node) {
		var t T
		read(e, &t)
		*to = append(*to, t)
	})
}

func (d *decoder) version(n *yaml.Node) {
	if v := d.number(n, "a version"); d.err == nil && v != Version {
		d.fail(n, "", "version %d: this program knows version %d", v, Version)
	}
}

// word is a text that can be part of a message or a program's name.
func (d *decoder) word(n *yaml.Node, what string) string {
	s := d.scalar(n, what)
	for _, c := range s {
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') || len(s) > 64 {
			d.fail(n, "", "expected %s of at most 64 letters, digits, -, _ and ., found %s", what, Shown(s))
			return ""
		}
	}
	return s
}

// choice is the index of a word.
func (d *decoder) choice(n *yaml.Node, words ...string) int {
	what := "one of " + strings.Join(words, ", ")
	s := d.scalar(n, what)
	for i, w := range words {
		if s == w {
			return i
		}
	}
	if d.err == nil {
		d.fail(n, "", "expected %s, found %s", what, Shown(s))
	}
	return 0
}

func (d *decoder) flag(n *yaml.Node) bool { return d.choice(n, "false", "true") == 1 }

func (d *decoder) owner(n *yaml.Node) Owner { return Owner(d.choice(n, "tree", "process", "thread")) }

// actionWords are actions that a word says all of.
var actionWords = map[string]Action{
	"allow": {Kind: Allow}, "log": {Kind: Log}, "notify": {Kind: Notify}, "deny": {Kind: Errno, Data: eperm},
	"trap": {Kind: Trap}, "kill_thread": {Kind: KillThread}, "kill": {Kind: Kill},
}

const wantAction = "allow, log, notify, deny, trap, kill_thread, kill, an error such as EPERM, errno(N) or trap(N)"

func (d *decoder) action(n *yaml.Node) Action {
	s := d.scalar(n, wantAction)
	if d.err != nil {
		return Action{}
	}
	a, ok := parseAction(s)
	if !ok {
		d.fail(n, "", "expected %s, found %s", wantAction, Shown(s))
	}
	a.Pos = d.pos(n)
	return a
}

func parseAction(s string) (Action, bool) {
	if a, ok := actionWords[s]; ok {
		return a, true
	}
	if e, ok := errnoNumber(s); ok {
		return Action{Kind: Errno, Data: e}, true
	}
	for _, f := range []struct {
		word  string
		kind  ActionKind
		least uint64
		most  uint64
	}{{"errno(", Errno, 1, maxErrno}, {"trap(", Trap, 0, 65535}} {
		if number, ok := strings.CutPrefix(s, f.word); ok && strings.HasSuffix(number, ")") {
			v, ok := symbol.Number(number[:len(number)-1])
			return Action{Kind: f.kind, Data: uint16(v)}, ok && v >= f.least && v <= f.most
		}
	}
	return Action{}, false
}

// refusal is an action that does not let a call be made.
func (d *decoder) refusal(n *yaml.Node) Action {
	a := d.action(n)
	if d.err == nil && a.Permits() {
		d.fail(n, "", "expected an action that denies, found %s", Shown(a.String()))
	}
	return a
}

func (d *decoder) groups(n *yaml.Node, m *Model) {
	d.mapping(n, "groups", func(key, value *yaml.Node) {
		g := Group{Pos: d.pos(key), Comment: comment(key), Name: d.scalar(key, "a group's name")}
		if d.err == nil && (g.Name[0] != '@' || len(g.Name) < 2) {
			d.fail(key, "write @"+strings.TrimLeft(g.Name, "@"), "groups: expected a name that begins with @, found %s", Shown(g.Name))
		}
		d.names(value, &g.Calls)
		m.Groups = append(m.Groups, g)
	})
}

func (d *decoder) rule(n *yaml.Node, r *Rule) {
	r.Pos, r.Comment = d.pos(n), comment(n)
	var data *yaml.Node
	fs := []field{
		{"error", func(v *yaml.Node) { d.ruleError(v, r) }},
		{"data", func(v *yaml.Node) { data = v }},
		{"if", func(v *yaml.Node) { r.If = d.condition(v, 0) }},
	}
	for _, word := range []string{"kill", "kill_thread", "trap", "notify", "log", "deny", "allow"} {
		word := word
		fs = append([]field{{word, func(v *yaml.Node) { d.ruleAction(v, r, word) }}}, fs...)
	}
	d.fields(n, "a rule", fs...)
	switch {
	case d.err != nil:
	case r.Calls == nil:
		d.fail(n, "add allow:, deny: or another with a list of calls", "the rule does not say what happens to which calls")
	case data != nil:
		d.trapData(data, r)
	case r.Action.Kind == NoAction, r.Action.Pos.Line != 0 && r.Action.Kind != Errno:
		d.fail(n, "write deny: in front of the calls", "only a rule that denies has an error")
	}
}

// ruleAction takes the key of a rule that says what happens to which calls.
func (d *decoder) ruleAction(n *yaml.Node, r *Rule, word string) {
	if r.Calls != nil {
		d.fail(n, "make two rules of it", "a rule has one action, found %s as another", word)
		return
	}
	a := actionWords[word]
	if r.Action.Pos.Line != 0 { // the error came first
		if a.Kind != Errno {
			d.fail(n, "write deny: in front of the calls", "only a rule that denies has an error")
		}
	} else {
		r.Action = a
	}
	d.names(n, &r.Calls)
}

func (d *decoder) ruleError(n *yaml.Node, r *Rule) {
	a := d.action(n)
	if d.err == nil && a.Kind != Errno {
		d.fail(n, "", "expected an error such as EACCES, found %s", Shown(n.Value))
	}
	if r.Calls != nil && r.Action.Kind != Errno {
		d.fail(n, "write deny: in front of the calls", "only a rule that denies has an error")
	}
	r.Action = a
}

func (d *decoder) trapData(n *yaml.Node, r *Rule) {
	v := d.number(n, "data of 0 to 65535")
	if d.err == nil && (r.Action.Kind != Trap || v > 65535) {
		d.fail(n, "", "expected data of 0 to 65535 beside trap, found %d beside %s", v, r.Action.Kind)
	}
	r.Action.Data = uint16(v)
}

func (d *decoder) program(n *yaml.Node, p *Program) {
	p.Pos, p.Comment = d.pos(n), comment(n)
	d.fields(n, "a program",
		field{"path", func(v *yaml.Node) {
			d.either(v, "paths", func(e *yaml.Node) { p.Paths = append(p.Paths, d.value(e)) })
		}},
		field{"allow", func(v *yaml.Node) { d.names(v, &p.Allow) }},
		field{"deny", func(v *yaml.Node) { d.names(v, &p.Deny) }},
		field{"name", func(v *yaml.Node) { p.Name = d.word(v, "a name") }},
		field{"action", func(v *yaml.Node) { p.Action = d.refusal(v) }},
	)
	if d.err == nil && (len(p.Paths) == 0 || (p.Allow == nil) == (p.Deny == nil)) {
		d.fail(n, "", "a program: expected path: with what is executed, and calls under one of allow and deny")
	}
}

func (d *decoder) phase(n *yaml.Node, p *Phase) {
	p.Pos, p.Comment = d.pos(n), comment(n)
	d.fields(n, "a phase",
		field{"name", func(v *yaml.Node) { p.Name = d.word(v, "a name") }},
		field{"allow", func(v *yaml.Node) { d.names(v, &p.Allow) }},
		field{"deny", func(v *yaml.Node) { d.names(v, &p.Deny) }},
		field{"next", func(v *yaml.Node) { each(d, v, "next", &p.Next, d.transition) }},
		field{"action", func(v *yaml.Node) { p.Action = d.refusal(v) }},
	)
	if d.err == nil && (p.Name == "" || (p.Allow == nil) == (p.Deny == nil)) {
		d.fail(n, "", "a phase: expected a name, and calls under one of allow and deny")
	}
}

func (d *decoder) transition(n *yaml.Node, t *Transition) {
	t.Pos = d.pos(n)
	d.fields(n, "a way to another phase",
		field{"on", func(v *yaml.Node) { d.names(v, &t.On) }},
		field{"if", func(v *yaml.Node) { t.If = d.condition(v, 0) }},
		field{"to", func(v *yaml.Node) { t.To = d.word(v, "the name of a phase") }},
	)
	if d.err == nil && (t.On == nil || t.To == "") {
		d.fail(n, "", "a way to another phase: expected on: with calls, and to: with the name of a phase")
	}
}

func (d *decoder) order(n *yaml.Node, o *Order) {
	o.Pos, o.Comment = d.pos(n), comment(n)
	kinds := 0
	mark := func(kind OrderKind) func(*yaml.Node) {
		return func(v *yaml.Node) { kinds++; o.Kind = kind; d.names(v, &o.Mark) }
	}
	d.fields(n, "an order",
		field{"once", func(v *yaml.Node) { kinds += 2; d.names(v, &o.Calls) }},
		field{"calls", func(v *yaml.Node) { kinds += 3; d.names(v, &o.Calls) }},
		field{"before", mark(Before)},
		field{"after", mark(After)},
		field{"name", func(v *yaml.Node) { o.Name = d.word(v, "a name") }},
		field{"per", func(v *yaml.Node) { o.Per = d.owner(v) }},
		field{"action", func(v *yaml.Node) { o.Action = d.refusal(v) }},
	)
	if d.err == nil && kinds != 2 && kinds != 4 {
		d.fail(n, "", "an order: expected once: with calls, or calls: with one of before: and after:")
	}
}

func (d *decoder) flow(n *yaml.Node, f *Flow) {
	f.Pos, f.Comment = d.pos(n), comment(n)
	d.fields(n, "a flow",
		field{"edges", func(v *yaml.Node) { each(d, v, "edges", &f.Edges, d.edge) }},
		field{"name", func(v *yaml.Node) { f.Name = d.word(v, "a name") }},
		field{"per", func(v *yaml.Node) { f.Per = d.owner(v) }},
		field{"action", func(v *yaml.Node) { f.Action = d.refusal(v) }},
	)
	if d.err == nil && len(f.Edges) == 0 {
		d.fail(n, "", "a flow: expected edges")
	}
}

func (d *decoder) edge(n *yaml.Node, e *Edge) {
	e.Pos = d.pos(n)
	d.fields(n, "an edge",
		field{"from", func(v *yaml.Node) { d.names(v, &e.From) }},
		field{"to", func(v *yaml.Node) { d.names(v, &e.To) }},
	)
	if d.err == nil && (e.From == nil || e.To == nil) {
		d.fail(n, "", "an edge: expected from: and to:, each with calls")
	}
}

func (d *decoder) limit(n *yaml.Node, l *Limit) {
	l.Pos, l.Comment = d.pos(n), comment(n)
	most := false
	d.fields(n, "a limit",
		field{"calls", func(v *yaml.Node) { d.names(v, &l.Calls) }},
		field{"if", func(v *yaml.Node) { l.If = d.condition(v, 0) }},
		field{"max", func(v *yaml.Node) { most = true; l.Max = d.number(v, "how many calls") }},
		field{"window", func(v *yaml.Node) { l.Window = d.duration(v) }},
		field{"burst", func(v *yaml.Node) { l.Burst = d.number(v, "how many calls at once") }},
		field{"name", func(v *yaml.Node) { l.Name = d.word(v, "a name") }},
		field{"per", func(v *yaml.Node) { l.Per = d.owner(v) }},
		field{"action", func(v *yaml.Node) { l.Action = d.refusal(v) }},
	)
	switch {
	case d.err != nil:
	case l.Calls == nil || !most:
		d.fail(n, "", "a limit: expected calls: and max:")
	case l.Window == 0 && l.Burst != 0:
		d.fail(n, "add window: with the time in which max calls may be made", "a limit without a window has no burst")
	}
}

// duration is a time of 1ms to 24h.
func (d *decoder) duration(n *yaml.Node) time.Duration {
	const want = "a time of 1ms to 24h, such as 500ms, 1s, 5m"
	s := d.scalar(n, want)
	if d.err != nil {
		return 0
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < time.Millisecond || t > 24*time.Hour {
		d.fail(n, "", "expected %s, found %s", want, Shown(s))
	}
	return t
}

func (d *decoder) serialize(n *yaml.Node, s *Serialize) {
	s.Pos, s.Comment = d.pos(n), comment(n)
	d.fields(n, "a serialization",
		field{"first", func(v *yaml.Node) { d.names(v, &s.First) }},
		field{"second", func(v *yaml.Node) { d.names(v, &s.Second) }},
		field{"any", func(v *yaml.Node) { s.Any = d.flag(v) }},
		field{"name", func(v *yaml.Node) { s.Name = d.word(v, "a name") }},
	)
	if d.err == nil && (s.First == nil || s.Second == nil) {
		d.fail(n, "", "a serialization: expected first: and second:, each with calls")
	}
}
