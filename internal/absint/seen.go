package absint

import "portcullis/internal/prog"

// node is a remembered state at a join. open counts the paths through it that
// have not ended; at 0 everything that can follow has been explored.
type node struct {
	state  *State
	parent *node
	open   int
}

// close ends one path through n.
func (n *node) close() {
	for ; n != nil; n = n.parent {
		n.open--
		if n.open > 0 {
			return
		}
	}
}

// remembered bounds the states that are kept of one instruction and agree in
// their constants. Forgetting one costs time only.
const remembered = 16

// place remembers states of one instruction. A state can only cover another
// that has the same constants at least where itself has some: states are
// grouped by where they have constants, and in a group by which.
type place struct{ groups []group }

type group struct {
	where uint64
	nodes map[uint64][]*node
}

// constants says where the running frame of s holds constant numbers: bits
// 0-10 are registers, the others slots from the frame's end on.
func (s *State) constants() (where uint64) {
	f := s.Top()
	for i := 0; i < prog.R10; i++ {
		if r := &f.Regs[i]; r.Kind == Number && r.Bits.IsConst() {
			where |= 1 << i
		}
	}
	for i := 0; i < len(f.Stack) && i < slotBits; i++ {
		if sl := &f.Stack[i]; sl.constant() {
			where |= 1 << (i + firstSlotBit)
		}
	}
	return where
}

const (
	firstSlotBit = 11
	slotBits     = 64 - firstSlotBit
)

// constant is about whole slots: of a part, other bytes could tell states apart.
func (sl *Slot) constant() bool {
	return sl.Bytes[0] == Spill && sl.Bytes[7] == Spill && sl.Reg.Kind == Number && sl.Reg.Bits.IsConst()
}

// digest mixes the constants of s that where names.
func (s *State) digest(where uint64) uint64 {
	f := s.Top()
	h := uint64(14695981039346656037)
	mix := func(v uint64) {
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
	}
	for i := 0; i < prog.R10; i++ {
		if where>>i&1 != 0 {
			mix(f.Regs[i].Bits.Value)
		}
	}
	for i := 0; where>>(i+firstSlotBit) != 0 && i < slotBits; i++ {
		if where>>(i+firstSlotBit)&1 != 0 {
			mix(f.Stack[i].Reg.Bits.Value)
		}
	}
	return h
}

// find calls f with the remembered states that may cover s, until f says true.
func (p *place) find(s *State, f func(*node) bool) {
	have := s.constants()
	for i := range p.groups {
		g := &p.groups[i]
		if g.where&^have != 0 {
			continue
		}
		nodes := g.nodes[s.digest(g.where)]
		for j := len(nodes) - 1; j >= 0; j-- {
			if f(nodes[j]) {
				return
			}
		}
	}
}

// add remembers n, and returns what it drops for it.
func (p *place) add(n *node) (dropped *State) {
	g := p.group(n.state.constants())
	h := n.state.digest(g.where)
	nodes := g.nodes[h]
	if len(nodes) == remembered {
		dropped, nodes[0].state = nodes[0].state, nil // its descendants still refer to the node
		copy(nodes, nodes[1:])
		nodes = nodes[:remembered-1]
	}
	g.nodes[h] = append(nodes, n)
	return dropped
}

func (p *place) group(where uint64) *group {
	for i := range p.groups {
		if p.groups[i].where == where {
			return &p.groups[i]
		}
	}
	p.groups = append(p.groups, group{where: where, nodes: map[uint64][]*node{}})
	return &p.groups[len(p.groups)-1]
}

// forget drops every state, and returns how large they were.
func (p *place) forget() (bytes int) {
	for _, g := range p.groups {
		for _, nodes := range g.nodes {
			for _, n := range nodes {
				bytes += n.state.size()
				n.state = nil
			}
		}
	}
	p.groups = nil
	return bytes
}
