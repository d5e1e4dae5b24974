package portcullis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/effect"
	"portcullis/internal/engine"
	"portcullis/internal/engine/trial"
	"portcullis/internal/event"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
)

// The results of a Diff: two stacks decide every call alike, which was proven; they differ
// about calls that were found; or neither could be told.
const (
	DiffSame    = "same"
	DiffDiffers = "differs"
	DiffUnknown = "unknown"
)

// Diff is how two stacks differ in what they do to calls.
type Diff struct {
	// Result is one of DiffSame, DiffDiffers and DiffUnknown.
	Result string `json:"result"`
	// Changes are the calls about which the kernel alone decides differently, or no longer,
	// or now.
	Changes []DiffChange `json:"changes,omitempty"`
	// Policy are the differences in state between policies, in their words.
	Policy []DiffTerm `json:"policy,omitempty"`
	// State is about the calls that both decide by state, where they are not proven to
	// decide alike; nil if there are none.
	State *DiffState `json:"state,omitempty"`
	// Incomplete are calls with so many differences that not all are in Changes.
	Incomplete []string `json:"incomplete,omitempty"`
	// TracedBefore and TracedAfter tell which stack takes a tracer, and its guards.
	TracedBefore bool `json:"traced_before,omitempty"`
	TracedAfter  bool `json:"traced_after,omitempty"`
}

// DiffChange is calls that are decided differently in the same way.
type DiffChange struct {
	// Calls are their names, Numbers those without one, such as "463-1023", Arch the table.
	Calls   []string `json:"calls,omitempty"`
	Numbers []string `json:"numbers,omitempty"`
	Arch    string   `json:"arch"`
	// When is the tests that their arguments pass, "" for all arguments.
	When string `json:"when,omitempty"`
	// Move is "allowed", "refused", "verdict", "static", "dynamic" or "leaf".
	Move string `json:"move"`
	// Before and After are verdicts, or the leaf ("notify", "trace") that decides by state.
	Before string `json:"before"`
	After  string `json:"after"`
	// Witness is one of the calls, in the form of test files. Both stacks were asked
	// about it, unless Unproven, where it could not be told whether there is one.
	Witness  string `json:"witness,omitempty"`
	Unproven bool   `json:"unproven,omitempty"`
}

// DiffTerm is a difference in state between two policies.
type DiffTerm struct {
	// Calls are those that it is about.
	Calls []string `json:"calls"`
	// Entry is the part of the policy, such as `phase "serve"` or "limit", and What how it
	// differs.
	Entry string `json:"entry"`
	What  string `json:"what"`
	// Allows is "more", "less" or "other": what the second allows, beside the first.
	Allows string `json:"allows"`
	// Steps lead to a call that both stacks were asked about, and that they answer as Before
	// and After say; nil if none was found that shows the difference.
	Steps  []string `json:"steps,omitempty"`
	Before string   `json:"before,omitempty"`
	After  string   `json:"after,omitempty"`
}

// DiffState is what trials say about calls that are decided by state.
type DiffState struct {
	Calls []string `json:"calls"`
	// Trials is how many were to be made, Directed how many were made besides, along what the
	// filters name.
	Trials   int `json:"trials"`
	Directed int `json:"directed,omitempty"`
	// Steps lead to a call that is answered differently, in the form of test files, maybe those
	// of a term of the policies; nil if no trial found any. Before and After are the answers.
	Steps  []string `json:"steps,omitempty"`
	Before string   `json:"before,omitempty"`
	After  string   `json:"after,omitempty"`
}

// DefaultTrials is how many trials Compare is usually given.
const DefaultTrials = 200

// Compare says how the stack after differs from the stack before, by effect. What static
// decisions say is compared exactly, on the running kernel's guards but for those that are
// left out of both, as by Cmd.Lift. What is decided by state is the same only where the
// programs are, and else tried so many times, with all guards. The error is that of a filter
// that cannot be verified or enforced, or of a guard that cannot be left out.
func Compare(before, after []*Filter, trials int, lift ...string) (*Diff, error) {
	x, err := treesOf(before)
	if err != nil {
		return nil, err
	}
	y, err := treesOf(after)
	if err != nil {
		return nil, err
	}
	o := prefilter.Options{Slots: engine.Slots()}
	for _, g := range lift {
		o.Lift = append(o.Lift, prefilter.Guard(g))
	}
	r, err := effect.Compare(x, y, o)
	if err != nil {
		return nil, err
	}
	d := &Diff{TracedBefore: r.TracedBefore, TracedAfter: r.TracedAfter, Incomplete: effect.Names(r.Incomplete)}
	for _, g := range r.Groups() {
		d.Changes = append(d.Changes, changeOf(&g))
	}
	t := trialsOf(r, before, after, append(x, y...))
	if d.Policy, err = tryTerms(t, effect.Terms(sides(before), sides(after), r), trials); err != nil {
		return nil, err
	}
	if len(r.Open) > 0 {
		d.State, err = tryState(t, d.Policy, trials)
	}
	d.Result = d.result(r.Same())
	return d, err
}

func treesOf(fs []*Filter) (trees []*split.Tree, err error) {
	stack, err := newStack(fs)
	if err != nil {
		return nil, err
	}
	for _, f := range stack.Filters {
		trees = append(trees, f.Tree)
	}
	return trees, nil
}

func (d *Diff) result(same bool) string {
	if same {
		return DiffSame
	}
	for _, c := range d.Changes {
		if !c.Unproven {
			return DiffDiffers
		}
	}
	if d.State != nil && d.State.Steps != nil {
		return DiffDiffers
	}
	return DiffUnknown
}

func changeOf(g *effect.Group) DiffChange {
	c := DiffChange{
		Calls: g.Calls, Numbers: g.Numbers.Strings(), Arch: g.Change.Arch.String(), When: g.When, Move: g.Change.Move(),
		Before: g.Change.Before.String(), After: g.Change.After.String(), Unproven: g.Change.Unproven,
	}
	if !c.Unproven {
		c.Witness = writtenCall(&effect.Call{Data: g.Change.Witness})
	}
	return c
}

// maxTime is how long the terms of policies are tried to be shown, and how long directed trials
// may take. It takes hostile filters to need it: others have made all of them before.
const maxTime = 10 * time.Second

// lasting tells when so much time has passed from now on.
func lasting(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// trialsOf are trials of what two stacks decide by state.
func trialsOf(r *effect.Report, before, after []*Filter, all []*split.Tree) *effect.Trials {
	return &effect.Trials{
		Before: worldOf(before), After: worldOf(after), Open: r.Open, Words: effect.WordsOf(all...),
		Named: effect.Named(all...),
	}
}

// sides are filters with the policies that they were made of.
func sides(fs []*Filter) (all []effect.Side) {
	for _, f := range fs {
		all = append(all, effect.Side{Tree: f.tree, Model: f.model})
	}
	return all
}

// tryTerms has each difference between policies shown by calls, unless there are to be no trials.
func tryTerms(t *effect.Trials, terms []effect.Term, n int) (all []DiffTerm, err error) {
	t.Over = lasting(maxTime)
	for i := range terms {
		m := &terms[i]
		d := DiffTerm{Calls: m.Calls, Entry: m.Entry, What: m.What, Allows: string(m.Allows)}
		var w *effect.Witness
		if n > 0 {
			if w, err = t.Confirm(m); err != nil {
				return nil, err
			}
		}
		if w != nil {
			d.Steps, d.Before, d.After = written(w.Steps), event.Verdict(w.Before), event.Verdict(w.After)
		}
		all = append(all, d)
	}
	return all, nil
}

// tryState looks for a difference in what is decided by state, unless one has been found.
func tryState(t *effect.Trials, found []DiffTerm, n int) (*DiffState, error) {
	s := &DiffState{Calls: effect.Names(t.Open), Trials: n}
	for _, d := range found {
		if d.Steps != nil {
			s.Steps, s.Before, s.After = d.Steps, d.Before, d.After
			return s, nil
		}
	}
	t.Over = nil
	w, err := t.Run(n)
	t.Over = lasting(maxTime)
	if w == nil && err == nil && n > 0 {
		w, s.Directed, err = t.Directed()
	}
	if w != nil {
		s.Steps, s.Before, s.After = written(w.Steps), event.Verdict(w.Before), event.Verdict(w.After)
	}
	return s, err
}

func worldOf(fs []*Filter) func() (effect.World, error) {
	return func() (effect.World, error) {
		w, err := newWorld(fs)
		return tried{w}, err
	}
}

// tried is a world of package trial as trials of package effect have it.
type tried struct{ *trial.World }

// Ask is the verdict on a call.
func (t tried) Ask(tid int, c *effect.Call) (abi.Verdict, error) {
	events, err := t.World.Ask(tid, &trial.Call{Data: c.Data, Text: c.Text})
	if err != nil {
		return 0, err
	}
	return events[len(events)-1].Verdict, nil
}

// Do has something happen to a task.
func (t tried) Do(s *effect.Step) error {
	switch s.Event {
	case effect.Forks:
		return t.Fork(s.Tid, s.Child)
	case effect.Spawns:
		return t.Thread(s.Tid, s.Child)
	case effect.Execs:
		return t.Exec(s.Tid)
	}
	t.Wait(s.Time)
	return nil
}

// written is steps as lines of a test file; the same call again and again is one.
func written(steps []effect.Step) (lines []string) {
	last, times := "", 0
	flush := func() {
		if times > 1 {
			last += fmt.Sprintf(" x%d", times)
		}
		if times > 0 {
			lines = append(lines, last)
		}
		last, times = "", 0
	}
	for i := range steps {
		line := writtenStep(&steps[i])
		if line != last || steps[i].Event != effect.Asked {
			flush()
		}
		last, times = line, times+1
	}
	flush()
	return lines
}

func writtenStep(s *effect.Step) string {
	switch s.Event {
	case effect.Forks:
		return fmt.Sprintf("fork %d %d", s.Tid, s.Child)
	case effect.Spawns:
		return fmt.Sprintf("thread %d %d", s.Tid, s.Child)
	case effect.Execs:
		return fmt.Sprintf("exec %d", s.Tid)
	case effect.Waiting:
		return "wait " + s.Time.Round(time.Millisecond).String()
	}
	if s.Tid == 1 {
		return writtenCall(&s.Call)
	}
	return fmt.Sprintf("%d: %s", s.Tid, writtenCall(&s.Call))
}

// writtenCall is a call in the form of test files, without arguments at the end that are 0.
func writtenCall(c *effect.Call) string {
	var args []string
	for i, v := range c.Data.Args {
		if c.Text[i] != nil {
			args = append(args, strconv.Quote(*c.Text[i]))
		} else {
			args = append(args, fmt.Sprintf("%#x", v))
		}
	}
	for len(args) > 0 && args[len(args)-1] == "0x0" {
		args = args[:len(args)-1]
	}
	name, ok := syscalls.Name(uint32(c.Data.Nr))
	switch {
	case c.Data.Arch == abi.ArchI386:
		name = fmt.Sprintf("i386 %d", uint32(c.Data.Nr))
	case !ok:
		name = fmt.Sprint(uint32(c.Data.Nr))
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}
