// Package symbol knows the arguments of system calls by name, and the constants that may be
// written for them.
//
// Both are tables of text that say where they are from. A name counts only where it
// belongs: AF_INET is no flag of openat.
package symbol

import (
	_ "embed"
	"strconv"
	"strings"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
)

//go:embed arguments.txt
var arguments string

//go:embed constants.txt
var constants string

// Argument is one argument of a call.
type Argument struct {
	// Index is its register, from 0.
	Index int
	// Name is its name, Set that of the constants which may be written for it; "" without.
	Name, Set string
	// Arg is what it holds.
	Arg args.Arg
	// bits are those that count where the kernel declares more than it takes, else 0.
	bits int
}

// Bits is how many bits of the register the kernel looks at: 16, 32 or 64. A program may
// leave anything in the others, so a condition on them would be a way around it.
func (a Argument) Bits() int {
	switch {
	case a.bits != 0:
		return a.bits
	case a.Arg.Shape == args.Value && a.Arg.Size < 8:
		return 8 * int(a.Arg.Size)
	}
	return 64
}

// Arguments are those of the call with that number, in order; nil if it has none, or none
// that are known.
func Arguments(nr uint32) []Argument {
	name, ok := syscalls.Name(nr)
	if !ok {
		return nil
	}
	line, ok := after(arguments, "\n"+name+" ")
	if !ok {
		return nil
	}
	call, _ := args.Of(nr)
	words := strings.Fields(line)
	all := make([]Argument, len(words))
	for i, w := range words {
		name, set, _ := strings.Cut(w, ":")
		name, bits, _ := strings.Cut(name, "/")
		all[i] = Argument{Index: i, Name: name, Set: set, Arg: call.Args[i]}
		all[i].bits, _ = strconv.Atoi(bits)
	}
	return all
}

// after is the rest of the line that begins with prefix.
func after(text, prefix string) (string, bool) {
	i := strings.Index(text, prefix)
	if i < 0 {
		return "", false
	}
	line, _, _ := strings.Cut(text[i+len(prefix):], "\n")
	return line, true
}

// Find is the argument of a call by its name, or as arg0 to arg5.
func Find(nr uint32, name string) (Argument, bool) {
	all := Arguments(nr)
	for _, a := range all {
		if a.Name == name {
			return a, true
		}
	}
	if len(name) == 4 && name[:3] == "arg" && name[3] >= '0' && name[3] <= '5' {
		i := int(name[3] - '0')
		if i < len(all) {
			return all[i], true
		}
		call, _ := args.Of(nr)
		return Argument{Index: i, Name: name, Arg: call.Args[i]}, true
	}
	return Argument{}, false
}

// Constant is the number of a name of a set.
func Constant(set, name string) (uint64, bool) {
	if set == "" || name == "" || strings.ContainsAny(name, " \n=") {
		return 0, false
	}
	for rest := constants; ; {
		i := strings.Index(rest, "\n= "+set+" ")
		if i < 0 {
			return 0, false
		}
		rest = rest[i+1:]
		block, _, _ := strings.Cut(rest, "\n= ")
		if text, ok := after(block, "\n"+name+" "); ok {
			v, err := strconv.ParseUint(text, 0, 64)
			return v, err == nil
		}
	}
}

// Sets are those to which a name belongs, for messages.
func Sets(name string) []string {
	var sets []string
	set := ""
	for _, l := range strings.Split(constants, "\n") {
		if w := strings.Fields(l); len(w) == 3 && w[0] == "=" {
			set = w[1]
		} else if len(w) == 2 && w[0] == name {
			sets = append(sets, set)
		}
	}
	return sets
}

// Names are the names of a set, in the order of the table.
func Names(set string) []string {
	var names []string
	in := false
	for _, l := range strings.Split(constants, "\n") {
		if w := strings.Fields(l); len(w) == 3 && w[0] == "=" {
			in = w[1] == set
		} else if in && len(w) == 2 {
			names = append(names, w[0])
		}
	}
	return names
}

// Number reads a number of at most 64 bits as in C: 10, 0xa, 012, 0b1010; 0o12 is octal, too. A
// negative one is as the kernel takes it. There is nothing between its digits: a number with a
// mark that means nothing elsewhere is not what others read.
func Number(text string) (uint64, bool) {
	digits, negative := strings.CutPrefix(text, "-")
	if strings.ContainsAny(digits, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	if negative {
		return -n, err == nil && n <= 1<<63
	}
	return n, err == nil
}

// Evaluate is the number that a text stands for: a number as in C, a name of the set, or
// several with | between them. What is not known is returned, never empty.
func Evaluate(set, text string) (v uint64, unknown string) {
	for _, part := range strings.Split(text, "|") {
		part = strings.TrimSpace(part)
		if n, ok := Number(part); ok {
			v |= n
		} else if n, ok := Constant(set, part); ok {
			v |= n
		} else if part != "" {
			return 0, part
		} else {
			return 0, strconv.Quote(text)
		}
	}
	return v, ""
}
