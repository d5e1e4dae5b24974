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

// newListener tells whether a seccomp call asks for a listener.
func newListener(d *abi.SeccompData) bool {
	return uint32(d.Args[0]) == setModeFilter && uint32(d.Args[1])&flagNewListener != 0
}

// ending is what a path of the program ends in.
type ending struct {
	verdict abi.Verdict
	first   Guard
}

func (l Leaf) ending() ending {
	e := ending{l.Verdict, l.First}
	if l.Kind == split.Notify {
		e.verdict = abi.UserNotif
	}
	return e
}

// run is a run of numbers with the same ending.
type run struct {
	from, to uint32
	end      ending
}

func runs(rs []Range) []run {
	var out []run
	for _, r := range rs {
		e := r.Leaf.ending()
		if n := len(out); n > 0 && out[n-1].end == e {
			out[n-1].to = r.To
		} else {
			out = append(out, run{r.From, r.To, e})
		}
	}
	return out
}

// emitter writes the program. Endings come last, each once, those that ask
// about arguments before those they lead to; the assembler puts copies where a
// jump does not reach.
type emitter struct {
	cbpf.Assembler
	token         uint64
	labels        map[ending]cbpf.Label
	asking, plain []ending
}

// assemble compiles p's ranges: the architecture, a balanced search for the
// number, then the endings with what they ask about arguments. Only number and
// architecture are loaded before an ending that asks nothing, so the kernel's
// bitmap of constant actions holds every such ALLOW.
func assemble(p *Prefilter) (cbpf.Program, *Error) {
	e := &emitter{token: p.token, labels: make(map[ending]cbpf.Label)}
	e.Emit(cbpf.LdAbs, abi.OffArch)
	e.arch(abi.ArchX86_64, runs(p.x86))
	e.arch(abi.ArchI386, runs(p.i386))
	e.Goto(e.label(ending{verdict: GuardArch.verdict()}))
	for _, end := range e.asking {
		e.ask(end)
	}
	for _, end := range e.plain {
		e.Bind(e.labels[end])
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

// label is where ending e begins.
func (em *emitter) label(e ending) cbpf.Label {
	l, ok := em.labels[e]
	if ok {
		return l
	}
	l = em.NewLabel()
	em.labels[e] = l
	if e.first == "" {
		em.plain = append(em.plain, e)
	} else {
		em.asking = append(em.asking, e)
	}
	return l
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
		em.Goto(em.label(rs[0].end))
	case len(rs) == 3 && rs[1].from == rs[1].to && rs[0].end == rs[2].end:
		em.Branch(cbpf.JeqK, rs[1].from, em.label(rs[1].end), em.label(rs[0].end))
	default:
		mid := (len(rs) + 1) / 2
		right := em.NewLabel()
		em.Branch(cbpf.JgeK, rs[mid].from, right, cbpf.Next)
		em.search(rs[:mid])
		em.Bind(right)
		em.search(rs[mid:])
	}
}

// ask writes ending e, which looks at arguments first.
func (em *emitter) ask(e ending) {
	em.Bind(em.labels[e])
	plain := em.label(ending{verdict: e.verdict})
	if e.first == Launch {
		em.argIs(launchArg, 0, uint32(em.token), plain)
		em.argIs(launchArg, 4, uint32(em.token>>32), plain)
		em.Goto(em.label(ending{verdict: abi.Allow}))
		return
	}
	em.argIs(0, 0, setModeFilter, plain)
	em.load(1, 0)
	em.Branch(cbpf.JsetK, flagNewListener, em.label(ending{verdict: GuardListener.verdict()}), plain)
}

// load loads half of an argument: the lower one at 0, the upper one at 4.
func (em *emitter) load(arg, half uint32) {
	em.Emit(cbpf.LdAbs, abi.OffArgs+8*arg+half)
}

// argIs goes on if half of an argument is v, else to l.
func (em *emitter) argIs(arg, half, v uint32, l cbpf.Label) {
	em.load(arg, half)
	em.Branch(cbpf.JeqK, v, cbpf.Next, l)
}
