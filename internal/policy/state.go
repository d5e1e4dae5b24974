package policy

import (
	"fmt"
	"math/bits"
	"sort"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
)

// state is what of a Model needs state: names resolved, and a place in memory for each.
type state struct {
	programs []program
	// executed is where the process's set of programs is.
	executed int16
	phases   []phase
	orders   []order
	flows    []flow
	limits   []limit
	apart    []apart
	// stores are where Tree's, Process's and Thread's state is.
	stores [3]store
}

// store is the memory of an owner: 64 bits for each state.
type store struct {
	m    *prog.Map
	used uint32
}

// place takes 64 bits of an owner's memory.
func (s *store) place() int16 {
	at := s.used
	s.used += 8
	s.m.ValueSize = s.used
	if s.m.Contents != nil {
		s.m.Contents = make([]byte, s.used)
	}
	return int16(at)
}

// maxStates is how many limits, orders and flows there may be, and how many serializations.
const maxStates = 256

type program struct {
	*Program
	in *callset // the calls that are left
}

type phase struct {
	*Phase
	in   *callset // the calls of the phase, those that lead out of it among them
	next []next
}

type next struct {
	*Transition
	on *callset
	to int
}

type order struct {
	*Order
	judged, marks *callset
	at            int16
}

type flow struct {
	*Flow
	// nodes are kinds of calls: those of one have the same edges. in says for each after
	// which it may be, bit 0 for the start.
	of map[uint32]int
	in []uint64
	at int16
}

type limit struct {
	*Limit
	calls *callset
	at    int16
	// bucket is the map of one with a window, window its time in nanoseconds.
	bucket *prog.Map
	window uint64
}

type apart struct {
	*Serialize
	first, second *callset
}

func newState(c *compiler) (*state, error) {
	s := &state{}
	s.stores[Tree].m = &prog.Map{Name: ".bss", Type: prog.Array, KeySize: 4, MaxEntries: 1, Contents: []byte{}, SpinLock: -1}
	s.stores[Process].m = storage("process", prog.FlagClone)
	s.stores[Thread].m = storage("thread", 0)
	if n := len(c.m.Limits) + len(c.m.Order) + len(c.m.Flows); n > maxStates {
		return nil, Wrong(c.m.Pos, "", "%d limits, orders and flows: expected at most %d", n, maxStates)
	}
	if n := len(c.m.Serialize); n > maxStates {
		return nil, Wrong(c.m.Serialize[maxStates].Pos, "", "%d serializations: expected at most %d", n, maxStates)
	}
	for _, add := range []func(*compiler) error{s.addPhases, s.addPrograms, s.addOrders, s.addFlows, s.addLimits, s.addApart} {
		if err := add(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func storage(name string, flags uint32) *prog.Map {
	return &prog.Map{Name: name, Type: prog.TaskStorage, KeySize: 4, Flags: prog.FlagNoPrealloc | flags, SpinLock: -1}
}

// maxPhases is how many phases fit into a word of bits.
const maxPhases = 32

func (s *state) addPhases(c *compiler) error {
	index := map[string]int{}
	for i := range c.m.Phases {
		p := &c.m.Phases[i]
		if _, twice := index[p.Name]; twice || i >= maxPhases {
			return Wrong(p.Pos, "", "phase %s: expected at most %d phases with a name each", Shown(p.Name), maxPhases)
		}
		index[p.Name] = i
	}
	for i := range c.m.Phases {
		p := phase{Phase: &c.m.Phases[i]}
		if err := p.resolve(c.names, index); err != nil {
			return err
		}
		s.phases = append(s.phases, p)
	}
	if len(s.phases) > 1 {
		s.stores[Process].place() // at 0
	}
	return nil
}

// maxPrograms is how many fit into a word of bits that an instruction can have.
const maxPrograms = 31

func (s *state) addPrograms(c *compiler) error {
	if n := len(c.m.Programs); n > maxPrograms {
		return Wrong(c.m.Programs[n-1].Pos, "", "%d programs: expected at most %d", n, maxPrograms)
	}
	for i := range c.m.Programs {
		p := program{Program: &c.m.Programs[i]}
		var err error
		if p.in, err = allowed(c.names, p.Allow, p.Deny); err != nil {
			return err
		}
		s.programs = append(s.programs, p)
	}
	if len(s.programs) > 0 {
		s.executed = s.stores[Process].place()
	}
	return nil
}

// allowed is the set of calls that are in one list, or not in the other.
func allowed(names *resolver, allow, deny []Name) (*callset, error) {
	in, err := names.calls(allow)
	if err != nil || deny == nil {
		return in, err
	}
	out, err := names.calls(deny)
	if err != nil {
		return nil, err
	}
	all := *in
	for i := range all {
		all[i] = ^out[i]
	}
	return &all, nil
}

func (p *phase) resolve(names *resolver, index map[string]int) error {
	set, err := allowed(names, p.Allow, p.Deny)
	if err != nil {
		return err
	}
	in := *set
	for i := range p.Next {
		t := next{Transition: &p.Next[i]}
		var ok bool
		if t.to, ok = index[t.To]; !ok {
			return Wrong(t.Pos, "", "there is no phase %s", Shown(t.To))
		}
		if t.on, err = names.calls(t.On); err != nil {
			return err
		}
		in.union(t.on)
		p.next = append(p.next, t)
	}
	p.in = &in
	return nil
}

func (s *state) addOrders(c *compiler) error {
	for i := range c.m.Order {
		o := order{Order: &c.m.Order[i]}
		var err error
		if o.judged, err = c.names.calls(o.Calls); err != nil {
			return err
		}
		o.marks = o.judged
		if o.Kind != Once {
			if o.marks, err = c.names.calls(o.Mark); err != nil {
				return err
			}
		}
		o.at = s.stores[o.Per].place()
		s.orders = append(s.orders, o)
	}
	return nil
}

// maxNodes is how many kinds of calls a flow may tell apart: bits of a word, but one.
const maxNodes = 63

func (s *state) addFlows(c *compiler) error {
	edges := 0
	for i := range c.m.Flows {
		f := flow{Flow: &c.m.Flows[i]}
		if edges += len(f.Edges); edges > maxItems {
			return Wrong(f.Pos, "", "flows of %d edges: expected at most %d", edges, maxItems)
		}
		if err := f.resolve(c.names); err != nil {
			return err
		}
		f.at = s.stores[f.Per].place()
		s.flows = append(s.flows, f)
	}
	return nil
}

// resolve finds the nodes of the graph: calls that the same edges lead to and from.
func (f *flow) resolve(names *resolver) error {
	type edge struct{ from, to *callset }
	var edges []edge
	start := make([]bool, len(f.Edges))
	all := &callset{}
	for i, e := range f.Edges {
		var from []Name
		for _, n := range e.From {
			if n.Text == Start {
				start[i] = true
			} else {
				from = append(from, n)
			}
		}
		a, err := names.calls(from)
		if err != nil {
			return err
		}
		b, err := names.calls(e.To)
		if err != nil {
			return err
		}
		edges = append(edges, edge{a, b})
		all.union(a)
		all.union(b)
	}
	// Calls that are in the same ends of the same edges are one node.
	f.of = map[uint32]int{}
	nodes := map[string]int{}
	var firsts []uint32
	for _, nr := range all.numbers() {
		key := make([]byte, 0, 2*len(edges))
		for _, e := range edges {
			key = append(key, e.from.bit(nr), e.to.bit(nr))
		}
		n, ok := nodes[string(key)]
		if !ok {
			n = len(nodes)
			nodes[string(key)] = n
			firsts = append(firsts, nr)
		}
		f.of[nr] = n
	}
	if len(firsts) > maxNodes {
		return Wrong(f.Pos, "make two flows of it", "the flow tells %d kinds of calls apart: expected at most %d", len(firsts), maxNodes)
	}
	for _, to := range firsts {
		var in uint64
		for i, e := range edges {
			if !e.to.has(to) {
				continue
			}
			if start[i] {
				in |= 1
			}
			for n, from := range firsts {
				if e.from.has(from) {
					in |= 1 << (n + 1)
				}
			}
		}
		f.in = append(f.in, in)
	}
	return nil
}

// maxTokens bounds the size of a bucket, so that sums of times and tokens do not wrap.
const maxTokens = 1 << 62

// maxWindows is how many limits may have a window: each has a map, of which the kernel takes 64 with
// those of the rest of the policy.
const maxWindows = 56

func (s *state) addLimits(c *compiler) error {
	windows := 0
	for i := range c.m.Limits {
		if c.m.Limits[i].Window != 0 {
			windows++
		}
		if windows > maxWindows {
			return Wrong(c.m.Limits[i].Pos, "count calls together, or leave windows out", "more than %d limits with a window", maxWindows)
		}
		l := limit{Limit: &c.m.Limits[i]}
		var err error
		if l.calls, err = c.names.calls(l.Calls); err != nil {
			return err
		}
		if l.Limit.Window == 0 {
			l.at = s.stores[l.Per].place()
		} else if err := l.makeBucket(i); err != nil {
			return err
		}
		s.limits = append(s.limits, l)
	}
	return nil
}

// Layout of a bucket: what is taken, when that was right, and a lock. Zeroed it is full.
const (
	bucketTaken = 0
	bucketSeen  = 8
	bucketLock  = 16
	bucketSize  = 24
)

func (l *limit) makeBucket(i int) error {
	if l.Burst == 0 {
		l.Burst = l.Max
	}
	l.window = uint64(l.Limit.Window)
	if l.Burst == 0 {
		return Wrong(l.Pos, "leave the window out", "a limit of no call at all has no window")
	}
	if high, full := bits.Mul64(l.Burst, l.window); high != 0 || full > maxTokens-2*l.window || l.Max > maxTokens {
		return Wrong(l.Pos, "take a shorter window", "a burst of %d in %v is too large to be counted", l.Burst, l.Limit.Window)
	}
	name := fmt.Sprintf("bucket%d", i)
	switch l.Per {
	case Tree:
		l.bucket = &prog.Map{Name: name, Type: prog.Array, KeySize: 4, MaxEntries: 1}
	case Process:
		l.bucket = storage(name, prog.FlagClone)
	default:
		l.bucket = storage(name, 0)
	}
	l.bucket.ValueSize, l.bucket.SpinLock = bucketSize, bucketLock
	return nil
}

// maxWaits is for how many calls one may wait.
const maxWaits = 32

func (s *state) addApart(c *compiler) error {
	for i := range c.m.Serialize {
		a := apart{Serialize: &c.m.Serialize[i]}
		var err error
		if a.first, err = c.names.calls(a.First); err != nil {
			return err
		}
		if a.second, err = c.names.calls(a.Second); err != nil {
			return err
		}
		for _, set := range []*callset{a.first, a.second} {
			if err := a.check(set); err != nil {
				return err
			}
		}
		s.apart = append(s.apart, a)
	}
	return nil
}

// check refuses a list that cannot be waited for.
func (a *apart) check(set *callset) error {
	all := set.numbers()
	if len(all) > maxWaits {
		return Wrong(a.Pos, "", "a call would wait for %d others: expected at most %d", len(all), maxWaits)
	}
	for _, nr := range all {
		if abi.Dependent(nr) && !a.Any {
			name, _ := syscalls.Name(nr)
			return Wrong(a.Pos, "leave it out, or say any: true", "the end of %s may depend on who waits for it", name)
		}
	}
	return nil
}

// steps is what state asks of one call, each with what it asks.
type steps struct {
	programs programStep
	phase    *phaseStep
	orders   []orderStep
	flows    []flowStep
	limits   []limitStep
	waits    []wait
}

// programStep is the part of programs in a call.
type programStep struct {
	denied []int   // by which it is
	tests  []*test // whether it executes each; nil for calls that execute nothing
}

// phaseStep is the part of phases in a call.
type phaseStep struct {
	in    uint32 // bit i: it is of phase i
	moves []move
}

// move is a transition of a phase, in order.
type move struct {
	from, to int
	at       Pos
	test     *test
}

type orderStep struct {
	*order
	index         int
	judged, marks bool
}

type flowStep struct {
	*flow
	index, node int
}

type limitStep struct {
	*limit
	index int
	test  *test
}

type wait struct {
	nr  uint32
	any bool
	at  Pos
}

func (s *steps) empty() bool {
	return len(s.programs.denied) == 0 && s.programs.tests == nil && s.phase == nil && len(s.orders) == 0 && len(s.flows) == 0 && len(s.limits) == 0 && len(s.waits) == 0
}

// key tells steps apart.
func (s *steps) key() string {
	var b strings.Builder
	fmt.Fprint(&b, s.programs.denied)
	for _, t := range s.programs.tests {
		b.WriteString(t.key())
	}
	if p := s.phase; p != nil {
		fmt.Fprint(&b, "phase", p.in)
		for _, m := range p.moves {
			fmt.Fprint(&b, " ", m.from, m.to, m.at)
			if m.test != nil {
				b.WriteString(m.test.key())
			}
		}
	}
	for _, o := range s.orders {
		fmt.Fprint(&b, " order", o.index, o.judged, o.marks)
	}
	for _, f := range s.flows {
		fmt.Fprint(&b, " flow", f.index, " ", f.node)
	}
	for _, l := range s.limits {
		fmt.Fprint(&b, " limit", l.index)
		if l.test != nil {
			b.WriteString(l.test.key())
		}
	}
	for _, w := range s.waits {
		fmt.Fprint(&b, " wait", w.nr, w.any)
	}
	return b.String()
}

// of is what is asked of a call.
func (s *state) of(c *compiler, nr uint32) (*steps, error) {
	all := &steps{}
	for i := range s.orders {
		o := &s.orders[i]
		if step := (orderStep{o, i, o.judged.has(nr), o.marks.has(nr)}); step.judged || step.marks {
			all.orders = append(all.orders, step)
		}
	}
	for i := range s.flows {
		if node, ok := s.flows[i].of[nr]; ok {
			all.flows = append(all.flows, flowStep{&s.flows[i], i, node})
		}
	}
	for i := range s.limits {
		l := &s.limits[i]
		if !l.calls.has(nr) {
			continue
		}
		t, err := optional(c, l.If, nr)
		if err != nil {
			return nil, err
		}
		all.limits = append(all.limits, limitStep{l, i, t})
	}
	all.waits = s.waits(nr)
	if err := s.programsOf(c, nr, &all.programs); err != nil {
		return nil, err
	}
	return all, s.phaseOf(c, nr, all)
}

func optional(c *compiler, cond *Condition, nr uint32) (*test, error) {
	if cond == nil {
		return nil, nil
	}
	return c.resolve(cond, nr)
}

// programsOf finds the part of programs.
func (s *state) programsOf(c *compiler, nr uint32, step *programStep) error {
	name, _ := syscalls.Name(nr)
	for i := range s.programs {
		p := &s.programs[i]
		if !p.in.has(nr) {
			step.denied = append(step.denied, i)
		}
		if name != "execve" && name != "execveat" {
			continue
		}
		t, err := c.resolve(&Condition{Pos: p.Pos, Subject: Path, Arg: "path", Values: p.Paths}, nr)
		if err != nil {
			return err
		}
		step.tests = append(step.tests, t)
	}
	return nil
}

// phaseOf finds the part of phases, if it has one.
func (s *state) phaseOf(c *compiler, nr uint32, all *steps) error {
	p := &phaseStep{}
	for i := range s.phases {
		if s.phases[i].in.has(nr) {
			p.in |= 1 << i
		}
		for _, n := range s.phases[i].next {
			if !n.on.has(nr) {
				continue
			}
			t, err := optional(c, n.If, nr)
			if err != nil {
				return err
			}
			p.moves = append(p.moves, move{i, n.to, n.Pos, t})
			if t == nil {
				break
			}
		}
		p.dropStays(i)
	}
	if len(s.phases) > 0 && (p.in != 1<<len(s.phases)-1 || len(p.moves) > 0) {
		all.phase = p
	}
	return nil
}

// dropStays takes out the last ways of a phase that lead back to it: nothing comes of them.
// Those in front of others keep those from being taken.
func (p *phaseStep) dropStays(phase int) {
	for n := len(p.moves); n > 0 && p.moves[n-1].from == phase && p.moves[n-1].to == phase; n-- {
		p.moves = p.moves[:n-1]
	}
}

func (s *state) waits(nr uint32) []wait {
	var all []wait
	for _, a := range s.apart {
		for _, side := range [][2]*callset{{a.first, a.second}, {a.second, a.first}} {
			if !side[0].has(nr) {
				continue
			}
			for _, target := range side[1].numbers() {
				all = append(all, wait{target, a.Any, a.Pos})
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].nr < all[j].nr })
	kept := all[:0]
	for i, w := range all {
		if i == 0 || w.nr != all[i-1].nr {
			kept = append(kept, w)
		}
	}
	return kept
}
