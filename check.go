package portcullis

import (
	"strconv"

	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Variable is a constant of a filter that Set can set.
type Variable struct {
	Name string
	// Type is how a value is written: "u32", "i64", "bool", "char[16]", "calls" for
	// a set of system calls, "texts", "paths" or "endpoints" for a list of such.
	Type string
}

// Variables lists what Set can set, by name.
func (f *Filter) Variables() []Variable {
	var vs []Variable
	for _, v := range f.program.Vars() {
		vs = append(vs, Variable{Name: v.Name, Type: typeName(v)})
	}
	return vs
}

// Report is what Check found out about a filter.
type Report struct {
	Program string `json:"program"`
	// Insns is the size of the program in instruction slots, Visited how many
	// instructions its proof visited.
	Insns   int `json:"insns"`
	Visited int `json:"visited"`
	// Static, Notify and Trace count the named x86-64 system calls by where they are
	// decided, as Explain says: in the kernel alone, by the agent, by the agent's tracer.
	Static int `json:"static"`
	Notify int `json:"notify"`
	Trace  int `json:"trace"`
	// Traced tells that the agent traces the command: for the calls that Trace counts, or
	// to copy storage when it forks, which Clones tells.
	Traced bool `json:"traced,omitempty"`
	Clones bool `json:"clones,omitempty"`
	// Guards are the names of those that decide beside the filter on the agent engine.
	Guards []string `json:"guards,omitempty"`
	// Warnings are lines about what may surprise.
	Warnings []string `json:"warnings,omitempty"`
	// Unsupported says why the agent engine cannot enforce the filter; "" if it can.
	Unsupported string `json:"unsupported,omitempty"`
}

// Check verifies the filter and reports where its calls are decided.
func (f *Filter) Check() (*Report, error) {
	if err := f.Verify(); err != nil {
		return nil, err
	}
	r := &Report{Program: f.Name(), Insns: len(f.program.Insns), Visited: f.verified.Visited()}
	for _, d := range f.decisions() {
		r.count(d.Leaf)
	}
	for _, w := range f.verified.Warnings() {
		r.Warnings = append(r.Warnings, w.String())
	}
	r.Clones = f.tree.Clones()
	r.enforced(f.prefilter())
	return r, nil
}

// enforced reports what stands before the filter on the agent engine, or why nothing can.
func (r *Report) enforced(pre *prefilter.Prefilter, err error) {
	if err != nil {
		r.Unsupported = err.Error()
		return
	}
	r.Traced = pre.Traced()
	for _, g := range pre.Guards() {
		r.Guards = append(r.Guards, string(g))
	}
}

func (r *Report) count(leaf string) {
	switch leaf {
	case split.Static.String():
		r.Static++
	case split.Notify.String():
		r.Notify++
	default:
		r.Trace++
	}
}

// typeName writes a variable's type as --set's reader thinks of it.
func typeName(v prog.Var) string {
	name := map[prog.VarKind]string{prog.VarUnsigned: "u", prog.VarSigned: "i"}[v.Kind]
	switch v.Kind {
	case prog.VarCallSet:
		return "calls"
	case prog.VarTexts:
		return "texts"
	case prog.VarPaths:
		return "paths"
	case prog.VarEndpoints:
		return "endpoints"
	case prog.VarBool:
		name = "bool"
	case prog.VarChar:
		name = "char"
	default:
		name += strconv.Itoa(8 * v.Size)
	}
	if v.Count > 1 {
		name += "[" + strconv.Itoa(v.Count) + "]"
	}
	return name
}
