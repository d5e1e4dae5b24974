package effect

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
)

// Group is changes that read alike.
type Group struct {
	// Calls are the named x86-64 calls, Numbers the runs of numbers without a name.
	Calls   []string
	Numbers Numbers
	// When is the tests that all hold, by the names of the calls' arguments.
	When string
	// Change is the first of them.
	Change Change
}

// Groups are the changes, those that read alike together.
func (r *Report) Groups() []Group {
	type key struct {
		arch          abi.Arch
		when          string
		before, after Outcome
		unproven      bool
	}
	var all []Group
	at, d := map[key]int{}, dictionary{}
	add := func(c *Change, when string) *Group {
		k := key{c.Arch, when, c.Before, c.After, c.Unproven}
		if _, ok := at[k]; !ok {
			at[k] = len(all)
			all = append(all, Group{When: when, Change: *c})
		}
		return &all[at[k]]
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		for _, call := range callsOf(c.Arch, c.From, c.To) {
			g := add(c, d.words(c, call.Nr))
			g.Calls = append(g.Calls, call.Name)
		}
		if rest := nameless(c.Arch, c.From, c.To); len(rest) > 0 {
			g := add(c, d.words(c, rest[0][0]))
			g.Numbers = g.Numbers.add(rest)
		}
	}
	return all
}

// callsOf are the calls of a run that have a name.
func callsOf(arch abi.Arch, from, to uint32) (calls []syscalls.Call) {
	for _, c := range syscalls.All() {
		if arch == abi.ArchX86_64 && from <= c.Nr && c.Nr <= to {
			calls = append(calls, c)
		}
	}
	return calls
}

// Numbers are runs of numbers, both ends included.
type Numbers [][2]uint32

// nameless are the numbers of a run that have none.
func nameless(arch abi.Arch, from, to uint32) (rest Numbers) {
	next := uint64(from)
	for _, c := range callsOf(arch, from, to) {
		if uint64(c.Nr) > next {
			rest = append(rest, [2]uint32{uint32(next), c.Nr - 1})
		}
		next = uint64(c.Nr) + 1
	}
	if next <= uint64(to) {
		rest = append(rest, [2]uint32{uint32(next), to})
	}
	return rest
}

// add adds runs that are behind those of n.
func (n Numbers) add(runs Numbers) Numbers {
	for _, r := range runs {
		if last := len(n) - 1; last >= 0 && n[last][1]+1 == r[0] {
			n[last][1] = r[1]
		} else {
			n = append(n, r)
		}
	}
	return n
}

// Strings are the runs as "600" or "463-1023".
func (n Numbers) Strings() (all []string) {
	for _, r := range n {
		if r[0] == r[1] {
			all = append(all, fmt.Sprint(r[0]))
		} else {
			all = append(all, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	return all
}

// Names are the calls of runs, by name or number.
func Names(runs []Open) (names []string) {
	var rest Numbers
	for _, o := range runs {
		for _, c := range callsOf(o.Arch, o.From, o.To) {
			names = append(names, c.Name)
		}
		rest = rest.add(nameless(o.Arch, o.From, o.To))
	}
	return append(names, rest.Strings()...)
}
