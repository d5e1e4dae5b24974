package absint

import (
	"fmt"

	"portcullis/internal/prog"
)

// Visitor sees the states of an exploration.
type Visitor interface {
	// Visit is called with the state before each instruction. An error ends
	// the exploration, but for Enough, which ends the path: what is covered by a
	// state on it is not visited either.
	Visit(*State) error
	// Fork is called after a conditional jump of which both sides are possible,
	// with the sources its operands depend on.
	Fork(pc int, from Origin)
	// Exit is called with the state at the end of the entry function: R0 is
	// the verdict.
	Exit(*State)
}

// Enough says that nothing that follows can matter.
type Enough struct{}

// Error says so.
func (Enough) Error() string { return "nothing that follows can matter" }

// Limits bound an exploration.
type Limits struct {
	// Visits is how many instructions may be visited.
	Visits int
	// Bytes is how much memory the states may take.
	Bytes int
}

// LimitError says that a program is too complex to explore.
type LimitError struct {
	// PC is the instruction at which the limit was reached.
	PC int
	// What is the limit, for messages.
	What string
	// Visits tells that it is the one of visited instructions.
	Visits bool
}

// Error names the limit.
func (e *LimitError) Error() string { return "too complex: " + e.What }

// LoopError says that a state comes back to itself.
type LoopError struct {
	// PC is the instruction the loop returns to.
	PC int
}

// Error names the instruction.
func (e *LoopError) Error() string {
	return fmt.Sprintf("infinite loop: instruction %d is reached again in the same state", e.PC)
}

type pending struct {
	state *State
	from  *node
}

// explorer is the memory of explorations, one after the other.
type explorer struct {
	m       *Machine
	v       Visitor
	limits  Limits
	visits  int
	bytes   int
	forgets int
	seen    seen
	todo    []pending
	// apart is how many states of todo, from the first on, share no call with the
	// path that is followed.
	apart int
}

// Explore follows every path from start and tells how many instructions it
// visited. A path ends early where it reaches a join in a state that an earlier
// one covers which has been explored to its end: whatever can follow has been
// seen. If it meets an earlier state of its own that equals it, the program may
// loop for ever: a *LoopError. The start belongs to Explore from then on.
func (m *Machine) Explore(start *State, v Visitor, l Limits) (visits int, err error) {
	x := &m.x
	x.m, x.v, x.limits, x.visits, x.bytes, x.forgets = m, v, l, 0, 0, 0
	x.push(start, nil)
	for len(x.todo) > 0 && err == nil {
		p := x.todo[len(x.todo)-1]
		x.todo = x.todo[:len(x.todo)-1]
		x.bytes -= p.state.size()
		err = x.path(p)
	}
	x.end()
	return x.visits, err
}

// end keeps the memory of an exploration, and nothing else of it.
func (x *explorer) end() {
	for _, p := range x.todo {
		x.m.Drop(p.state)
	}
	x.todo = x.todo[:0]
	x.seen.forget(x.m)
	x.seen.made = 0
	x.v = nil
}

func (x *explorer) push(s *State, from *node) {
	x.todo = append(x.todo, pending{s, from})
	x.bytes += s.size()
	if from != nil {
		from.open++
	}
}

// path follows one path to its end.
func (x *explorer) path(p pending) error {
	s, at := p.state, p.from
	x.apart = 0
	for {
		if x.m.code.join[s.PC] != 0 {
			next, ended, err := x.meet(s, at)
			if err != nil {
				return err
			}
			if ended {
				break
			}
			at = next
		}
		if err := x.count(s); err != nil {
			return err
		}
		if err := x.v.Visit(s); err == error(Enough{}) {
			break
		} else if err != nil {
			return err
		}
		pc, from := s.PC, x.m.operands(s)
		jumped, end := x.m.Step(s)
		if end {
			x.finish(s)
			break
		}
		if jumped != nil {
			if jumped.Nr.Same(s.Nr) {
				x.v.Fork(pc, from)
			}
			x.push(jumped, at)
		}
	}
	at.close()
	x.m.Drop(s)
	return nil
}

// operands is where the operands of a conditional jump come from.
func (m *Machine) operands(s *State) Origin {
	in := &m.code.Prog.Insns[s.PC]
	if class := in.Op & prog.ClassMask; class != prog.ClassJMP && class != prog.ClassJMP32 || !IsBranch(*in) {
		return 0
	}
	f := s.Top()
	from := f.Regs[in.Dst].numberOrigin()
	if in.Op&prog.SrcMask == prog.SrcX {
		from |= f.Regs[in.Src].numberOrigin()
	}
	return from
}

// numberOrigin leaves tests for NULL out: they say that a value exists, not what
// it is.
func (r *Reg) numberOrigin() Origin {
	if r.Kind != Number {
		return 0
	}
	return r.Origin
}

// finish reports an exit; a path may also end because no run gets there.
func (x *explorer) finish(s *State) {
	if in := x.m.code.Prog.Insns[s.PC]; in.Op == prog.OpExitInsn {
		x.v.Exit(s)
	}
}

func (x *explorer) count(s *State) error {
	x.visits++
	if x.visits > x.limits.Visits {
		return &LimitError{PC: s.PC, What: fmt.Sprintf("more than %d instructions would be visited", x.limits.Visits), Visits: true}
	}
	if x.bytes > x.limits.Bytes && x.forgets < maxForgets {
		x.forget()
	}
	if x.bytes > x.limits.Bytes {
		return &LimitError{PC: s.PC, What: fmt.Sprintf("its states take more than %d MB", x.limits.Bytes>>20)}
	}
	return nil
}

// alone tells that s is the only state there is of its calls.
func (x *explorer) alone(s *State) bool {
	for x.apart < len(x.todo) {
		if x.todo[x.apart].state.Nr.meets(s.Nr) {
			return false
		}
		x.apart++
	}
	return true
}

// needless tells that remembering s, which is at a join in no loop, would serve
// nobody. Only states of the same calls can be covered by s. If it is alone they
// are all reached from it, and until they have ended s has not been explored.
func (x *explorer) needless(s *State) bool {
	return !x.m.code.loop[s.PC] && x.alone(s)
}

// meet compares s with what is remembered of its instruction, and remembers it.
func (x *explorer) meet(s *State, from *node) (*node, bool, error) {
	needless := x.needless(s)
	if needless && !x.seen.any(x.m.code.join[s.PC]) {
		return from, false, nil
	}
	x.m.code.forgetDead(s)
	if x.m.code.need != nil {
		x.m.code.forgetUnneeded(s)
	}
	s.untie()
	here := x.m.code.join[s.PC]
	var verdict error
	covered := false
	have := s.constants()
	x.seen.find(here, s, have, func(old *node) bool {
		switch {
		case !old.state.covers(s):
			return false
		case old.open == 0:
			covered = true
		case s.covers(old.state):
			verdict = &LoopError{PC: s.PC}
		default:
			return false
		}
		return true
	})
	if covered || verdict != nil {
		return nil, covered, verdict
	}
	if needless {
		return from, false, nil
	}
	n := x.seen.node()
	*n = node{state: x.m.clone(s), parent: from, open: 1}
	x.bytes += n.state.size()
	if dropped := x.seen.add(here, have, n); dropped != nil {
		x.bytes -= dropped.size()
		x.m.Drop(dropped)
	}
	return n, false, nil
}

// maxForgets bounds how often everything is forgotten to make room: a program
// that fills memory again and again does not come to an end.
const maxForgets = 4

// forget makes room.
func (x *explorer) forget() {
	x.forgets++
	x.bytes -= x.seen.forget(x.m)
}

// forgetDead drops what cannot be read any more.
func (c *Code) forgetDead(s *State) {
	for i, f := range s.Frames {
		l := c.live[s.PC]
		if i+1 < len(s.Frames) {
			l = c.live[s.Frames[i+1].CallSite]
			l.regs = keptRegs & c.live[s.Frames[i+1].CallSite+1].regs
		}
		for r := 0; r < 10; r++ {
			if l.regs>>r&1 == 0 {
				f.Regs[r] = Reg{}
			}
		}
		f.forgetSlots(l.slots)
	}
}

func (f *Frame) forgetSlots(live uint64) {
	for i := range f.Stack {
		if live>>uint(i)&1 == 0 {
			f.Stack[i] = Slot{}
		}
	}
	for n := len(f.Stack); n > 0 && f.Stack[n-1].Bytes == [8]ByteKind{}; n-- {
		f.Stack = f.Stack[:n-1]
	}
}
