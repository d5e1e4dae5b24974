package effect

import (
	"math/rand"
	"time"

	"portcullis/internal/abi"
)

// turn is a step of a script, as often as times says: a call by its number, or what else
// happens to task 1.
type turn struct {
	event Event
	tid   int // 0 is task 1
	nr    uint32
	times int
	wait  time.Duration
}

// script is calls that may show a difference. A script without turns is one, nil is none.
type script []turn

// then is a script with more behind it.
func (s script) then(more ...turn) script {
	return append(append(script{}, s...), more...)
}

const (
	// fewCalls is how many calls stand for all that a difference is about.
	fewCalls = 3
	// maxRepeated is how often a script makes a call at most.
	maxRepeated = 1 << 14
	// maxScripts is how many of a difference's scripts are tried.
	maxScripts = 256
)

// ways lead to where a call may be let through: by the phases of either policy, behind the
// calls that it has to come after, and along flows.
func (d *difference) ways(nr uint32) []script {
	all := []script{{}}
	add := func(s script) {
		if len(s) > 0 {
			all = append(all, s)
		}
	}
	for _, p := range []*phases{d.phasesBefore, d.phasesAfter} {
		way := p.to(nr)
		marks := p.marks(nr)
		add(way.then(marks...))
		if len(marks) > 0 {
			add(marks.then(way...))
		}
		for _, f := range flowsOf(p.vocabulary) {
			if to := f.paths()[nr]; len(to) > 1 {
				add(way.then(to[:len(to)-1]...))
			}
		}
	}
	return all
}

// to is the shortest way to a phase that lets a call through.
func (p *phases) to(nr uint32) (best script) {
	for i := range p.all {
		if p.all[i].allowed.has(nr) && p.reached(i) && (best == nil || len(p.path[i]) < len(best)) {
			best = p.path[i]
		}
	}
	return best
}

// marks are calls that a call has to come after.
func (p *phases) marks(nr uint32) (s script) {
	for _, o := range ordersOf(p.vocabulary) {
		if o.calls.has(nr) && o.Kind.String() == "after" && !o.marks.empty() {
			s = append(s, turn{nr: o.marks.first(1)[0], times: 1})
		}
	}
	return s
}

// budget is how many steps Confirm makes for a Term, and Directed for each of its two parts,
// where every two worlds count as some.
const budget = 80_000

// variants is how many seeds of a call are taken: they differ in what the stacks test.
const variants = 4

// Confirm replays calls that may show a Term, in both stacks. The Witness is nil where none
// did: a Term that says that more is allowed, or less, takes one that shows just that.
func (t *Trials) Confirm(m *Term) (*Witness, error) {
	end := t.made + budget
	for variant := 0; variant < variants; variant++ {
		for i, s := range m.scripts {
			if i == maxScripts || t.made > end || t.over() {
				break
			}
			w, err := t.run(t.steps(s, variant))
			if err != nil {
				return nil, err
			}
			if w == nil || !m.shownBy(w) {
				continue
			}
			shorter, err := t.shortened(w)
			if err != nil || m.shownBy(shorter) {
				return shorter, err
			}
			return w, nil
		}
	}
	return nil, nil
}

// shownBy tells whether a witness is one of a Term.
func (m *Term) shownBy(w *Witness) bool {
	last := uint32(w.Steps[len(w.Steps)-1].Call.Data.Nr)
	was, is := passes(w.Before), passes(w.After)
	switch {
	case !m.ends.empty() && !m.ends.has(last), !m.through.empty() && !w.goesBy(m.through):
		return false
	case m.Allows == More:
		return is && !was
	case m.Allows == Less:
		return was && !is
	}
	return true
}

// goesBy tells whether one of some calls is made.
func (w *Witness) goesBy(some calls) bool {
	for i := range w.Steps {
		if s := &w.Steps[i]; s.Event == Asked && some.has(uint32(s.Call.Data.Nr)) {
			return true
		}
	}
	return false
}

// steps are those of a script, with calls of one variant.
func (t *Trials) steps(s script, variant int) (steps []Step) {
	for _, u := range s {
		step := Step{Event: u.event, Tid: max(u.tid, 1), Time: u.wait}
		switch u.event {
		case Asked:
			step.Call = t.called(u.nr, variant)
		case Forks, Spawns:
			step.Child, u.times = 2, 1
		default:
			u.times = 1
		}
		for i := 0; i < u.times; i++ {
			steps = append(steps, step)
		}
	}
	return steps
}

// called is a call by its number, with arguments of one of its seeds.
func (t *Trials) called(nr uint32, variant int) Call {
	seeds := t.seeds(nr)
	seed := seeds[variant%len(seeds)]
	return t.call(rand.New(rand.NewSource(int64(variant))), seed, true)
}

// seeds are those of a call.
func (t *Trials) seeds(nr uint32) (all []abi.SeccompData) {
	for _, o := range t.Open {
		if o.Arch != abi.ArchX86_64 || nr < o.From || nr > o.To {
			continue
		}
		for _, s := range o.Seeds {
			s.Nr = int32(nr)
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		all = append(all, abi.SeccompData{Nr: int32(nr), Arch: abi.ArchX86_64})
	}
	return all
}
