package effect

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/policy"
)

// phases are those of a policy, as far as they matter.
type phases struct {
	*vocabulary
	all []phase
	// path is what leads to each from the first one on; nil if nothing does.
	path []script
}

// phase is a Phase whose names are numbers.
type phase struct {
	*policy.Phase
	allowed calls // with what leads out of it
	next    []exit
	answer  abi.Verdict
}

// exit is a Transition by at least one call.
type exit struct {
	*policy.Transition
	on calls
	to int
}

func newPhases(v *vocabulary) *phases {
	p := &phases{vocabulary: v}
	index := map[string]int{}
	for i := range v.Phases {
		index[v.Phases[i].Name] = i
	}
	for i := range v.Phases {
		p.all = append(p.all, v.phase(&v.Phases[i], index))
	}
	p.walk()
	return p
}

func (v *vocabulary) phase(p *policy.Phase, index map[string]int) phase {
	r := phase{Phase: p, allowed: v.matters.without(v.denied(p.Allow, p.Deny)), answer: refusal(p.Action, eperm)}
	var certain calls // that have left by an exit before
	for i := range p.Next {
		t := &p.Next[i]
		on := v.of(t.On)
		r.allowed = r.allowed.or(on)
		if on = on.without(certain); on.empty() {
			continue
		}
		if t.If == nil {
			certain = certain.or(on)
		}
		r.next = append(r.next, exit{t, on, index[t.To]})
	}
	for n := len(r.next); n > 0 && &v.Phases[r.next[n-1].to] == p; n-- {
		r.next = r.next[:n-1] // which leads nowhere, and stands before no other
	}
	return r
}

// walk finds the shortest ways.
func (p *phases) walk() {
	p.path = make([]script, len(p.all))
	if len(p.all) == 0 {
		return
	}
	p.path[0] = script{}
	for queue := []int{0}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, e := range p.all[from].next {
			if p.path[e.to] == nil {
				p.path[e.to] = p.path[from].then(turn{nr: e.on.first(1)[0], times: 1})
				queue = append(queue, e.to)
			}
		}
	}
}

// reached tells whether something leads to a phase.
func (p *phases) reached(i int) bool { return p.path[i] != nil }

func (p *phases) has(name string) bool {
	for i := range p.all {
		if p.all[i].Name == name && p.reached(i) {
			return true
		}
	}
	return false
}

// matching pairs phases of two policies: to[i] is the place of the second's that is the
// first's i, from is the other way round, and -1 is none.
type matching struct {
	*difference
	a, b     *phases
	to, from []int
	// same tells which are the same by effect.
	same [][]bool
}

func (d *difference) phases() {
	a, b := d.phasesBefore, d.phasesAfter
	switch {
	case len(a.all) == 0 && len(b.all) == 0:
		return
	case len(a.all) == 0 || len(b.all) == 0:
		d.allPhases(a, "removed", More)
		d.allPhases(b, "added", Less)
		return
	}
	m := &matching{difference: d, a: a, b: b, to: filled(len(a.all)), from: filled(len(b.all))}
	m.equate()
	if m.same[0][0] {
		return
	}
	m.match()
	m.tell()
}

func filled(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = -1
	}
	return all
}

// allPhases adds all that a policy has where the other has none.
func (d *difference) allPhases(p *phases, what string, allows Leaning) {
	for i := range p.all {
		if !p.reached(i) {
			continue
		}
		denied := p.matters.without(p.all[i].allowed)
		d.add(denied, titled("phase", p.all[i].Name), what, allows, after(p.path[i], denied)...)
	}
}

// after are scripts that go a way and make some call then.
func after(way script, of calls) (all []script) {
	for _, nr := range of.first(fewCalls) {
		all = append(all, way.then(turn{nr: nr, times: 1}))
	}
	return all
}

// equate finds the phases that are the same by effect: they let the same calls through, answer
// others alike, and the same calls lead to phases that are the same. At first all that are alike
// by themselves are, until no more are found that are not.
func (m *matching) equate() {
	for i := range m.a.all {
		row := make([]bool, len(m.b.all))
		for j := range row {
			row[j] = m.alike(i, j) && len(m.a.all[i].next) == len(m.b.all[j].next)
			for k := 0; row[j] && k < len(m.a.all[i].next); k++ {
				row[j] = m.sameExit(&m.a.all[i].next[k], &m.b.all[j].next[k])
			}
		}
		m.same = append(m.same, row)
	}
	for changed := true; changed; {
		changed = false
		for i, row := range m.same {
			for j := range row {
				if row[j] && !m.leadAlike(i, j) {
					row[j], changed = false, true
				}
			}
		}
	}
}

func (m *matching) alike(i, j int) bool {
	p, q := &m.a.all[i], &m.b.all[j]
	return p.allowed == q.allowed && (p.answer == q.answer || p.allowed == m.a.matters)
}

// sameExit tells whether the same calls go by two exits, wherever those lead.
func (m *matching) sameExit(x, y *exit) bool {
	return x.on == y.on && m.before.sameCondition(x.If, x.On, m.after, y.If, y.On)
}

func (m *matching) leadAlike(i, j int) bool {
	for k, e := range m.a.all[i].next {
		if !m.same[e.to][m.b.all[j].next[k].to] {
			return false
		}
	}
	return true
}

func (m *matching) pair(i, j int) {
	if m.to[i] < 0 && m.from[j] < 0 && m.a.reached(i) && m.b.reached(j) {
		m.to[i], m.from[j] = j, i
	}
}

// match pairs the first phases, then those that are the same by effect, those at the same place
// that look alike or have no name of another, those of the same name, and the rest by place.
func (m *matching) match() {
	m.pair(0, 0)
	m.each(func(i, j int) bool { return m.same[i][j] && m.a.all[i].Name == m.b.all[j].Name })
	m.each(func(i, j int) bool { return m.same[i][j] })
	m.along(func(i, j int) bool { return m.alike(i, j) && m.free(i, j) })
	m.along(m.free)
	m.each(func(i, j int) bool { return m.a.all[i].Name == m.b.all[j].Name })
	m.along(func(i, j int) bool { return true })
}

// free tells whether two phases have one name, or each one that the other policy has not.
func (m *matching) free(i, j int) bool {
	x, y := m.a.all[i].Name, m.b.all[j].Name
	return x == y || !m.b.has(x) && !m.a.has(y)
}

func (m *matching) each(fit func(i, j int) bool) {
	for i := range m.to {
		for j := range m.from {
			if m.to[i] < 0 && m.from[j] < 0 && fit(i, j) {
				m.pair(i, j)
			}
		}
	}
}

// along pairs what pairs of phases lead to by the same exits, as long as there are any that fit.
func (m *matching) along(fit func(i, j int) bool) {
	for again := true; again; {
		again = false
		for i, j := range m.to {
			if j >= 0 && m.exits(i, j, fit) {
				again = true
			}
		}
	}
}

func (m *matching) exits(i, j int, fit func(i, j int) bool) (found bool) {
	x, y := m.a.all[i].next, m.b.all[j].next
	for k, l := range m.pairedExits(i, j) {
		if l < 0 {
			continue
		}
		if p, q := x[k].to, y[l].to; m.to[p] < 0 && m.from[q] < 0 && fit(p, q) {
			m.pair(p, q)
			found = found || m.to[p] == q
		}
	}
	return found
}

// pairedExits pairs the exits of two phases, best those that lead to the same phase.
func (m *matching) pairedExits(i, j int) []int {
	x, y := m.a.all[i].next, m.b.all[j].next
	leads := func(k, l int) bool { return m.agree(x[k].to, y[l].to) }
	same := func(k, l int) bool { return m.sameExit(&x[k], &y[l]) }
	return paired(len(x), len(y), func(k, l int) bool { return same(k, l) && leads(k, l) }, same,
		func(k, l int) bool { return x[k].on == y[l].on && leads(k, l) },
		func(k, l int) bool { return leads(k, l) && !x[k].on.and(y[l].on).empty() })
}

// agree tells whether two phases are one by the matching, or by effect.
func (m *matching) agree(i, j int) bool { return m.to[i] == j || m.same[i][j] }

// tell adds what is different between the phases that are pairs, and those that are not.
func (m *matching) tell() {
	for i, j := range m.to {
		switch {
		case !m.a.reached(i):
		case j >= 0 && !m.same[i][j]:
			m.tellPhase(i, j)
		case j < 0 && !m.copied(i):
			about := m.a.leading(i)
			m.addAny(about, titled("phase", m.a.all[i].Name), "removed", Other, m.toldBy(m.a, i)...)
		}
	}
	for j, i := range m.from {
		if i < 0 && m.b.reached(j) && !m.copy(j) {
			m.addAny(m.b.leading(j), titled("phase", m.b.all[j].Name), "added", Other, m.toldBy(m.b, j)...)
		}
	}
}

// copied and copy tell whether a phase without a twin is the same as one that has another.
func (m *matching) copied(i int) bool {
	for _, same := range m.same[i] {
		if same {
			return true
		}
	}
	return false
}

func (m *matching) copy(j int) bool {
	for i := range m.same {
		if m.same[i][j] {
			return true
		}
	}
	return false
}

// leading are the calls that lead to a phase.
func (p *phases) leading(to int) (c calls) {
	for i := range p.all {
		for _, e := range p.all[i].next {
			if e.to == to && p.reached(i) {
				c = c.or(e.on)
			}
		}
	}
	return c
}

// toldBy are scripts that go to a phase and make a call that it refuses, or lets through.
func (m *matching) toldBy(p *phases, i int) []script {
	return append(after(p.path[i], p.matters.without(p.all[i].allowed)), after(p.path[i], p.all[i].allowed)...)
}

// title is that of a pair of phases.
func (m *matching) title(i, j int) string {
	x, y := m.a.all[i].Name, m.b.all[j].Name
	if x == y {
		return titled("phase", x)
	}
	return fmt.Sprintf("phase %q, now %q", x, y)
}

func (m *matching) tellPhase(i, j int) {
	p, q, title := &m.a.all[i], &m.b.all[j], m.title(i, j)
	ways := func(of calls) []script { return append(after(m.a.path[i], of), after(m.b.path[j], of)...) }
	more, less := q.allowed.without(p.allowed), p.allowed.without(q.allowed)
	m.add(more, title, "denied -> allowed", More, ways(more)...)
	m.add(less, title, "allowed -> denied", Less, ways(less)...)
	refused := m.a.matters.without(p.allowed.or(q.allowed))
	m.answers(refused, title, p.answer, q.answer, ways(refused)...)
	m.tellExits(i, j, title)
}

func (m *matching) tellExits(i, j int, title string) {
	x, y := m.a.all[i].next, m.b.all[j].next
	of := m.pairedExits(i, j)
	for k, l := range of {
		if l < 0 {
			m.addAny(x[k].on, title, fmt.Sprintf("transition to %q removed", m.a.all[x[k].to].Name), Other, m.turns(i, j, x[k].on)...)
			continue
		}
		m.tellExit(&x[k], &y[l], title, m.turns(i, j, x[k].on.or(y[l].on)))
	}
	for _, l := range unpaired(of, len(y)) {
		m.addAny(y[l].on, title, fmt.Sprintf("transition to %q added", m.b.all[y[l].to].Name), Other, m.turns(i, j, y[l].on)...)
	}
	m.tellOrder(of, title, i, j)
}

// tellOrder adds that exits are the same and in another order, of which the first counts.
func (m *matching) tellOrder(of []int, title string, i, j int) {
	x := m.a.all[i].next
	for k := 1; k < len(of); k++ {
		for before := 0; before < k; before++ {
			if of[k] >= 0 && of[before] > of[k] && !x[k].on.and(x[before].on).empty() {
				m.addAny(x[k].on.and(x[before].on), title, "transitions in another order", Other, m.turns(i, j, x[k].on)...)
				return
			}
		}
	}
}

func (m *matching) tellExit(x, y *exit, title string, scripts []script) {
	to := m.b.all[y.to].Name
	if !m.agree(x.to, y.to) {
		m.addAny(y.on.and(x.on), title, fmt.Sprintf("transition to %q in place of %q", to, m.a.all[x.to].Name), Other, scripts...)
	}
	m.addAny(y.on.without(x.on), title, fmt.Sprintf("transition to %q added", to), Other, scripts...)
	m.addAny(x.on.without(y.on), title, fmt.Sprintf("transition to %q removed", to), Other, scripts...)
	if !m.before.sameCondition(x.If, x.On, m.after, y.If, y.On) && x.on == y.on {
		m.addAny(y.on, title, fmt.Sprintf("transition to %q with another condition", to), Other, scripts...)
	}
}

// turns are scripts that go to a pair of phases, then by some call wherever that leads, and then
// make one of the calls about which phases differ.
func (m *matching) turns(i, j int, on calls) (all []script) {
	telling := m.telling()
	for _, way := range []script{m.a.path[i], m.b.path[j]} {
		for _, nr := range on.first(fewCalls) {
			for _, last := range telling.numbers() {
				all = append(all, way.then(turn{nr: nr, times: 1}, turn{nr: last, times: 1}))
			}
		}
	}
	return all
}

// maxTelling is how many calls are made at the end to tell phases apart.
const maxTelling = 24

// telling are calls that some phases let through and others do not, each of which the others
// do not stand for.
func (m *matching) telling() (c calls) {
	seen := map[string]bool{}
	for _, nr := range m.a.matters.numbers() {
		key := ""
		for _, p := range append(append([]phase(nil), m.a.all...), m.b.all...) {
			key += map[bool]string{true: "+", false: "-"}[p.allowed.has(nr)]
		}
		if !seen[key] && len(seen) < maxTelling {
			seen[key] = true
			c.add(nr)
		}
	}
	return c
}
