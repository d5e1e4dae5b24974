package oci

import (
	"encoding/json"
	"fmt"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// document is a profile as it is written.
type document struct {
	DefaultAction   string   `json:"defaultAction"`
	DefaultErrnoRet *uint16  `json:"defaultErrnoRet,omitempty"`
	Architectures   []string `json:"architectures"`
	Syscalls        []entry  `json:"syscalls"`
}

type entry struct {
	Names    []string   `json:"names"`
	Action   string     `json:"action"`
	ErrnoRet *uint16    `json:"errnoRet,omitempty"`
	Args     []argument `json:"args,omitempty"`
}

type argument struct {
	Index    int     `json:"index"`
	Value    uint64  `json:"value"`
	ValueTwo *uint64 `json:"valueTwo,omitempty"`
	Op       string  `json:"op"`
}

// Write is the profile of a policy, and what of the policy is not in it. What a policy
// decides by more than numbers is left to an agent (SCMP_ACT_NOTIFY); without one runtimes
// refuse the profile. Errors are of type *policy.Error.
func Write(m *policy.Model) ([]byte, []Loss, error) {
	t, err := static.Decide(m)
	if err != nil {
		return nil, nil, err
	}
	w := &writer{table: t, entries: map[string]int{}}
	w.defaults()
	for i := range t.Calls {
		w.call(&t.Calls[i])
	}
	w.newest()
	for _, p := range t.Dynamic {
		w.Lose(p.Pos, p.What, "its calls are for an agent to decide (SCMP_ACT_NOTIFY); without a listenerPath to one no container starts")
	}
	data, err := json.MarshalIndent(&w.doc, "", "\t")
	return append(data, '\n'), w.All(), err
}

type writer struct {
	table *static.Table
	doc   document
	deflt policy.Action
	static.Losses
	// entries are the places of entries, by all but their names.
	entries map[string]int
	largest uint32
}

func (w *writer) defaults() {
	w.deflt = w.table.Default
	if w.deflt.Kind == policy.Notify {
		w.Lose(w.deflt.Pos, "the default to notify", "runc refuses it; calls fail with ENOSYS")
		w.deflt = policy.Action{Kind: policy.Errno, Data: static.ENOSYS}
	}
	w.doc.Architectures = []string{native}
	w.doc.Syscalls = []entry{}
	w.doc.DefaultAction, w.doc.DefaultErrnoRet = w.action(w.deflt)
	unknown := w.deflt
	if w.stubbed() {
		unknown = policy.Action{Kind: policy.Errno, Data: static.ENOSYS}
	}
	if !static.Same(unknown, w.table.Unknown) {
		w.Lose(w.table.Unknown.Pos, "the answer to calls without a name, "+w.table.Unknown.String(), "runc's is "+unknown.String())
	}
}

// stubbed tells whether runc has calls that are newer than the profile fail with ENOSYS.
func (w *writer) stubbed() bool {
	return !w.deflt.Permits() && !static.Same(w.deflt, policy.Action{Kind: policy.Errno, Data: static.ENOSYS})
}

// action is the name of an action, and its error.
func (w *writer) action(a policy.Action) (string, *uint16) {
	switch a.Kind {
	case policy.Allow:
		return "SCMP_ACT_ALLOW", nil
	case policy.Log:
		return "SCMP_ACT_LOG", nil
	case policy.Notify:
		return "SCMP_ACT_NOTIFY", nil
	case policy.Trap:
		if a.Data != 0 {
			w.Lose(a.Pos, a.String(), "SCMP_ACT_TRAP has no data")
		}
		return "SCMP_ACT_TRAP", nil
	case policy.KillThread:
		return "SCMP_ACT_KILL_THREAD", nil
	case policy.Kill:
		return "SCMP_ACT_KILL_PROCESS", nil
	}
	return "SCMP_ACT_ERRNO", &a.Data
}

func (w *writer) call(c *static.Call) {
	w.overlaps(c)
	for _, k := range c.Cases {
		a := k.Action
		if a.Kind == policy.Notify && c.Name == "write" {
			w.Lose(k.Pos, "the decision about write", "runc does not let an agent decide about it; it fails with EPERM")
			a = policy.Action{Kind: policy.Errno, Data: static.EPERM}
		}
		if static.Same(a, w.deflt) {
			continue
		}
		for _, cube := range k.When {
			w.entry(c, a, cube)
		}
	}
}

// entry adds a call to the entry with the same action and conditions.
func (w *writer) entry(c *static.Call, a policy.Action, cube static.Cube) {
	e := entry{}
	e.Action, e.ErrnoRet = w.action(a)
	for _, atom := range cube {
		e.Args = append(e.Args, written(atom))
	}
	key, err := json.Marshal(e)
	if err != nil {
		panic(err) // an entry is strings and numbers
	}
	i, ok := w.entries[string(key)]
	if !ok {
		i = len(w.doc.Syscalls)
		w.entries[string(key)] = i
		w.doc.Syscalls = append(w.doc.Syscalls, e)
	}
	to := &w.doc.Syscalls[i]
	to.Names = append(to.Names, c.Name)
	if c.Nr > w.largest {
		w.largest = c.Nr
	}
}

func written(a static.Atom) argument {
	for name, op := range operators {
		if op == a.Op && op == static.Masked {
			value := a.Value
			return argument{Index: a.Arg, Value: a.Mask, ValueTwo: &value, Op: name}
		} else if op == a.Op {
			return argument{Index: a.Arg, Value: a.Value, Op: name}
		}
	}
	panic(fmt.Sprintf("no operator %d", a.Op))
}

// newest names the calls behind the last that has a rule, with the default: else runc
// takes them for newer than the profile.
func (w *writer) newest() {
	if !w.stubbed() {
		return
	}
	e := entry{}
	e.Action, e.ErrnoRet = w.action(w.deflt)
	for _, c := range syscalls.All() {
		if c.Nr > w.largest {
			e.Names = append(e.Names, c.Name)
		}
	}
	if len(e.Names) > 0 {
		w.doc.Syscalls = append(w.doc.Syscalls, e)
	}
}

// overlaps notes conditions of one call that libseccomp may not do justice to.
func (w *writer) overlaps(c *static.Call) {
	var cubes []static.Cube
	for _, k := range c.Cases {
		if !static.Same(k.Action, w.deflt) {
			cubes = append(cubes, k.When...)
		}
	}
	const most = 64
	for i, a := range cubes {
		for _, b := range cubes[:min(i, most)] {
			if len(a) > 0 && len(b) > 0 && a.Tangled(b) {
				w.Lose(c.Cases[0].Pos, "conditions of "+c.Name, "they are in the profile, but programs that libseccomp makes of such may miss one")
				return
			}
		}
	}
}
