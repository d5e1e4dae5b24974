package prefilter

import (
	"fmt"
	"sort"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
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
	switch l.Kind {
	case split.Notify:
		return em.verdict(abi.UserNotif)
	case split.Trace:
		return em.verdict(abi.Trace | abi.TraceData)
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
		if end = em.searched(d); end == nil {
			end = em.ending(ending{test: d.Test, then: em.lower(d.Then), els: em.lower(d.Else)})
		}
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
	s := &searcher{emitter: em, runs: rs}
	s.plan = newPlan(weightsOf(a, rs), func(i int) bool {
		return rs[i].from == rs[i].to && rs[i-1].end == rs[i+1].end
	})
	s.search(0, len(rs)-1)
	em.Bind(other)
}

const (
	// executed is how much more than others the runs count that the program is
	// executed for: the kernel has its bitmap for what is always allowed.
	executed = 1 << 10
	// ruled is how much more than denied calls those count that depend on their
	// arguments: programs live on them, and on denied ones they end.
	ruled = 4
)

// weightsOf is how many calls each run is about.
func weightsOf(a abi.Arch, rs []run) []int {
	weights := make([]int, len(rs))
	if a == abi.ArchX86_64 {
		for _, c := range syscalls.All() {
			weights[sort.Search(len(rs), func(i int) bool { return rs[i].to >= c.Nr })]++
		}
	}
	for i, r := range rs {
		switch {
		case r.end.then == nil && r.end.verdict == abi.Allow:
			weights[i] = 1
		case weights[i] == 0:
			weights[i] = executed
		case r.end.then != nil:
			weights[i] *= ruled * executed
		default:
			weights[i] *= executed
		}
	}
	return weights
}

// searcher makes a search of runs.
type searcher struct {
	*emitter
	runs []run
	plan *plan
}

// search finds the run of i … j that holds A.
func (s *searcher) search(i, j int) {
	if i == j {
		s.Goto(s.runs[i].end.label)
		return
	}
	k := s.plan.part(i, j)
	if k == 0 {
		s.Branch(cbpf.JeqK, s.runs[i+1].from, s.runs[i+1].end.label, s.runs[i].end.label)
		return
	}
	right := s.NewLabel()
	s.Branch(cbpf.JgeK, s.runs[k].from, right, cbpf.Next)
	s.search(i, k-1)
	s.Bind(right)
	s.search(k, j)
}
