package absint

import "portcullis/internal/prog"

const (
	// tableSize is how many numbers tables are of: those of real calls and some more.
	tableSize = 1024
	// maxTables bounds the tables of machines that share a Room, 9 KB each.
	maxTables = 256
)

// table says what a register holds for each number of a call; of a pointer, what its
// offset is. It is what arithmetic of the number alone, and constants that are looked
// up by it, come to. So calls that a later test tells apart need not be followed one
// by one.
//
// Soundness: an entry is what the transfer function makes of that one number, if that
// is a constant.
type table struct {
	values [tableSize]uint64
	known  [tableSize]bool
}

// tables are those of a machine, made when they are first needed: they say nothing of
// one exploration only. Number 0 is no table, 1 the number of the call itself.
type tables struct {
	all  []*table
	made map[recipe]int32
	room *Room
}

// Room is how many more tables some machines may make together: each takes memory,
// and the time of 1024 steps.
type Room struct{ left int }

// NewRoom has room for what is made of the number by any filter but a hostile one.
func NewRoom() *Room { return &Room{left: maxTables} }

// Share has m make tables in a room that other machines use as well. Where it is used
// up, less is known of what becomes of the number.
func (m *Machine) Share(r *Room) { m.tables.room = r }

// byNumber is the table of the number itself.
const byNumber = 1

// operand is a register that depends on nothing but the call's number: a constant, or
// what a table says.
type operand struct {
	kind  Kind
	array int32 // the map of a pointer
	table int32
	value uint64
}

// recipe is how a table is made: by an instruction that leaves its result in register 0.
type recipe struct {
	in       prog.Insn
	dst, src operand
}

// tabled tells whether the calls of s are told apart by number, and tables know them.
func (s *State) tabled() bool { return s.Nr != nil && s.Nr[len(s.Nr)-1].Max < tableSize }

// operand is what is known of r by the number.
func (m *Machine) operand(r *Reg) (o operand, ok bool) {
	o = operand{kind: r.Kind, table: r.Table}
	switch {
	case r.Kind == Value && m.code.Prog.Maps[r.Map].Frozen:
		o.array = r.Map
	case r.Kind != Number:
		return o, false
	case r.isNumber():
		o.table = byNumber
	}
	if v, known := r.Const(); known {
		o.table, o.value = 0, v
		return o, true
	}
	return o, o.table != 0
}

// at is what o is for one number.
func (m *Machine) at(o operand, nr uint32) (v uint64, known bool) {
	if o.table == 0 {
		return o.value, true
	}
	t := m.table(o.table)
	return t.values[nr], t.known[nr]
}

// reg is a register like o that holds v.
func (o operand) reg(v uint64) Reg { return Reg{Scalar: Const(v), Kind: o.kind, Map: o.array} }

func (m *Machine) table(i int32) *table {
	if len(m.tables.all) == 0 {
		itself := &table{}
		for nr := range itself.values {
			itself.values[nr], itself.known[nr] = uint64(nr), true
		}
		m.tables.all = []*table{nil, itself}
	}
	return m.tables.all[i]
}

// recipe is how the instruction at hand, arithmetic or a load, makes its result of the
// number; false if it does not.
func (m *Machine) recipe(s *State, in prog.Insn) (r recipe, ok bool) {
	if !s.tabled() {
		return r, false
	}
	regs := &s.Top().Regs
	r.in = in
	r.in.Dst, r.in.Src = 0, 1
	dst, src := reads(in)
	if dst {
		if r.dst, ok = m.operand(&regs[in.Dst]); !ok {
			return r, false
		}
	}
	if src {
		if r.src, ok = m.operand(&regs[in.Src]); !ok || in.Class() == prog.ClassLDX && r.src.kind != Value {
			return r, false
		}
	}
	return r, r.dst.table|r.src.table != 0
}

// reads tells which of its registers arithmetic, or a load, makes its result of.
func reads(in prog.Insn) (dst, src bool) {
	if in.Class() == prog.ClassLDX {
		return false, true
	}
	op := in.Op & prog.OpMask
	return op != prog.OpMov, in.Op&prog.SrcMask == prog.SrcX && op != prog.OpEnd
}

// tabulate notes what dst, the result of r, is by number.
func (m *Machine) tabulate(s *State, dst *Reg, r recipe) {
	dst.Table = 0
	if i := m.cook(r); m.table(i).knows(s.Nr) {
		dst.Table = i
		m.settle(dst, s.Nr)
	}
}

// cook is the table that r makes; 0 if there are too many.
func (m *Machine) cook(r recipe) int32 {
	if i, made := m.tables.made[r]; made {
		return i
	}
	m.table(byNumber)
	if m.tables.room.left == 0 {
		return 0
	}
	m.tables.room.left--
	t := &table{}
	m.fill(t, r)
	if m.tables.made == nil {
		m.tables.made = map[recipe]int32{}
	}
	i := int32(len(m.tables.all))
	m.tables.all, m.tables.made[r] = append(m.tables.all, t), i
	return i
}

// fill makes t by r. Neighbours are often made of the same.
func (m *Machine) fill(t *table, r recipe) {
	var f Frame
	var lastDst, lastSrc uint64
	for nr := range t.values {
		dst, knowsDst := m.at(r.dst, uint32(nr))
		src, knowsSrc := m.at(r.src, uint32(nr))
		switch {
		case !knowsDst || !knowsSrc:
		case nr > 0 && t.known[nr-1] && dst == lastDst && src == lastSrc:
			t.values[nr], t.known[nr] = t.values[nr-1], true
		default:
			f.Regs[0], f.Regs[1] = r.dst.reg(dst), r.src.reg(src)
			t.values[nr], t.known[nr] = m.oneResult(&f, r.in)
		}
		lastDst, lastSrc = dst, src
	}
}

// oneResult is what in leaves in register 0 of f, if that is a constant.
func (m *Machine) oneResult(f *Frame, in prog.Insn) (v uint64, known bool) {
	if in.Class() == prog.ClassLDX {
		f.Regs[0].Scalar = m.loadValue(&f.Regs[1], in)
	} else {
		m.alu(f, in)
	}
	return f.Regs[0].Const()
}

// knows tells whether t has an entry for each number of n.
func (t *table) knows(n Numbers) bool {
	if t == nil {
		return false
	}
	for _, r := range n {
		for nr := r.Min; nr <= r.Max; nr++ {
			if !t.known[nr] {
				return false
			}
		}
	}
	return true
}

// settle makes r a constant if it is the same for all calls of n, all of which its
// table knows.
func (m *Machine) settle(r *Reg, n Numbers) {
	if r.Table == 0 {
		return
	}
	t := m.table(r.Table)
	v := t.values[n[0].Min]
	for _, part := range n {
		for nr := part.Min; nr <= part.Max; nr++ {
			if t.values[nr] != v {
				return
			}
		}
	}
	r.Scalar, r.Table = Const(v), 0
}

// byTable is byNumber for what tables say of the operands.
func (m *Machine) byTable(s *State, in prog.Insn, op uint8, w Width) (jump, on Numbers, ok bool) {
	if !s.tabled() {
		return nil, nil, false
	}
	f := s.Top()
	src := source(f, in)
	a, okA := m.operand(&f.Regs[in.Dst])
	b, okB := m.operand(&src)
	if !okA || !okB || a.table|b.table == 0 {
		return nil, nil, false
	}
	op, negated := Positive(op)
	jump, on = s.Nr.where(func(nr uint32) bool {
		x, _ := m.at(a, nr)
		y, _ := m.at(b, nr)
		return holds(op, w, x, y) != negated
	})
	return jump, on, true
}

// where parts n into the numbers for which f holds and the others.
func (n Numbers) where(f func(nr uint32) bool) (in, out Numbers) {
	for _, r := range n {
		for nr := r.Min; nr <= r.Max; nr++ {
			if f(nr) {
				in = in.with(nr)
			} else {
				out = out.with(nr)
			}
		}
	}
	return in, out
}

// with adds a number above all others to a set that nobody else has.
func (n Numbers) with(nr uint32) Numbers {
	if last := len(n) - 1; last >= 0 && n[last].Max+1 == nr {
		n[last].Max = nr
		return n
	}
	return append(n, Range[uint32]{nr, nr})
}

// partExit has the calls of s, at the program's end, that return one of several
// verdicts go on alone; the others are in the state it yields. It is nil if tables do
// not tell, or if there is one verdict.
func (m *Machine) partExit(s *State) (others *State) {
	if len(s.Frames) > 1 || !s.tabled() {
		return nil
	}
	o, ok := m.operand(&s.Top().Regs[prog.R0])
	if !ok || o.table == 0 || o.kind != Number {
		return nil
	}
	t := m.table(o.table)
	same, differ := s.Nr.where(func(nr uint32) bool { return t.values[nr] == t.values[s.Nr[0].Min] })
	if len(differ) == 0 {
		return nil
	}
	others = m.clone(s)
	m.keep(others, differ)
	m.keep(s, same)
	return others
}
