package policy

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/engine/trial"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// reference decides calls by walking over a Model, in the plainest way: what
// docs/POLICIES.md says, in Go.
type reference struct {
	m     *Model
	tasks map[int]*refThread
	tree  refState
	now   uint64
}

type refState struct {
	phase  int
	made   map[int]bool   // by order
	last   map[int]string // by flow
	counts map[int]uint64 // by limit
	taken  map[int]*refBucket
}

type refBucket struct{ taken, seen uint64 }

type refThread struct {
	refState
	proc *refState
	pid  int
}

func newRefState() refState {
	return refState{made: map[int]bool{}, last: map[int]string{}, counts: map[int]uint64{}, taken: map[int]*refBucket{}}
}

func (s *refState) clone() refState {
	c := newRefState()
	c.phase = s.phase
	for k, v := range s.made {
		c.made[k] = v
	}
	for k, v := range s.last {
		c.last[k] = v
	}
	for k, v := range s.counts {
		c.counts[k] = v
	}
	for k, v := range s.taken {
		b := *v
		c.taken[k] = &b
	}
	return c
}

func newReference(m *Model) *reference {
	p := newRefState()
	return &reference{m: m, tree: newRefState(), now: uint64(time.Second), tasks: map[int]*refThread{1: {newRefState(), &p, 1}}}
}

func (r *reference) of(o Owner, t *refThread) *refState {
	return map[Owner]*refState{Tree: &r.tree, Process: t.proc, Thread: &t.refState}[o]
}

func in(names []Name, call string) bool {
	for _, n := range names {
		if n.Text == call {
			return true
		}
	}
	return false
}

func holds(c *Condition, nr uint32, args [6]uint64) bool {
	if c == nil {
		return true
	}
	switch c.Op {
	case All:
		for i := range c.Sub {
			if !holds(&c.Sub[i], nr, args) {
				return false
			}
		}
		return true
	case Any:
		for i := range c.Sub {
			if holds(&c.Sub[i], nr, args) {
				return true
			}
		}
		return false
	case Not:
		return !holds(&c.Sub[0], nr, args)
	}
	a, _ := symbol.Find(nr, c.Arg)
	bits := c.Width
	if bits == 0 {
		bits = a.Bits()
	}
	mask := ^uint64(0) >> (64 - bits)
	v := args[a.Index] & mask
	w := func(i int) uint64 { return c.Values[i].Number & mask }
	equal := func(v uint64) bool {
		for i := range c.Values {
			if w(i) == v {
				return true
			}
		}
		return false
	}
	switch c.Compare {
	case Is:
		return equal(v)
	case IsNot:
		return !equal(v)
	case MaskedIs:
		return equal(v & c.Mask.Number)
	case Less:
		return v < w(0)
	case LessEqual:
		return v <= w(0)
	case Greater:
		return v > w(0)
	case GreaterEqual:
		return v >= w(0)
	case Between:
		return v >= w(0) && v <= w(1)
	case AllBits:
		return v&w(0) == w(0)
	case AnyBit:
		return v&w(0) != 0
	}
	return v&w(0) == 0
}

func or(a Action, e uint16) abi.Verdict {
	if a.Kind == NoAction {
		a = Action{Kind: Errno, Data: e}
	}
	return a.Verdict()
}

func (r *reference) decide(tid int, call string, nr uint32, args [6]uint64) abi.Verdict {
	v := or(r.m.Default, 1)
	for _, rule := range r.m.Rules {
		if in(rule.Calls, call) && holds(rule.If, nr, args) {
			v = rule.Action.Verdict()
			break
		}
	}
	if v != abi.Allow && v != abi.Log {
		return v
	}
	t := r.tasks[tid]
	if no := r.earlier(t, call); no != 0 {
		return no
	}
	for i, l := range r.m.Limits {
		if in(l.Calls, call) && holds(l.If, nr, args) && !r.take(r.of(l.Per, t), i, l) {
			return or(l.Action, map[bool]uint16{true: 1, false: 11}[l.Window == 0])
		}
	}
	r.happens(t, call, nr, args)
	return v
}

// earlier is what calls that were made have against one; 0 is nothing.
func (r *reference) earlier(t *refThread, call string) abi.Verdict {
	if len(r.m.Phases) > 0 {
		p := r.m.Phases[t.proc.phase]
		leads := false
		for _, n := range p.Next {
			leads = leads || in(n.On, call)
		}
		if !leads && (p.Deny == nil && !in(p.Allow, call) || p.Deny != nil && in(p.Deny, call)) {
			return or(p.Action, 1)
		}
	}
	for i, o := range r.m.Order {
		made := r.of(o.Per, t).made[i]
		if in(o.Calls, call) && made == (o.Kind != After) {
			return or(o.Action, 1)
		}
	}
	for i, f := range r.m.Flows {
		named, leads := false, false
		last := r.of(f.Per, t).last[i]
		if last == "" {
			last = Start
		}
		for _, e := range f.Edges {
			named = named || in(e.From, call) || in(e.To, call)
			leads = leads || in(e.From, last) && in(e.To, call)
		}
		if named && !leads {
			return or(f.Action, 1)
		}
	}
	return 0
}

func (r *reference) take(s *refState, i int, l Limit) bool {
	if l.Window == 0 {
		s.counts[i]++
		return s.counts[i] <= l.Max
	}
	b := s.taken[i]
	if b == nil {
		b = &refBucket{}
		s.taken[i] = b
	}
	burst := l.Burst
	if burst == 0 {
		burst = l.Max
	}
	gained := (r.now - b.seen) * l.Max
	b.seen = r.now
	if gained >= b.taken {
		b.taken = 0
	} else {
		b.taken -= gained
	}
	if b.taken+uint64(l.Window) > burst*uint64(l.Window) {
		return false
	}
	b.taken += uint64(l.Window)
	return true
}

func (r *reference) happens(t *refThread, call string, nr uint32, args [6]uint64) {
	for i, o := range r.m.Order {
		if in(o.Mark, call) || o.Kind == Once && in(o.Calls, call) {
			r.of(o.Per, t).made[i] = true
		}
	}
	for i, f := range r.m.Flows {
		for _, e := range f.Edges {
			if in(e.To, call) {
				r.of(f.Per, t).last[i] = call
			}
		}
	}
	if len(r.m.Phases) == 0 {
		return
	}
	for _, n := range r.m.Phases[t.proc.phase].Next {
		if !in(n.On, call) || !holds(n.If, nr, args) {
			continue
		}
		for i, p := range r.m.Phases {
			if p.Name == n.To {
				t.proc.phase = i
				return
			}
		}
	}
}

// drawn makes policies and calls by chance.
type drawn struct {
	*rand.Rand
	// depth is how deep a condition begins.
	depth int
}

// calls have arguments of 32 and of 64 bits, and no guard decides of them.
var drawnCalls = []string{"read", "close", "lseek", "socket", "mmap", "dup", "openat", "kill", "getpid", "fcntl"}

func (d drawn) names() []Name {
	var all []Name
	for n := 1 + d.Intn(4); n > 0; n-- {
		if c := drawnCalls[d.Intn(len(drawnCalls))]; !in(all, c) {
			all = append(all, Name{Text: c})
		}
	}
	return all
}

func (d drawn) number() uint64 {
	pool := []uint64{0, 1, 2, 3, 7, 8, 0x80000000, 0xffffffff, 0x7fffffff}
	return pool[d.Intn(len(pool))]
}

// wide is what a register may hold.
func (d drawn) wide() uint64 {
	v := d.number()
	if d.Intn(3) == 0 {
		v |= d.number() << 32
	}
	return v
}

func (d drawn) condition(depth int) *Condition {
	if depth < 3 && d.Intn(3) == 0 {
		c := &Condition{Op: Op(1 + d.Intn(3))}
		for n := 1 + d.Intn(3); n > 0 && (c.Op != Not || len(c.Sub) == 0); n-- {
			c.Sub = append(c.Sub, *d.condition(depth + 1))
		}
		return c
	}
	c := &Condition{Arg: fmt.Sprintf("arg%d", d.Intn(3)), Compare: Compare(d.Intn(11)), Width: []int{0, 0, 32, 64}[d.Intn(4)]}
	c.Values = []Value{{Number: d.number()}}
	switch c.Compare {
	case Is, IsNot:
		for d.Intn(2) == 0 {
			c.Values = append(c.Values, Value{Number: d.number()})
		}
	case MaskedIs:
		c.Mask.Number = d.number() | 1
		c.Values[0].Number &= c.Mask.Number
	case Between:
		c.Values = append(c.Values, Value{Number: c.Values[0].Number + d.number()})
		if c.Values[1].Number > 1<<32-1 {
			c.Values[1].Number = 1<<32 - 1
		}
	case AllBits, AnyBit, NoBit:
		c.Values[0].Number |= 4
	}
	return c
}

func (d drawn) maybe() *Condition {
	if d.Intn(2) == 0 {
		return nil
	}
	return d.condition(d.depth)
}

func (d drawn) action() Action {
	all := []Action{{Kind: Allow}, {Kind: Allow}, {Kind: Log}, {Kind: Errno, Data: 13}, {Kind: Kill}, {Kind: Errno, Data: 1}}
	return all[d.Intn(len(all))]
}

func (d drawn) refusal() Action {
	all := []Action{{}, {Kind: Errno, Data: uint16(2 + d.Intn(9))}, {Kind: Kill}}
	return all[d.Intn(len(all))]
}

func (d drawn) static() *Model {
	m := &Model{Default: d.action()}
	for n := d.Intn(8); n > 0; n-- {
		m.Rules = append(m.Rules, Rule{Action: d.action(), Calls: d.names(), If: d.maybe()})
	}
	return m
}

func (d drawn) owner() Owner { return Owner(d.Intn(3)) }

func (d drawn) stateful() *Model {
	m := d.static()
	m.Default = Action{Kind: Allow}
	for n := d.Intn(3); n > 0; n-- {
		l := Limit{Calls: d.names(), If: d.maybe(), Max: uint64(1 + d.Intn(4)), Per: d.owner(), Action: d.refusal()}
		if d.Intn(2) == 0 {
			l.Window, l.Burst = time.Duration(1+d.Intn(3))*time.Second, uint64(d.Intn(4))
		}
		m.Limits = append(m.Limits, l)
	}
	for n := d.Intn(3); n > 0; n-- {
		o := Order{Kind: OrderKind(d.Intn(3)), Calls: d.names(), Per: d.owner(), Action: d.refusal()}
		if o.Kind != Once {
			o.Mark = d.names()
		}
		m.Order = append(m.Order, o)
	}
	for n := d.Intn(2); n > 0; n-- {
		f := Flow{Per: d.owner(), Action: d.refusal(), Edges: []Edge{{From: []Name{{Text: Start}}, To: d.names()}}}
		for n := d.Intn(4); n > 0; n-- {
			f.Edges = append(f.Edges, Edge{From: d.names(), To: d.names()})
		}
		m.Flows = append(m.Flows, f)
	}
	names := []string{"a", "b", "c"}[:d.Intn(4)]
	for _, name := range names {
		p := Phase{Name: name, Action: d.refusal()}
		if d.Intn(2) == 0 {
			p.Allow = append(d.names(), d.names()...)
		} else {
			p.Deny = d.names()
		}
		for n := d.Intn(3); n > 0; n-- {
			p.Next = append(p.Next, Transition{On: d.names(), If: d.maybe(), To: names[d.Intn(len(names))]})
		}
		m.Phases = append(m.Phases, p)
	}
	return m
}

// made is a Model as a program that has been verified, and its tree.
func made(t *testing.T, m *Model) (*verify.Verified, *split.Tree) {
	t.Helper()
	read, err := Load("drawn.yaml", Write(m), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, Write(m))
	}
	p, err := Compile(read)
	if err != nil {
		t.Fatalf("%v\n%s", err, Write(m))
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, Write(m), listing(p))
	}
	return v, split.Split(v)
}

func world(t *testing.T, m *Model) (*trial.World, *split.Tree) {
	t.Helper()
	v, tree := made(t, m)
	w, err := trial.New([]trial.Filter{{Name: "policy", Verified: v, Tree: tree}})
	if err != nil {
		t.Fatalf("%v\n%s", err, Write(m))
	}
	return w, tree
}

// draws is how many policies are drawn.
const draws = 50

func (d drawn) call() (string, uint32, [6]uint64) {
	call := drawnCalls[d.Intn(len(drawnCalls))]
	nr, _ := syscalls.Number(call)
	return call, nr, [6]uint64{d.wide(), d.wide(), d.wide(), d.wide()}
}

// static tells whether a call is decided by the kernel alone, whatever its arguments.
func static(r split.Range) bool {
	if r.Decision == nil {
		return r.Leaf.Kind == split.Static
	}
	var all func(*split.Decision) bool
	all = func(d *split.Decision) bool {
		if d.Then == nil {
			return d.Leaf.Kind == split.Static
		}
		return all(d.Then) && all(d.Else)
	}
	return all(r.Decision)
}

func ask(t *testing.T, w *trial.World, tid int, nr uint32, args [6]uint64) abi.Verdict {
	t.Helper()
	c := &trial.Call{Data: abi.SeccompData{Nr: int32(nr), Arch: abi.ArchX86_64, Args: args}}
	events, err := w.Ask(tid, c)
	if err != nil {
		t.Fatal(err)
	}
	return events[len(events)-1].Verdict
}

// TestStaticPoliciesAgree: a policy of rules about numbers is decided by the kernel alone,
// as the reference decides it.
func TestStaticPoliciesAgree(t *testing.T) {
	for seed := int64(0); seed < draws; seed++ {
		d := drawn{rand.New(rand.NewSource(seed)), 1}
		m := d.static()
		w, tree := world(t, m)
		ref := newReference(m)
		for n := 0; n < 100; n++ {
			call, nr, args := d.call()
			if got, want := ask(t, w, 1, nr, args), ref.decide(1, call, nr, args); got != want {
				t.Fatalf("seed %d: %s%x: %v, the reference says %v\n%s", seed, call, args, got, want, Write(m))
			}
			if !static(tree.Find(abi.ArchX86_64, nr)) {
				t.Fatalf("seed %d: %s is not decided by the kernel alone\n%s", seed, call, Write(m))
			}
		}
	}
}

// TestStatefulPoliciesAgree: phases, orders, flows and limits do what the reference does,
// over forks, threads, execs and time.
func TestStatefulPoliciesAgree(t *testing.T) {
	for seed := int64(0); seed < draws; seed++ {
		d := drawn{rand.New(rand.NewSource(seed)), 0}
		m := d.stateful()
		w, _ := world(t, m)
		ref := newReference(m)
		story := ""
		for n := 0; n < 100; n++ {
			tid := 1 + d.Intn(len(ref.tasks))
			story += ref.happening(t, d, w, tid)
			call, nr, args := d.call()
			tid = 1 + d.Intn(len(ref.tasks))
			got, want := ask(t, w, tid, nr, args), ref.decide(tid, call, nr, args)
			story += fmt.Sprintf("%d: %s%x = %v, phase %d\n", tid, call, args[:3], want, ref.tasks[tid].proc.phase)
			if got != want {
				t.Fatalf("seed %d: %v, the reference says what is here last:\n%s\n%s", seed, got, story, Write(m))
			}
		}
	}
}

// happening is a fork, a thread, an exec, or time that passes, now and then.
func (r *reference) happening(t *testing.T, d drawn, w *trial.World, tid int) string {
	t.Helper()
	next := len(r.tasks) + 1
	of := r.tasks[tid]
	var err error
	switch k := d.Intn(30); {
	case k == 0 && next < 8:
		err = w.Fork(tid, next)
		p := of.proc.clone()
		r.tasks[next] = &refThread{newRefState(), &p, next}
		return fmt.Sprintf("fork %d %d %v\n", tid, next, err)
	case k == 1 && next < 8:
		err = w.Thread(tid, next)
		r.tasks[next] = &refThread{newRefState(), of.proc, of.pid}
		return fmt.Sprintf("thread %d %d %v\n", tid, next, err)
	case k == 2 && r.alone(of):
		return fmt.Sprintf("exec %d %v\n", tid, w.Exec(tid))
	case k < 6:
		step := time.Duration(d.Intn(2000)) * time.Millisecond
		w.Wait(step)
		r.now += uint64(step)
		return fmt.Sprintf("wait %v\n", step)
	}
	return ""
}

// alone tells whether a thread is its process's only one: an exec ends the others.
func (r *reference) alone(of *refThread) bool {
	n := 0
	for _, t := range r.tasks {
		if t.pid == of.pid {
			n++
		}
	}
	return n == 1
}
