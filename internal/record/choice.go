package record

import (
	"fmt"
	"math/bits"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/symbol"
)

// tuple holds the values of a choice's arguments.
type tuple [2]uint64

// choice is a call that does different things by an argument, of which a program uses few.
type choice struct {
	call string
	args []argument
	// most is how many different tuples become conditions; more are taken for variety.
	most int
}

// argument is one that tells much.
type argument struct {
	name  string
	index int
	set   string // of its values' names
	mask  uint64 // of the bits that count; 0 in the table is all that the kernel looks at
	// masked tells that the other bits mean something too, which is not asked about.
	masked bool
	flags  bool // its values are sums of flags
}

// choices are all choices by their calls' numbers.
func choices() map[uint32]*choice {
	all := map[uint32]*choice{}
	for _, c := range table() {
		c := c
		nr, ok := syscalls.Number(c.call)
		for i := range c.args {
			a, found := symbol.Find(nr, c.args[i].name)
			c.args[i].index, c.args[i].set, ok = a.Index, a.Set, ok && found
			if c.args[i].mask == 0 {
				c.args[i].mask = 1<<(a.Bits()-1)<<1 - 1
			}
		}
		if ok {
			all[nr] = &c
		}
	}
	return all
}

func table() []choice {
	var all []choice
	for call, name := range map[string]string{
		"ioctl": "request", "fcntl": "cmd", "prctl": "option", "arch_prctl": "option", "prlimit64": "resource",
		"ptrace": "request", "personality": "personality", "keyctl": "option", "seccomp": "op", "bpf": "cmd",
	} {
		all = append(all, choice{call: call, most: 24, args: []argument{{name: name}}})
	}
	for call, name := range map[string]string{
		"mmap": "prot", "mprotect": "prot", "pkey_mprotect": "prot", "clone": "flags", "unshare": "flags", "setns": "flags",
	} {
		all = append(all, choice{call: call, most: 16, args: []argument{{name: name, flags: true}}})
	}
	for _, call := range []string{"socket", "socketpair"} {
		all = append(all, choice{call: call, most: 24, args: []argument{{name: "family"}, {name: "type", mask: 0xf, masked: true}}})
	}
	return append(all, choice{call: "setsockopt", most: 48, args: []argument{{name: "level"}, {name: "optname"}}})
}

func (c *choice) tuple(args [6]uint64) (t tuple) {
	for i, a := range c.args {
		t[i] = args[a.index] & a.mask
	}
	return t
}

// Condition is what has to hold of a call with these arguments, as a recorded rule says it;
// nil where the call is no choice by its arguments.
func Condition(nr uint32, args [6]uint64) *policy.Condition {
	c := choices()[nr]
	if c == nil {
		return nil
	}
	return c.condition([]tuple{c.tuple(args)})
}

// condition holds for the tuples, which share all but the last value.
func (c *choice) condition(ts []tuple) *policy.Condition {
	last := len(c.args) - 1
	var sub []policy.Condition
	for i := range c.args {
		values := ts
		if i < last {
			values = ts[:1]
		}
		sub = append(sub, c.test(i, values))
	}
	if len(sub) == 1 {
		return &sub[0]
	}
	return &policy.Condition{Op: policy.All, Sub: sub}
}

func (c *choice) test(i int, ts []tuple) policy.Condition {
	a := c.args[i]
	t := policy.Condition{Arg: a.name}
	if a.masked {
		t.Compare, t.Mask = policy.MaskedIs, policy.Value{Number: a.mask}
	}
	for _, v := range ts {
		t.Values = append(t.Values, c.value(i, v))
	}
	return t
}

func (c *choice) value(i int, t tuple) policy.Value {
	return policy.Value{Text: c.symbolic(i, t), Number: t[i]}
}

// symbolic is a value by its names, "" if it has none.
func (c *choice) symbolic(i int, t tuple) string {
	v, set := t[i], c.args[i].set
	prefix := ""
	if c.args[i].name == "optname" {
		prefix = optionPrefix(t[0])
		if prefix == "" {
			return "" // names of other protocols' options have the same numbers
		}
	}
	for _, n := range symbol.Names(set) {
		if k, _ := symbol.Constant(set, n); k == v && strings.HasPrefix(n, prefix) && !unusual(n) {
			return n
		}
	}
	if !c.args[i].flags {
		return ""
	}
	lowest := uint64(1)
	if c.call == "clone" {
		lowest = 0x100 // what is below is the number of a signal
	}
	return Flags(set, v, lowest)
}

// unusual tells names that stand in front of the usual one for the same number.
func unusual(name string) bool {
	return name == "AF_FILE" || name == "AF_LOCAL" || name == "PR_SCHED_CORE_MAX" || name == "O_NDELAY"
}

func optionPrefix(level uint64) string {
	return map[uint64]string{0: "IP_", 1: "SO_", 6: "TCP_", 41: "IPV6_"}[level]
}

// Flags is a number as the names of its bits from lowest on, and a number for what is left;
// "" if no bit has a name.
func Flags(set string, v, lowest uint64) string {
	var names []string
	rest := v
	for _, n := range symbol.Names(set) {
		k, _ := symbol.Constant(set, n)
		if bits.OnesCount64(k) == 1 && !unusual(n) && k >= lowest && rest&k != 0 {
			names = append(names, n)
			rest &^= k
		}
	}
	if len(names) == 0 {
		return ""
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(names, "|")
}
