package prefilter

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/split"
)

// launchArg is the register that execveat leaves unused.
const launchArg = 5

// Arguments of seccomp(2) that make a listener; the kernel reads 32 bits of each.
const (
	setModeFilter   = 1
	flagNewListener = 1 << 3
)

// ending is a place in the program: a verdict, or a test and what follows it.
// What decides alike is one ending, whoever decided.
type ending struct {
	verdict   abi.Verdict
	test      split.Test
	then, els *ending
	label     cbpf.Label
}

// run is a run of numbers with the same ending.
type run struct {
	from, to uint32
	end      *ending
}

// emitter writes the program. Endings come last, each once, a test before what
// follows it; the assembler puts copies and bridges where a jump does not reach.
type emitter struct {
	cbpf.Assembler
	// made has one of each ending; tests and plain list those with a test and
	// those without, in ascending order of what they depend on.
	made         map[ending]*ending
	lowered      map[*Decision]*ending
	tests, plain []*ending
}

// assemble compiles p's ranges: the architecture, a balanced search for the
// number, then the endings with what they ask about arguments. Only number and
// architecture are loaded before an ending that asks nothing, so the kernel's
// bitmap of constant actions holds every such ALLOW.
func assemble(p *Prefilter) (cbpf.Program, *Error) {
	e := &emitter{made: map[ending]*ending{}, lowered: map[*Decision]*ending{}}
	x86, i386 := e.runs(p.x86), e.runs(p.i386)
	e.Emit(cbpf.LdAbs, abi.OffArch)
	e.arch(abi.ArchX86_64, x86)
	e.arch(abi.ArchI386, i386)
	e.Goto(e.verdict(GuardArch.verdict()).label)
	for i := len(e.tests) - 1; i >= 0; i-- {
		e.Bind(e.tests[i].label)
		e.test(e.tests[i])
	}
	for _, end := range e.plain {
		e.Bind(end.label)
		e.Ret(end.verdict)
	}
	prog, err := e.Assemble(cbpf.Passes()...)
	if err != nil {
		return prog, &Error{
			Insn: -1, Err: err, Reason: fmt.Sprintf("the stack does not fit the kernel's classic BPF (%v)", err),
			Remedy: "use fewer filters, or such that treat neighbouring calls alike",
		}
	}
	return prog, nil
}

func (em *emitter) runs(rs []Range) []run {
	var out []run
	for _, r := range rs {
		end := em.ofLeaf(r.Leaf)
		if r.Decision != nil {
			end = em.lower(r.Decision)
		}
		if n := len(out); n > 0 && out[n-1].end == end {
			out[n-1].to = r.To
		} else {
			out = append(out, run{r.From, r.To, end})
		}
	}
	return out
}

func (em *emitter) ofLeaf(l Leaf) *ending {
	if l.Kind == split.Notify {
		return em.verdict(abi.UserNotif)
	}
	return em.verdict(l.Verdict)
}

func (em *emitter) verdict(v abi.Verdict) *ending { return em.ending(ending{verdict: v}) }

// lower is the ending of d; what follows a test is made before it.
func (em *emitter) lower(d *Decision) *ending {
	if d.Then == nil {
		return em.ofLeaf(d.Leaf)
	}
	end := em.lowered[d]
	if end == nil {
		end = em.ending(ending{test: d.Test, then: em.lower(d.Then), els: em.lower(d.Else)})
		em.lowered[d] = end
	}
	return end
}

func (em *emitter) ending(e ending) *ending {
	if e.then != nil && e.then == e.els {
		return e.then
	}
	known := em.made[e]
	if known != nil {
		return known
	}
	known = &ending{verdict: e.verdict, test: e.test, then: e.then, els: e.els, label: em.NewLabel()}
	em.made[e] = known
	if e.then == nil {
		em.plain = append(em.plain, known)
	} else {
		em.tests = append(em.tests, known)
	}
	return known
}

// arch adds the search for calls of one architecture, with that of the call in A.
func (em *emitter) arch(a abi.Arch, rs []run) {
	other := em.NewLabel()
	em.Branch(cbpf.JeqK, uint32(a), cbpf.Next, other)
	em.Emit(cbpf.LdAbs, abi.OffNr)
	em.search(rs)
	em.Bind(other)
}

// search finds the run that holds A. A single number inside a run of others is
// one comparison.
func (em *emitter) search(rs []run) {
	switch {
	case len(rs) == 1:
		em.Goto(rs[0].end.label)
	case len(rs) == 3 && rs[1].from == rs[1].to && rs[0].end == rs[2].end:
		em.Branch(cbpf.JeqK, rs[1].from, rs[1].end.label, rs[0].end.label)
	default:
		mid := (len(rs) + 1) / 2
		right := em.NewLabel()
		em.Branch(cbpf.JgeK, rs[mid].from, right, cbpf.Next)
		em.search(rs[:mid])
		em.Bind(right)
		em.search(rs[mid:])
	}
}
