package cbpf

import (
	"fmt"

	"portcullis/internal/abi"
)

// Label is a place in a program under construction.
type Label int

// Next is the instruction that follows the jump.
const Next Label = 0

// Assembler builds a program from instructions and labels; jumps may be of any
// length, forward. Its zero value is empty and ready. Mistakes are reported by
// Assemble.
type Assembler struct {
	nodes graph
	// labels holds the node a label is bound to, or -1; label n is labels[n-1].
	labels []int
	// err is the first mistake.
	err *Error
}

// NewLabel makes a label that Bind can place.
func (a *Assembler) NewLabel() Label {
	a.labels = append(a.labels, -1)
	return Label(len(a.labels))
}

// Bind places l at the instruction that comes next.
func (a *Assembler) Bind(l Label) {
	switch {
	case l <= Next || int(l) > len(a.labels):
		a.mistake("label %d does not exist", l)
	case a.labels[l-1] >= 0:
		a.mistake("label %d is already bound to instruction %d", l, a.labels[l-1])
	default:
		a.labels[l-1] = len(a.nodes)
	}
}

// Emit adds an instruction that does not jump.
func (a *Assembler) Emit(op uint16, k uint32) {
	in := Insn{Op: op, K: k}
	if op == Ja || in.isCond() {
		a.mistake("%s needs a label", in)
	}
	a.nodes = append(a.nodes, node{in: in.canonical()})
}

// Ret adds the end of a path.
func (a *Assembler) Ret(v abi.Verdict) { a.Emit(RetK, uint32(v)) }

// Branch adds a conditional jump to t if it is true, else to f.
func (a *Assembler) Branch(op uint16, k uint32, t, f Label) {
	in := Insn{Op: op, K: k}
	if !in.isCond() {
		a.mistake("%s is no conditional jump", in)
	}
	a.nodes = append(a.nodes, node{in: in.canonical(), t: int(t), f: int(f)})
}

// Goto adds a jump to l.
func (a *Assembler) Goto(l Label) {
	a.nodes = append(a.nodes, node{in: Insn{Op: Ja}, t: int(l)})
}

func (a *Assembler) mistake(reason string, args ...interface{}) {
	if a.err != nil {
		return
	}
	a.err = &Error{Insn: len(a.nodes), Asm: "being assembled", Reason: fmt.Sprintf(reason, args...), Remedy: "correct the caller"}
}

// Assemble resolves the labels, applies passes in order and validates the
// result. The error is *Error.
func (a *Assembler) Assemble(passes ...Pass) (Program, error) {
	g := a.resolve()
	if a.err != nil {
		return Program{}, a.err
	}
	for _, p := range passes {
		p.run(g)
	}
	return Validate(g.link())
}

// resolve replaces labels by nodes.
func (a *Assembler) resolve() graph {
	g := append(graph(nil), a.nodes...)
	for i := range g {
		n := &g[i]
		switch {
		case n.in.isCond():
			n.t, n.f = a.target(i, Label(n.t)), a.target(i, Label(n.f))
		case n.in.Op == Ja:
			n.t = a.target(i, Label(n.t))
		case !n.in.isRet():
			n.t = a.target(i, Next)
		}
	}
	return g
}

func (a *Assembler) target(i int, l Label) int {
	at := i + 1
	if l != Next {
		if l < Next || int(l) > len(a.labels) {
			a.mistake("instruction %d jumps to label %d, which does not exist", i, l)
			return at
		}
		at = a.labels[l-1]
	}
	if at <= i || at >= len(a.nodes) {
		a.mistake("instruction %d continues at %d, not at a later one of the %d instructions", i, at, len(a.nodes))
	}
	return at
}
