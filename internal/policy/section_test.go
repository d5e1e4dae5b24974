package policy

import "testing"

// TestLinesSayWhatTheyAreOf: a message shows one line, and that has to say which list it is of.
func TestLinesSayWhatTheyAreOf(t *testing.T) {
	text := `name: p
version: 1
limits:
  - name: few
    calls: read
    max: 1
  - calls: read
    max: 1
order:
  - calls: [dup]
    after: dup2
  - {calls: dup, after: dup2}
  - {name: o, once: dup}
flow:
  - per: thread
    edges: [{from: start, to: dup}]
  - edges: [{from: start, to: dup}]
phases:
  - name: a
    deny: write
  - deny: write
    "name": b
programs:
  - name: git
    path: /usr/bin/git
    deny: write
serialize:
  - name: s
    first: rename
    second: chmod
`
	m, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCompiler(m)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[Pos]string{
		m.Pos:              "policy: name: p",
		m.Limits[0].Pos:    "limits: - name: few",
		m.Limits[1].Pos:    "- calls: read",
		m.Order[0].Pos:     "order: - calls: [dup]",
		m.Order[1].Pos:     "- {calls: dup, after: dup2}",
		m.Order[2].Pos:     "order: - {name: o, once: dup}",
		m.Flows[0].Pos:     "flow: - per: thread",
		m.Flows[1].Pos:     "- edges: [{from: start, to: dup}]",
		m.Phases[0].Pos:    "- name: a",
		m.Phases[1].Pos:    "phases: - deny: write",
		m.Programs[0].Pos:  "programs: - name: git",
		m.Serialize[0].Pos: "serialize: - name: s",
	} {
		if got := c.line(p).Text; got != want {
			t.Errorf("%s: got %q, want %q", p, got, want)
		}
	}
}
