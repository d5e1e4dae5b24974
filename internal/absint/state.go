package absint

import (
	"fmt"
	"strings"

	"portcullis/internal/prog"
)

// Kind says what a register holds.
type Kind uint8

// The kinds of registers. The zero Kind cannot be read.
const (
	None         Kind = iota // never written, or made unreadable by a call
	Number                   // a scalar
	Ctx                      // the program's context
	Stack                    // a frame's end, plus an offset that is below 0
	MapHandle                // a map itself, an argument for helpers
	Value                    // inside a map value
	ValueOrNull              // a map value or 0, not yet tested
	Record                   // inside a reserved ring-buffer record
	RecordOrNull             // a record or 0, not yet tested
	kinds                    // how many there are
)

// String names the kind for messages.
func (k Kind) String() string {
	names := [kinds]string{
		"uninitialised", "a number", "the context", "a stack pointer", "a map",
		"a map value", "a map value or NULL", "a record", "a record or NULL",
	}
	if k >= kinds {
		return "unknown"
	}
	return names[k]
}

// Reg is what is known about a register or a spilled one.
type Reg struct {
	// Scalar is the number; the offset in bytes for a pointer.
	Scalar
	Kind Kind
	// Origin is where the value came from; it says nothing about the value.
	Origin Origin
	// Frame is the call depth whose stack a Stack pointer is into; 0 is the entry.
	Frame uint8
	// Table, if not 0, is the machine's table of what Scalar is by the call's number.
	Table int32
	// Field says which part of the context a Number is.
	Field Field
	// Map is the index of the map of a MapHandle or Value.
	Map int32
	// Size is the length in bytes of a Record.
	Size uint32
	// ID ties registers together: numbers that are equal, pointers that are
	// NULL together, values that hold the same lock. 0 is no tie.
	ID uint32
	// Ref is the reservation a Record belongs to.
	Ref uint32
}

// Origin is a set of sources a value depends on. It is for explanations and for
// deciding what to look at more closely: it is not compared when states are, and
// may be missing where paths met.
type Origin uint8

// The sources of values.
const (
	FromNr      Origin = 1 << iota // the number of the system call
	FromUser                       // memory of the caller, not pinned
	FromStorage                    // task storage that a forked child does not inherit
)

func number(s Scalar) Reg { return Reg{Scalar: s, Kind: Number} }

// IsPointer tells whether r is neither a number nor unreadable.
func (r *Reg) IsPointer() bool { return r.Kind > Number }

// MayBeNull tells whether r has to be tested before it is used.
func (r *Reg) MayBeNull() bool { return r.Kind == ValueOrNull || r.Kind == RecordOrNull }

// ByteKind says what a byte of the stack holds.
type ByteKind uint8

// The kinds of stack bytes. The zero ByteKind cannot be read.
const (
	Unwritten ByteKind = iota
	Data               // any byte that is not part of a pointer
	Zero               // the byte 0
	Spill              // part of the register the slot holds
)

// Slot is eight aligned bytes of the stack; Bytes[0] is at the lowest address.
type Slot struct {
	Bytes  [8]ByteKind
	Origin Origin // of the bytes outside Reg
	Reg    Reg
}

// Frame is one activation of a function.
type Frame struct {
	Regs [11]Reg
	// Stack holds the slots from the frame's end downwards: slot i begins at
	// offset -8(i+1). Slots beyond its end are Unwritten.
	Stack []Slot
	// Func is the index of the function, CallSite the caller's call
	// instruction, -1 for the entry.
	Func, CallSite int
}

// Lock is a spin lock that is held; Map -1 if none is.
type Lock struct {
	Map int32
	ID  uint32
}

// State describes the machine before instruction PC. The last of Frames runs.
type State struct {
	PC     int
	Frames []*Frame
	Lock   Lock
	// Touched is for the visitor: something happened on the way here. A state in
	// which it did not is not covered by one in which it did.
	Touched bool
	// Refs are the reservations that have not been given back.
	Refs []uint32
	// Nr is the calls that get here, if paths are told apart by number.
	Nr   Numbers
	hull Scalar // the smallest range around Nr
}

// Top is the running frame.
func (s *State) Top() *Frame { return s.Frames[len(s.Frames)-1] }

// Clone copies s deeply.
func (s *State) Clone() *State {
	c := &State{}
	s.copyTo(c)
	return c
}

// copyTo makes c a deep copy of s, in the memory that c has already.
func (s *State) copyTo(c *State) {
	c.PC, c.Lock, c.Touched, c.Nr, c.hull = s.PC, s.Lock, s.Touched, s.Nr, s.hull
	c.Refs = append(c.Refs[:0], s.Refs...)
	c.Frames = c.Frames[:0]
	for _, f := range s.Frames {
		g := c.grow()
		stack := append(g.Stack[:0], f.Stack...)
		*g = *f
		g.Stack = stack
	}
}

// grow adds a frame with any contents, one that was left before if there is one.
func (s *State) grow() *Frame {
	n := len(s.Frames)
	if n < cap(s.Frames) {
		if f := s.Frames[:n+1][n]; f != nil {
			s.Frames = s.Frames[:n+1]
			return f
		}
	}
	f := &Frame{}
	s.Frames = append(s.Frames, f)
	return f
}

// clone is s.Clone in the memory of a state that was dropped, if there is one.
func (m *Machine) clone(s *State) *State {
	n := len(m.dropped)
	if n == 0 {
		return s.Clone()
	}
	c := m.dropped[n-1]
	m.dropped = m.dropped[:n-1]
	s.copyTo(c)
	return c
}

// Drop takes back a state that nobody refers to any more.
func (m *Machine) Drop(s *State) { m.dropped = append(m.dropped, s) }

// size estimates the memory of s in bytes.
func (s *State) size() int {
	n := 128
	for _, f := range s.Frames {
		n += 1200 + cap(f.Stack)*104
	}
	return n
}

// each calls f for every register of s, live or spilled.
func (s *State) each(f func(*Reg)) {
	for _, fr := range s.Frames {
		for i := range fr.Regs {
			f(&fr.Regs[i])
		}
		for i := range fr.Stack {
			if fr.Stack[i].Bytes[0] == Spill {
				f(&fr.Stack[i].Reg)
			}
		}
	}
}

// Describe names register n for messages, as the kernel's log does: "R1=ctx()",
// "R2=map_value(map=counts,off=0,vs=8)".
func (s *State) Describe(p *prog.Program, n uint8) string {
	return fmt.Sprintf("R%d=%s", n, s.Top().Regs[n].describe(p))
}

func (r *Reg) describe(p *prog.Program) string {
	switch r.Kind {
	case None:
		return "uninitialised"
	case Number:
		return r.Scalar.String()
	case Ctx:
		return "ctx(off=" + r.offset() + ")"
	case Stack:
		return "fp" + fmt.Sprintf("[frame %d]", r.Frame) + "(off=" + r.offset() + ")"
	case MapHandle:
		return "map_ptr(map=" + p.Maps[r.Map].Name + ")"
	case Record, RecordOrNull:
		return fmt.Sprintf("%s(off=%s,size=%d)", orNull("record", r), r.offset(), r.Size)
	}
	m := p.Maps[r.Map]
	return fmt.Sprintf("%s(map=%s,off=%s,vs=%d)", orNull("map_value", r), m.Name, r.offset(), m.ValueSize)
}

func orNull(name string, r *Reg) string {
	if r.MayBeNull() {
		return name + "_or_null"
	}
	return name
}

func (r *Reg) offset() string {
	return strings.TrimPrefix(r.Scalar.String(), "scalar")
}
