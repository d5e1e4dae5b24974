package why

import (
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/event"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// Bounds of the work for one call in one program.
const (
	minVisits  = 20_000
	stateBytes = 16 << 20
	maxSteps   = 1 << 20
)

// place is an instruction that can have given a call its verdict, -1 for any of the program.
type place struct {
	program *prog.Program
	pc      int
	verdict abi.Verdict
	known   bool // what verdict is
}

// placesOf follows every path that a call can take, whatever its arguments and the state are,
// and finds those that end in a denial like e's.
func placesOf(v *verify.Verified, e *event.Event) []place {
	nr := uint32(e.Call.Nr)
	x := &ends{program: v.Program(), action: e.Verdict.Action(), steps: maxSteps, seen: map[place]bool{}}
	x.visited = make([]bool, len(x.program.Insns))
	m := absint.NewMachine(v.Code(), absint.InputOf(e.Call.Arch, absint.NumbersBetween(nr, nr)))
	_, err := m.Explore(m.Start(), x, absint.Limits{Visits: max(2*v.Visited(), minVisits), Bytes: stateBytes})
	if err != nil { // it takes too much to say more
		return []place{{program: x.program, pc: -1}}
	}
	return x.places()
}

// ends is the visitor that finds the ends of paths that deny.
type ends struct {
	program *prog.Program
	action  abi.Verdict
	visited []bool
	seen    map[place]bool
	order   []place // exits, with what they return
	before  [][]int // what leads to each instruction
	steps   int     // that may still be gone back
}

// Visit notes what is reached.
func (x *ends) Visit(s *absint.State) error {
	x.visited[s.PC] = true
	return nil
}

// Fork has nothing to note.
func (x *ends) Fork(int, absint.Origin) {}

// Exit notes verdicts.
func (x *ends) Exit(s *absint.State) {
	r0 := s.Top().Regs[prog.R0].Scalar.Truncate()
	v, known := r0.Const()
	if known && !x.like(abi.Verdict(v)) || !known && !x.may(r0) {
		return
	}
	end := place{x.program, s.PC, abi.Verdict(v), known}
	if !known {
		end.verdict = 0
	}
	if !x.seen[end] {
		x.seen[end] = true
		x.order = append(x.order, end)
	}
}

// like tells whether a verdict leads to a record like that which is looked at.
func (x *ends) like(v abi.Verdict) bool {
	action := v.Effective().Action()
	if answered(x.action) {
		return action != abi.Allow && action != abi.Log
	}
	return action == x.action.Effective().Action()
}

// may tells whether one of several verdicts does.
func (x *ends) may(r0 absint.Scalar) bool {
	if answered(x.action) || x.action.Effective() == abi.KillProcess { // as what no kernel knows does
		return true
	}
	of := absint.Between(uint64(x.action), uint64(x.action)|abi.DataMask)
	_, _, may := absint.Refine(prog.OpJeq, absint.W32, r0, of)
	return may
}

// places are where the verdicts of the ends come from.
func (x *ends) places() (all []place) {
	x.before = make([][]int, len(x.program.Insns))
	for pc, visited := range x.visited {
		if visited {
			next, n := absint.Next(x.program, pc)
			for _, to := range next[:n] {
				x.before[to] = append(x.before[to], pc)
			}
		}
	}
	for _, end := range x.order {
		all = append(all, x.sources(end)...)
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := x.program.LineOf(all[i].pc), x.program.LineOf(all[j].pc)
		return a.File == b.File && a.Line < b.Line
	})
	return all
}

// sources are where R0 gets what an exit returns; the exit where that is not found.
func (x *ends) sources(end place) (all []place) {
	seen, todo := map[int]bool{}, []int{end.pc}
	for len(todo) > 0 && x.steps > 0 {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, from := range x.before[pc] {
			x.steps--
			switch in := x.program.Insns[from]; {
			case seen[from]:
			case !writesR0(in):
				todo = append(todo, from)
			case in.Op&^prog.ClassMask != prog.OpMov|prog.SrcK || !end.known || uint32(in.Imm) == uint32(end.verdict):
				all = append(all, place{x.program, from, end.verdict, end.known})
			}
			seen[from] = true
		}
	}
	if len(all) == 0 || x.steps <= 0 {
		return []place{end}
	}
	return all
}

// writesR0 tells whether an instruction gives R0 a value.
func writesR0(in prog.Insn) bool {
	switch in.Class() {
	case prog.ClassLD, prog.ClassLDX, prog.ClassALU, prog.ClassALU64:
		return in.Dst == prog.R0
	case prog.ClassSTX:
		return in.Op&prog.ModeMask == prog.ModeAtomic && (in.Src == prog.R0 || in.Imm == prog.AtomicCmpXchg)
	}
	return in.Op == prog.OpCallInsn
}
