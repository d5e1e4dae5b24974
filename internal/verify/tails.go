package verify

import (
	"fmt"
	"sort"

	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

// tails are the programs that can be reached by tail calls from one another.
type tails struct {
	budget int // what is left
	of     map[*prog.Program]*Verified
	all    []*Verified // the one that was asked for first
}

// maxTails bounds how many programs may be reached.
const maxTails = 256

// prove proves p and all that can be reached from it.
func (t *tails) prove(p *prog.Program) (*Verified, error) {
	todo := []*prog.Program{p}
	for ; len(todo) > 0; todo = todo[1:] {
		next := todo[0]
		if t.of[next] != nil {
			continue
		}
		if len(t.all) == maxTails {
			return nil, &Error{Program: p.Name, Insn: -1, Reason: fmt.Sprintf("tail calls reach more than %d programs", maxTails)}
		}
		v, err := one(next, t.budget)
		if err != nil {
			return nil, err
		}
		v.tails, t.of[next] = t, v
		t.all = append(t.all, v)
		// A program of nothing still costs its share, so that many end.
		t.budget = max(t.budget-v.visited, 1)
		for _, m := range v.Program().Maps {
			for _, tail := range m.Tails {
				todo = append(todo, tail.Program)
			}
		}
	}
	return t.all[0], nil
}

// Programs are v and every program that its tail calls can go on in, v first.
func (v *Verified) Programs() []*Verified { return v.tails.reach(v) }

func (t *tails) reach(v *Verified) []*Verified {
	if len(t.all) == 1 || t.all[0] == v {
		return append([]*Verified(nil), t.all...)
	}
	seen := map[*Verified]bool{v: true}
	list := []*Verified{v}
	for i := 0; i < len(list); i++ {
		for _, m := range list[i].Program().Maps {
			for _, tail := range m.Tails {
				if next := t.of[tail.Program]; !seen[next] {
					seen[next] = true
					list = append(list, next)
				}
			}
		}
	}
	return list
}

// Tail is the program that a tail call with an index into m, a PROG_ARRAY of v's,
// goes on in; nil where it fails.
func (v *Verified) Tail(m *prog.Map, index uint32) *Verified {
	if p := m.Tail(index); p != nil {
		return v.tails.of[p]
	}
	return nil
}

// Tails are the programs that a tail call from v can go on in, with an index
// between the bounds of one.
func (v *Verified) Tails(m *prog.Map, index absint.Scalar) []*Verified {
	var list []*Verified
	for _, t := range within(m, index) {
		list = append(list, v.tails.of[t.Program])
	}
	return list
}

// within are the programs of m between the bounds of an index.
func within(m *prog.Map, index absint.Scalar) []prog.Tail {
	from := sort.Search(len(m.Tails), func(i int) bool { return uint64(m.Tails[i].Index) >= index.U.Min })
	to := sort.Search(len(m.Tails), func(i int) bool { return uint64(m.Tails[i].Index) > index.U.Max })
	return m.Tails[from:max(from, to)]
}

// CertainTails tells whether no run makes as many tail calls as would let one
// fail that finds its program: they go in no circle, and no chain of them is too
// long. No program calls itself back any other way, for a tail call ends it.
func (v *Verified) CertainTails() bool {
	depth := map[*Verified]int{} // -1 while it is being followed
	var chain func(v *Verified) bool
	chain = func(v *Verified) bool {
		depth[v] = -1
		longest := 0
		for p := range v.leads {
			next := v.tails.of[p]
			if depth[next] < 0 || depth[next] == 0 && !chain(next) {
				return false
			}
			longest = max(longest, depth[next])
		}
		depth[v] = longest + 1 // programs in the longest chain from v on
		return true
	}
	return chain(v) && depth[v]-1 <= prog.MaxTailCalls
}
