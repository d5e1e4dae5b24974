package portcullis

import (
	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Decision is where and how one system call is decided.
type Decision struct {
	// Call is its name on x86-64, Nr its number.
	Call string `json:"call"`
	Nr   uint32 `json:"nr"`
	// Leaf is "static", "notify" or "trace".
	Leaf string `json:"leaf"`
	// Verdict is the answer of a static leaf.
	Verdict string `json:"verdict,omitempty"`
	// Guard is the guard that decides, or that decides for some arguments.
	Guard string `json:"guard,omitempty"`
	// Why says what keeps a leaf from being static; Insn and Line say where.
	Why  string `json:"why,omitempty"`
	Insn int    `json:"insn,omitempty"`
	Line string `json:"line,omitempty"`
}

// Explain says for every named x86-64 system call where the agent engine
// decides it and why, in ascending order of number. For a filter that it cannot
// enforce, guards are left out.
func (f *Filter) Explain() ([]Decision, error) {
	if err := f.Verify(); err != nil {
		return nil, err
	}
	pre, err := prefilter.Build([]*split.Tree{f.tree}, prefilter.Options{})
	var all []Decision
	for _, c := range syscalls.All() {
		d := treeDecision(f.tree.Leaf(abi.ArchX86_64, c.Nr))
		if err == nil {
			d = leafDecision(pre.Leaf(abi.ArchX86_64, c.Nr))
		}
		d.Call, d.Nr = c.Name, c.Nr
		all = append(all, d)
	}
	return all, nil
}

func treeDecision(l split.Leaf) Decision { return decision(l.Kind, l.Verdict, l.Why) }

func leafDecision(l prefilter.Leaf) Decision {
	d := decision(l.Kind, l.Verdict, l.Why)
	d.Guard = string(l.Guard)
	return d
}

func decision(k split.Kind, v abi.Verdict, why split.Reason) Decision {
	d := Decision{Leaf: k.String()}
	if k == split.Static {
		d.Verdict = v.Effective().String()
		return d
	}
	d.Why, d.Insn = why.Text, why.Insn
	if why.Line != (prog.Line{}) {
		d.Line = why.Line.String()
	}
	return d
}
