package cbpf

// graph is a program whose instructions name their successors, so that passes
// need not count distances. Every successor has a larger index than its node,
// because classic BPF only jumps forward; passes keep it so, and a single walk
// up or down the indices is a walk in topological order.
type graph []node

// node is one instruction. Ja nodes are edges: link gives them no instruction
// unless they lead to a distant one.
type node struct {
	in Insn
	// t is the next node, and of a conditional jump the one where it is true;
	// f is the other one. A ret has neither.
	t, f int
}

func (n node) successors() []int {
	switch {
	case n.in.isRet():
		return nil
	case n.in.isCond():
		return []int{n.t, n.f}
	}
	return []int{n.t}
}

// lift is the inverse of link. Fields that an instruction does not use become
// 0, so that equal nodes mean the same.
func lift(p Program) graph {
	g := make(graph, len(p.insns))
	for pc, in := range p.insns {
		g[pc] = node{in: in.canonical(), t: pc + 1, f: pc + 1}
		switch {
		case in.Op == Ja:
			g[pc].t += int(in.K)
		case in.isCond():
			g[pc].t += int(in.Jt)
			g[pc].f += int(in.Jf)
		}
	}
	return g
}

func (in Insn) canonical() Insn {
	c := Insn{Op: in.Op, K: in.K}
	switch {
	case in.Op == Ja, in.Op == Neg, in.Op == Tax, in.Op == Txa, in.Op == RetA, in.Op == LdLen, in.Op == LdxLen:
		c.K = 0
	case in.Op&srcX != 0 && (in.Op&classMask == classAlu || in.isCond()):
		c.K = 0
	}
	return c
}

// reachable marks what the first node leads to.
func (g graph) reachable() []bool {
	live := make([]bool, len(g))
	if len(g) > 0 {
		live[0] = true
	}
	for i, n := range g {
		if !live[i] {
			continue
		}
		for _, s := range n.successors() {
			live[s] = true
		}
	}
	return live
}

// linker lays a graph out from its end, so that the distance to every
// successor is known when a node is placed.
type linker struct {
	g graph
	// rev is the program, last instruction first.
	rev []Insn
	// at is where a node was placed: how long rev was afterwards. near is the
	// same for the last bridge to it, which conditional jumps can reach.
	at, near []int
}

// link turns g into instructions and drops what cannot be reached. Where the
// first node is a jump, its target is the first that can be reached, and so the
// one that is placed last and starts the program.
func (g graph) link() []Insn {
	l := linker{g: g, at: make([]int, len(g)), near: make([]int, len(g))}
	live := g.reachable()
	for i := len(g) - 1; i >= 0; i-- {
		if live[i] {
			l.place(i)
		}
	}
	for i, j := 0, len(l.rev)-1; i < j; i, j = i+1, j-1 {
		l.rev[i], l.rev[j] = l.rev[j], l.rev[i]
	}
	return l.rev
}

func (l *linker) place(i int) {
	n := l.g[i]
	switch {
	case n.in.Op == Ja:
		l.at[i], l.near[i] = l.at[n.t], l.near[n.t]
		return
	case n.in.isCond():
		l.rev = append(l.rev, l.branch(n))
	case n.in.isRet():
		l.rev = append(l.rev, n.in)
	default:
		if l.at[n.t] != len(l.rev) {
			l.bridge(n.t)
		}
		l.rev = append(l.rev, n.in)
	}
	l.at[i], l.near[i] = len(l.rev), len(l.rev)
}

// bridge places a jump to node i, or a copy of it if it is a ret: as short, and
// faster.
func (l *linker) bridge(i int) {
	n := l.g[i]
	for n.in.Op == Ja {
		n = l.g[n.t]
	}
	if n.in.isRet() {
		l.rev = append(l.rev, n.in)
	} else {
		l.rev = append(l.rev, Insn{Op: Ja, K: uint32(len(l.rev) - l.at[i])})
	}
	l.near[i] = len(l.rev)
}

// branch finds the distances of a conditional jump, which has 8 bits for each:
// what is farther away gets a bridge right behind the jump. A bridge moves the
// other target one farther away; no target needs two.
func (l *linker) branch(n node) Insn {
	const most = 255
	for {
		dt, df := len(l.rev)-l.near[n.t], len(l.rev)-l.near[n.f]
		switch {
		case dt > most:
			l.bridge(n.t)
		case df > most:
			l.bridge(n.f)
		default:
			return Insn{Op: n.in.Op, Jt: uint8(dt), Jf: uint8(df), K: n.in.K}
		}
	}
}
