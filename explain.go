package portcullis

import (
	"sync"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/engine"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Decision is where and how one system call is decided.
type Decision struct {
	// Call is its name on x86-64, Nr its number.
	Call string `json:"call"`
	Nr   uint32 `json:"nr"`
	// Outcome is that of the call whatever its arguments are. Where they matter, it
	// is the dearest of what Arguments leads to, and has no Verdict.
	Outcome
	// Arguments is how arguments decide; nil if they do not matter.
	Arguments *Branch `json:"arguments,omitempty"`
	// Bitmap tells that the kernel remembers the call as always allowed, and runs no
	// filter for it.
	Bitmap bool `json:"bitmap,omitempty"`
}

// Outcome is what happens to a call, and why.
type Outcome struct {
	// Leaf is "static", "notify" or "trace".
	Leaf string `json:"leaf,omitempty"`
	// Verdict is the answer of a static leaf.
	Verdict string `json:"verdict,omitempty"`
	// Guard is the guard that decides, or that decides for some arguments.
	Guard string `json:"guard,omitempty"`
	// Why says what keeps a leaf from being static; Insn and Line say where.
	Why  string `json:"why,omitempty"`
	Insn int    `json:"insn,omitempty"`
	Line string `json:"line,omitempty"`
}

// Branch is a test of a call's data with what follows it, or an Outcome.
type Branch struct {
	// If is the test, written as in C: "args[0] == 0x10", where "s>" is > of signed
	// numbers, and ".low" and ".high" are halves. It is "" for an Outcome.
	If string `json:"if,omitempty"`
	// Then follows where the test holds, Else where it does not.
	Then *Branch `json:"then,omitempty"`
	Else *Branch `json:"else,omitempty"`
	Outcome
}

// Explain says for every named x86-64 system call where the agent engine
// decides it and why, in ascending order of number, on the running kernel: one that has
// no mseal takes a guard more where memory is pinned. For a filter that cannot be
// enforced, guards are left out.
func (f *Filter) Explain() ([]Decision, error) {
	if err := f.Verify(); err != nil {
		return nil, err
	}
	return f.decisions(), nil
}

// built is what stands before a verified filter alone, once somebody has asked.
type built struct {
	once sync.Once
	pre  *prefilter.Prefilter
	err  error
}

// prefilter is what Start would build of the filter, which has been verified, alone and
// without options.
func (f *Filter) prefilter() (*prefilter.Prefilter, error) {
	b := f.built
	b.once.Do(func() {
		b.pre, b.err = prefilter.Build([]*split.Tree{f.tree}, prefilter.Options{Slots: engine.Slots()})
	})
	return b.pre, b.err
}

// decisions is Explain for a filter that has been verified.
func (f *Filter) decisions() []Decision {
	pre, err := f.prefilter()
	var all []Decision
	for _, c := range syscalls.All() {
		var d Decision
		if err != nil {
			d = ofTree(f.tree.Find(abi.ArchX86_64, c.Nr))
		} else {
			d = ofPrefilter(pre.Find(abi.ArchX86_64, c.Nr))
			d.Bitmap = pre.Program().ConstAllow(abi.ArchX86_64, c.Nr)
		}
		d.Call, d.Nr = c.Name, c.Nr
		all = append(all, d)
	}
	return all
}

func ofTree(r split.Range) Decision {
	d := Decision{Outcome: outcome(r.Leaf.Kind, r.Leaf.Verdict, r.Leaf.Why)}
	if r.Decision != nil {
		d.decidedBy(treeBranch(r.Decision))
	}
	return d
}

func ofPrefilter(r prefilter.Range) Decision {
	at := &prefilter.Decision{Leaf: r.Leaf}
	if r.Decision != nil {
		at = ofTarget(r.Decision)
	}
	d := Decision{Outcome: leafOutcome(at.Leaf)}
	if at.Then != nil {
		d.decidedBy(prefilterBranch(at))
	}
	return d
}

// ofTarget is what d decides of calls that a target can make: where the agent's tracer
// makes it call something, no instruction of its own can be.
func ofTarget(d *prefilter.Decision) *prefilter.Decision {
	if d.Then != nil && d.Then.Leaf.Guard == prefilter.Injected {
		return d.Else
	}
	return d
}

// decidedBy has arguments decide d.
func (d *Decision) decidedBy(b *Branch) {
	d.Arguments = b
	d.Outcome = Outcome{}
	b.each(func(o *Outcome) {
		guard := d.Guard
		if d.Leaf == "" || cost(o.Leaf) > cost(d.Leaf) {
			d.Outcome = *o
		}
		if d.Verdict = ""; guard != "" {
			d.Guard = guard
		} else {
			d.Guard = o.Guard
		}
	})
}

// cost orders the kinds of leaves.
func cost(leaf string) int {
	return map[string]int{split.Static.String(): 0, split.Notify.String(): 1, split.Trace.String(): 2}[leaf]
}

// each calls f for every outcome below b.
func (b *Branch) each(f func(*Outcome)) {
	if b.Then == nil {
		f(&b.Outcome)
		return
	}
	b.Then.each(f)
	b.Else.each(f)
}

func treeBranch(d *split.Decision) *Branch {
	if d.Then == nil {
		return &Branch{Outcome: outcome(d.Leaf.Kind, d.Leaf.Verdict, d.Leaf.Why)}
	}
	return &Branch{If: d.Test.String(), Then: treeBranch(d.Then), Else: treeBranch(d.Else)}
}

func prefilterBranch(d *prefilter.Decision) *Branch {
	if d.Then == nil {
		return &Branch{Outcome: leafOutcome(d.Leaf)}
	}
	return &Branch{If: d.Test.String(), Then: prefilterBranch(d.Then), Else: prefilterBranch(d.Else)}
}

func leafOutcome(l prefilter.Leaf) Outcome {
	o := outcome(l.Kind, l.Verdict, l.Why)
	o.Guard = string(l.Guard)
	return o
}

func outcome(k split.Kind, v abi.Verdict, why split.Reason) Outcome {
	o := Outcome{Leaf: k.String()}
	if k == split.Static {
		o.Verdict = v.Effective().String()
		return o
	}
	o.Why, o.Insn = why.Text, why.Insn
	if why.Line != (prog.Line{}) {
		o.Line = why.Line.String()
	}
	return o
}
