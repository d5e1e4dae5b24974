// Package syscalls names the system calls of x86-64, up to the newest that any
// released kernel has.
package syscalls

import "sort"

//go:generate go run ./gen -o table.go

// Call is one system call.
type Call struct {
	// Nr is the number on x86-64, without the x32 bit.
	Nr uint32
	// Name is the kernel's, as in arch/x86/entry/syscalls/syscall_64.tbl.
	Name string
}

// All is the table in ascending order of number. The caller owns the slice.
func All() []Call { return append([]Call(nil), table[:]...) }

// Newest is the largest number that has a name.
func Newest() uint32 { return table[len(table)-1].Nr }

// Name is the name of x86-64 call nr; false if it has none, which includes
// every x32 number (bit 30) and -1.
func Name(nr uint32) (string, bool) {
	i := sort.Search(len(table), func(i int) bool { return table[i].Nr >= nr })
	if i == len(table) || table[i].Nr != nr {
		return "", false
	}
	return table[i].Name, true
}

// Number is the x86-64 number of the call with that name.
func Number(name string) (uint32, bool) {
	i := sort.Search(len(byName), func(i int) bool { return table[byName[i]].Name >= name })
	if i == len(byName) || table[byName[i]].Name != name {
		return 0, false
	}
	return table[byName[i]].Nr, true
}
