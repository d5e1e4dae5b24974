package absint

import "portcullis/internal/prog"

// node is a remembered state at a join. open counts the paths through it that
// have not ended; at 0 everything that can follow has been explored.
type node struct {
	state  *State
	parent *node
	older  *node // of the same spot
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

// seen remembers states at joins. A state can only cover another that has the
// same constants at least where itself has some: states are found by where they
// have constants, and by which.
type seen struct {
	// where lists, for each join, the ways in which its states have constants.
	where  [][]uint64
	newest map[spot]remains
	// nodes are in pieces, so that they stay where they are; made are in use.
	nodes [][]node
	made  int
}

// spot is what states that may cover one another have in common.
type spot struct {
	where, digest uint64
	join          int32
}

// remains are the states of a spot, the newest first.
type remains struct {
	first *node
	n     int
}

// pieceSize is how many nodes are allocated together.
const pieceSize = 64

// node makes a node, with any contents.
func (x *seen) node() *node {
	if x.made == len(x.nodes)*pieceSize {
		x.nodes = append(x.nodes, make([]node, pieceSize))
	}
	n := &x.nodes[x.made/pieceSize][x.made%pieceSize]
	x.made++
	return n
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

// any tells whether a state at a join is remembered.
func (x *seen) any(join int32) bool { return int(join) < len(x.where) && len(x.where[join]) > 0 }

// find calls f with the remembered states that may cover s, which has constants
// where have says, until f says true.
func (x *seen) find(join int32, s *State, have uint64, f func(*node) bool) {
	if !x.any(join) {
		return
	}
	for _, where := range x.where[join] {
		if where&^have != 0 {
			continue
		}
		for n := x.newest[spot{where, s.digest(where), join}].first; n != nil; n = n.older {
			if f(n) {
				return
			}
		}
	}
}

// add remembers n, whose state has constants where says, and returns what it
// drops for it.
func (x *seen) add(join int32, where uint64, n *node) (dropped *State) {
	x.note(join, where)
	at := spot{where, n.state.digest(where), join}
	r := x.newest[at]
	n.older = r.first
	r.first = n
	if r.n++; r.n > remembered {
		r.n--
		dropped = n.dropOldest()
	}
	x.newest[at] = r
	return dropped
}

// note has find look for states with constants where says.
func (x *seen) note(join int32, where uint64) {
	if x.newest == nil {
		x.newest = map[spot]remains{}
	}
	for int(join) >= len(x.where) {
		x.where = append(x.where, nil)
	}
	for _, w := range x.where[join] {
		if w == where {
			return
		}
	}
	x.where[join] = append(x.where[join], where)
}

// dropOldest takes the last state off a list. Its node stays: paths still refer
// to it.
func (n *node) dropOldest() *State {
	for n.older.older != nil {
		n = n.older
	}
	old := n.older
	n.older = nil
	s := old.state
	old.state = nil
	return s
}

// forget gives every state back, and returns how large they were.
func (x *seen) forget(m *Machine) (bytes int) {
	for _, r := range x.newest {
		for n := r.first; n != nil; n = n.older {
			bytes += n.state.size()
			m.Drop(n.state)
			n.state = nil
		}
	}
	clear(x.newest)
	for i := range x.where {
		x.where[i] = x.where[i][:0]
	}
	return bytes
}
