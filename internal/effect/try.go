package effect

import (
	"math/rand"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// World is an installation of one stack among tasks that are told what to do; at first
// there is task 1.
type World interface {
	// Ask is the verdict on a call of a task.
	Ask(tid int, c *Call) (abi.Verdict, error)
	// Do has something else happen.
	Do(s *Step) error
}

// Call is a call to ask about. Text replaces arguments by pointers to strings.
type Call struct {
	Data abi.SeccompData
	Text [6]*string
}

// Event is what happens in a step.
type Event uint8

// The events.
const (
	Asked   Event = iota // Tid makes Call
	Forks                // Tid forks Child
	Spawns               // Tid makes thread Child
	Execs                // Tid has executed a program
	Waiting              // time passes
)

// Step is one step of a trial.
type Step struct {
	Event      Event
	Tid, Child int
	Call       Call
	Time       time.Duration
}

// Witness is steps after which the two stacks answer the last one differently, and their answers.
type Witness struct {
	Steps         []Step
	Before, After abi.Verdict
}

// Bounds of one trial: a filter that counts further than this is not found out.
const (
	mostSteps = 48
	mostTasks = 6
)

// Trials look for sequences of calls that two stacks answer differently.
type Trials struct {
	// Before and After make a fresh installation of each stack.
	Before, After func() (World, error)
	// Open are the calls to make.
	Open []Open
	// Words are strings to point to.
	Words []string
	// Named are calls that the stacks' programs name, see Named.
	Named []uint32
	// Over tells that no more time is to be spent; nil is never.
	Over func() bool

	made  int // steps, of what the budget of Directed and Confirm allows
	heard []abi.Verdict
}

// Run makes at most n trials, always the same ones. The Witness is nil if no difference
// was found, which proves nothing.
func (t *Trials) Run(n int) (*Witness, error) {
	r := rand.New(rand.NewSource(1))
	var seeds []abi.SeccompData
	for _, o := range t.Open {
		seeds = append(seeds, o.Seeds...)
	}
	if len(seeds) == 0 {
		return nil, nil
	}
	for i := 0; i < n; i++ {
		w, err := t.run(t.drawn(r, seeds, i))
		if err != nil {
			return nil, err
		}
		if w != nil {
			return t.shortened(w)
		}
	}
	return nil, nil
}

// drawn is the steps of trial i: at first one call again and again, then several by several tasks.
func (t *Trials) drawn(r *rand.Rand, seeds []abi.SeccompData, i int) []Step {
	if i < len(seeds) {
		return repeated(t.call(r, seeds[i], i%2 == 0), mostSteps)
	}
	few := make([]abi.SeccompData, 1+r.Intn(3))
	for j := range few {
		few[j] = seeds[r.Intn(len(seeds))]
	}
	d := &drawing{Trials: t, r: r, seeds: few, calls: r.Intn(2) == 0, tasks: []int{1}}
	for len(d.steps) < mostSteps {
		d.steps = append(d.steps, d.step())
	}
	return d.steps
}

func repeated(c Call, n int) (steps []Step) {
	for i := 0; i < n; i++ {
		steps = append(steps, Step{Tid: 1, Call: c})
	}
	return steps
}

// drawing is a trial that is being drawn.
type drawing struct {
	*Trials
	r     *rand.Rand
	seeds []abi.SeccompData
	calls bool // nothing else happens
	tasks []int
	steps []Step
}

func (d *drawing) step() Step {
	s := Step{Tid: d.tasks[d.r.Intn(len(d.tasks))]}
	if n := d.r.Intn(16); !d.calls && n < 4 {
		return d.happening(s, []Event{Forks, Spawns, Waiting, Execs}[n])
	}
	s.Call = d.call(d.r, d.seeds[d.r.Intn(len(d.seeds))], d.r.Intn(2) == 0)
	return s
}

// happening is a step of a task that is no call.
func (d *drawing) happening(s Step, e Event) Step {
	switch {
	case e == Execs && d.r.Intn(4) == 0: // which ends the process' other threads
		s.Event, s.Tid = Execs, 1
		return s
	case (e == Forks || e == Spawns) && len(d.tasks) < mostTasks:
		s.Event, s.Child = e, len(d.tasks)+1
		d.tasks = append(d.tasks, s.Child)
		return s
	}
	return Step{Event: Waiting, Time: time.Millisecond << d.r.Intn(16)}
}

// call is a call of a seed, with strings where there are any, and sometimes other numbers.
func (t *Trials) call(r *rand.Rand, seed abi.SeccompData, as bool) Call {
	c := Call{Data: seed}
	known, ok := args.Of(uint32(seed.Nr))
	for i := range c.Text {
		switch {
		case ok && seed.Arch == abi.ArchX86_64 && known.Args[i].Shape == args.String && len(t.Words) > 0:
			c.Text[i] = &t.Words[r.Intn(len(t.Words))]
		case !as && seed.Args[i] == 0:
			c.Data.Args[i] = uint64(r.Intn(4))
		}
	}
	return c
}

// run makes the steps in both worlds, up to the first difference, or to an end.
func (t *Trials) run(steps []Step) (*Witness, error) {
	t.heard = t.heard[:0]
	if t.made += fresh; t.over() {
		return nil, nil
	}
	a, err := t.Before()
	if err != nil {
		return nil, err
	}
	b, err := t.After()
	if err != nil {
		return nil, err
	}
	for i := range steps {
		s := &steps[i]
		if t.made++; t.made%often == 0 && t.over() {
			return nil, nil
		}
		if s.Event != Asked {
			if a.Do(s) != nil || b.Do(s) != nil {
				return nil, nil // a task that a shorter trial does not make
			}
			continue
		}
		x, err := a.Ask(s.Tid, &s.Call)
		if err != nil {
			return nil, nil
		}
		y, err := b.Ask(s.Tid, &s.Call)
		if err != nil {
			return nil, nil
		}
		if x, y = x.Effective(), y.Effective(); x != y {
			return &Witness{Steps: steps[:i+1], Before: x, After: y}, nil
		}
		t.heard = append(t.heard, x)
		if x.Action() == abi.KillProcess || x.Action() == abi.KillThread {
			return nil, nil // who is dead makes no more calls
		}
	}
	return nil, nil
}

// fresh is what two new worlds cost, in steps, and often after how many it is asked whether
// time is over: filters may take long to decide.
const (
	fresh = 64
	often = 64
)

func (t *Trials) over() bool { return t.Over != nil && t.Over() }

// many is a step that is made some times.
type many struct {
	step  Step
	times int
}

func packed(steps []Step) (all []many) {
	for _, s := range steps {
		if n := len(all); n > 0 && all[n-1].step == s {
			all[n-1].times++
		} else {
			all = append(all, many{s, 1})
		}
	}
	return all
}

func unpacked(all []many) (steps []Step) {
	for _, m := range all {
		for i := 0; i < m.times; i++ {
			steps = append(steps, m.step)
		}
	}
	return steps
}

// shortened drops steps, and has them made less often, as long as the answers still differ at
// the end.
func (t *Trials) shortened(w *Witness) (*Witness, error) {
	all := packed(w.Steps)
	for size := max(len(all)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size < len(all); {
			rest := append(append([]many(nil), all[:at]...), all[at+size:]...)
			shorter, err := t.run(unpacked(rest))
			if err != nil {
				return nil, err
			}
			if shorter == nil {
				at += size
			} else {
				w, all = shorter, packed(shorter.Steps)
			}
		}
	}
	return t.fewer(w)
}

// fewer is a witness whose steps are made less often.
func (t *Trials) fewer(w *Witness) (*Witness, error) {
	for at := 0; at < len(packed(w.Steps)); at++ {
		for cut := packed(w.Steps)[at].times / 2; cut > 0; {
			all := packed(w.Steps)
			if at >= len(all) || all[at].times <= cut {
				cut /= 2
				continue
			}
			all[at].times -= cut
			shorter, err := t.run(unpacked(all))
			if err != nil {
				return nil, err
			}
			if shorter == nil {
				cut /= 2
			} else {
				w = shorter
			}
		}
	}
	return w, nil
}

// wordsAtMost bounds the strings that are tried.
const wordsAtMost = 64

// WordsOf are the texts in the constants and the instructions of filters.
func WordsOf(trees ...*split.Tree) []string {
	words := []string{"/", "x", "/tmp/x"}
	for _, t := range trees {
		for _, v := range t.Verified().Programs() {
			p := v.Program()
			for _, m := range p.Maps {
				words = append(words, texts(m.Contents)...)
			}
			words = append(words, texts(immediates(p))...)
		}
	}
	return words[:min(len(words), wordsAtMost)]
}

// immediates are the constants of a program one after the other: compilers compare texts
// by them. One that is no text parts those around it.
func immediates(p *prog.Program) (data []byte) {
	for _, in := range p.Insns {
		word := []byte{byte(in.Imm), byte(in.Imm >> 8), byte(in.Imm >> 16), byte(in.Imm >> 24)}
		if in.Imm > 255 && printable(word[0]) {
			data = append(data, word...)
		} else if in.Imm != 0 {
			data = append(data, 0)
		}
	}
	return data
}

func printable(b byte) bool { return ' ' < b && b < 0x7f }

// texts are the runs of printable characters that begin with a slash or have three at least.
func texts(data []byte) (all []string) {
	for i := 0; i < len(data); {
		n := 0
		for i+n < len(data) && printable(data[i+n]) {
			n++
		}
		if n >= 3 || n > 0 && data[i] == '/' {
			all = append(all, string(data[i:min(i+n, i+1024)]))
		}
		i += n + 1
	}
	return all
}
