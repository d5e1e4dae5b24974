package cbpf

import "portcullis/internal/abi"

// Pass is one optimisation. It keeps what the program returns for every input.
type Pass struct {
	// Name says what the pass does.
	Name string
	run  func(graph)
}

// Passes is the optimiser, in the order in which its passes help each other.
func Passes() []Pass {
	return []Pass{
		{"thread jumps", threadJumps},
		{"decide tests", decideTests},
		{"drop known loads", dropKnownLoads},
		{"drop dead writes", dropDeadWrites},
		{"merge tails", mergeTails},
		{"thread merged jumps", threadJumps},
	}
}

// Optimise applies Passes to p. It returns p where that gains nothing or where
// the kernel would not take the result: its check of scratch memory depends on
// the order of instructions.
func Optimise(p Program) Program {
	g := lift(p)
	for _, pass := range Passes() {
		pass.run(g)
	}
	q, err := Validate(g.link())
	if err != nil || q.Len() > p.Len() {
		return p
	}
	return q
}

// threadJumps leads edges past jumps and past tests that do not matter.
func threadJumps(g graph) {
	for i := len(g) - 1; i >= 0; i-- {
		g.thread(i)
	}
}

// thread does so for the edges of node i.
func (g graph) thread(i int) {
	n := &g[i]
	switch {
	case n.in.isRet():
	case !n.in.isCond():
		n.t = g.follow(n.t)
	default:
		if n.t, n.f = g.follow(n.t), g.follow(n.f); n.t == n.f {
			*n = jump(n.t)
		}
	}
}

func (g graph) follow(i int) int {
	for g[i].in.Op == Ja {
		i = g[i].t
	}
	return i
}

func jump(to int) node { return node{in: Insn{Op: Ja}, t: to, f: to} }

// span is what is known of A: lo <= A <= hi. The zero span, with known unset,
// is that of a node not reached yet.
type span struct {
	lo, hi uint32
	known  bool
}

func anything() span { return span{0, ^uint32(0), true} }

func (s span) join(o span) span {
	if !s.known {
		return o
	}
	if o.lo < s.lo {
		s.lo = o.lo
	}
	if o.hi > s.hi {
		s.hi = o.hi
	}
	return s
}

// decideTests leads an edge past a test whose outcome is known on that edge.
// A test changes nothing, so whoever skips it arrives in the same state.
func decideTests(g graph) {
	if len(g) == 0 {
		return
	}
	facts := make([]span, len(g))
	facts[0] = span{known: true} // the kernel clears A
	for i := range g {
		if !facts[i].known || g[i].in.isRet() {
			continue
		}
		n := &g[i]
		if !n.in.isCond() {
			after := facts[i].after(n.in)
			n.t = g.decide(n.t, &after)
			facts[n.t] = facts[n.t].join(after)
			continue
		}
		g.decideBranch(n, facts, facts[i])
	}
}

// decideBranch treats both edges of the conditional jump n. An edge that
// cannot be taken goes where the other one does.
func (g graph) decideBranch(n *node, facts []span, s span) {
	yes, canYes := s.where(n.in, true)
	no, canNo := s.where(n.in, false)
	if canYes {
		n.t = g.decide(n.t, &yes)
		facts[n.t] = facts[n.t].join(yes)
	}
	if canNo {
		n.f = g.decide(n.f, &no)
		facts[n.f] = facts[n.f].join(no)
	}
	switch {
	case !canYes:
		n.t = n.f
	case !canNo:
		n.f = n.t
	}
}

// decide follows the edge to i for as long as s decides the tests on it.
func (g graph) decide(i int, s *span) int {
	for g[i].in.Op == Ja || g[i].in.isCond() {
		if g[i].in.Op == Ja {
			i = g[i].t
			continue
		}
		yes, canYes := s.where(g[i].in, true)
		no, canNo := s.where(g[i].in, false)
		switch {
		case canYes == canNo:
			return i
		case canYes:
			i, *s = g[i].t, yes
		default:
			i, *s = g[i].f, no
		}
	}
	return i
}

// after is what is known of A once in, which is no jump, has run.
func (s span) after(in Insn) span {
	switch in.Op {
	case LdImm:
		return span{in.K, in.K, true}
	case LdLen:
		return span{abi.DataSize, abi.DataSize, true}
	case AndK:
		return span{0, in.K, true}
	}
	if in.writes()&regA == 0 {
		return s
	}
	return anything()
}

// where is what is known of A on one edge of the conditional jump in, and
// whether that edge can be taken at all.
func (s span) where(in Insn, outcome bool) (span, bool) {
	op, k := in.Op, in.K
	if op&srcX != 0 || op == JsetK {
		return s, true
	}
	if op == JgtK { // A > k is A >= k+1; nothing is above the largest
		if k == ^uint32(0) {
			return s, !outcome
		}
		op, k = JgeK, k+1
	}
	switch {
	case op == JeqK && outcome:
		return span{k, k, true}, s.lo <= k && k <= s.hi
	case op == JeqK:
		return s.without(k)
	case outcome:
		if s.lo < k {
			s.lo = k
		}
		return s, s.lo <= s.hi
	case k == 0:
		return s, false
	}
	if s.hi > k-1 {
		s.hi = k - 1
	}
	return s, s.lo <= s.hi
}

// without takes k away where it is an end of s.
func (s span) without(k uint32) (span, bool) {
	switch {
	case s.lo == s.hi:
		return s, s.lo != k
	case s.lo == k:
		s.lo++
	case s.hi == k:
		s.hi--
	}
	return s, true
}

// held says that A is a field under a mask; the zero held is for nodes not reached
// yet, one without a mask for anything else.
type held struct {
	field, mask uint32
	known       bool
}

func (h held) after(in Insn) held {
	switch {
	case in.Op == LdAbs:
		return held{in.K, ^uint32(0), true}
	case in.Op == AndK:
		h.mask &= in.K
		return h
	case in.writes()&regA != 0:
		return held{known: true}
	}
	return h
}

// dropKnownLoads drops the load of a field that A holds already on every path, with
// the mask behind it.
func dropKnownLoads(g graph) {
	holds := make([]held, len(g))
	if len(g) > 0 {
		holds[0].known = true
	}
	for i := range g {
		if !holds[i].known {
			continue
		}
		n := &g[i]
		if to, ok := g.holdsAfter(i, holds[i]); ok {
			*n = jump(to)
		}
		has := holds[i].after(n.in)
		for _, s := range n.successors() {
			if !holds[s].known {
				holds[s] = has
			} else if holds[s] != has {
				holds[s] = held{known: true}
			}
		}
	}
}

// holdsAfter tells after which node A is what it was before the load i.
func (g graph) holdsAfter(i int, h held) (to int, ok bool) {
	n := g[i]
	if n.in.Op != LdAbs || h.mask == 0 || h.field != n.in.K {
		return 0, false
	}
	if h.mask == ^uint32(0) {
		return n.t, true
	}
	next := g.follow(n.t)
	return g[next].t, g[next].in.Op == AndK && g[next].in.K == h.mask
}

// Sets of state: a bit for each scratch cell, then A and X.
const (
	regA = 1 << (MemWords + iota)
	regX
)

func (in Insn) writes() uint32 {
	switch {
	case in.Op == St || in.Op == Stx:
		return 1 << in.K
	case in.Op&classMask == classLdx || in.Op == Tax:
		return regX
	case in.Op&classMask == classLd, in.Op&classMask == classAlu, in.Op == Txa:
		return regA
	}
	return 0
}

func (in Insn) reads() uint32 {
	var set uint32
	switch class := in.Op & classMask; {
	case in.Op == LdMem || in.Op == LdxMem:
		return 1 << in.K
	case in.Op == Stx || in.Op == Txa:
		return regX
	case class == classAlu, in.isCond(), in.Op == St, in.Op == Tax, in.Op == RetA:
		set = regA
	}
	if in.Op&srcX != 0 && (in.Op&classMask == classAlu || in.isCond()) {
		set |= regX
	}
	return set
}

// dropDeadWrites drops what writes only state that no path reads, and the tests
// that this makes pointless. Division by X stays: it can end the program.
func dropDeadWrites(g graph) {
	live := make([]uint32, len(g))
	for i := len(g) - 1; i >= 0; i-- {
		g.thread(i)
		n := &g[i]
		var after uint32
		for _, s := range n.successors() {
			after |= live[s]
		}
		w := n.in.writes()
		if w != 0 && w&after == 0 && n.in.Op != DivX {
			*n = jump(n.t)
			live[i] = after
			continue
		}
		live[i] = after&^w | n.in.reads()
	}
}

// mergeTails leads all edges to equal nodes with equal successors to the last
// of them, from the end up, which merges whole common tails. The last one keeps
// edges pointing forward.
func mergeTails(g graph) {
	same := make([]int, len(g))
	last := make(map[node]int, len(g))
	for i := len(g) - 1; i >= 0; i-- {
		n := &g[i]
		switch {
		case n.in.isRet():
			n.t, n.f = 0, 0
		case n.in.isCond():
			n.t, n.f = same[n.t], same[n.f]
		default:
			n.t, n.f = same[n.t], 0
		}
		same[i] = i
		if twin, ok := last[*n]; ok {
			same[i] = twin
		} else {
			last[*n] = i
		}
	}
}
