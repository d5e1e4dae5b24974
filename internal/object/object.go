// Package object reads filters from ELF objects as clang -target bpf writes, and writes such
// objects: programs, libbpf map definitions, typed globals and source lines.
//
// An object comes from anybody. Reading one never panics, and memory and time
// are bounded by the limits below whatever the object claims about itself.
package object

import (
	"debug/elf"
	"strings"

	"portcullis/internal/prog"
)

// Limits on what an object may hold.
const (
	// MaxSize is the size of the largest object in bytes.
	MaxSize = 16 << 20
	// MaxSections is the number of ELF sections.
	MaxSections = 1024
	// MaxTypes is the size of an object's BTF in bytes.
	MaxTypes = 1 << 20
	// MaxLines is the size of an object's line information in bytes.
	MaxLines = 4 << 20
	// MaxMaps is the number of map definitions.
	MaxMaps = 256
	// MaxPrograms is the number of programs in one object.
	MaxPrograms = 256
	// MaxInsns is the number of instruction slots of one linked program.
	MaxInsns = 1 << 16
	// MaxTotalInsns is the number of slots of all linked programs together:
	// functions are copied into each program that calls them.
	MaxTotalInsns = 1 << 20
	// MaxGlobals is the number of bytes of all global variables together.
	MaxGlobals = 4 << 20
)

// object is one ELF object on its way to programs.
type object struct {
	path     string
	data     []byte
	sections []*section
	symbols  []elf.Symbol
	vars     map[varKey]elf.Symbol
	named    map[string]*code
	budget   uint64 // bytes of sections that may still be read
	types    *types
	code     map[elf.SectionIndex]*code
	maps     map[elf.SectionIndex]map[uint64]*prog.Map // map definitions by offset
	globals  map[elf.SectionIndex]*prog.Map
	tails    []tailRef // initial values of PROG_ARRAYs, by relocation
	entryOf  map[*function]*prog.Program
	license  string
	linked   int // instruction slots of the programs linked so far
	programs []*prog.Program
}

// varKey names a variable: those of different sections may share a name.
type varKey struct {
	section elf.SectionIndex
	name    string
}

// pass is one step of reading.
type pass func(*object) error

// passes turn an opened ELF object into programs, in this order.
func passes() []pass {
	return []pass{
		(*object).readSymbols,
		(*object).readTypes,
		(*object).readLicense,
		(*object).readMaps,
		(*object).readGlobals,
		(*object).readCode,
		(*object).readRelocations,
		(*object).readLines,
		(*object).link,
		(*object).readTails,
	}
}

// Read is every program of the object in data, in the order of its sections.
// Maps and globals are shared, by identity, between the programs. The name is
// the object's path, for messages only. Errors are of type *Error.
func Read(name string, data []byte) ([]*prog.Program, error) {
	o := &object{path: name, budget: 2 * MaxSize}
	if err := o.open(data); err != nil {
		return nil, err
	}
	for _, run := range passes() {
		if err := run(o); err != nil {
			return nil, err
		}
	}
	return o.programs, nil
}

// isProgram tells whether a section holds programs.
func isProgram(section string) bool {
	return section == "seccomp" || strings.HasPrefix(section, "seccomp/")
}

// readLicense reads the license string, which a kernel asks for before it
// lends a GPL-only helper.
func (o *object) readLicense() error {
	_, s := o.section("license")
	if s == nil {
		return nil
	}
	data, err := o.contents(s)
	if err != nil {
		return err
	}
	o.license, _, _ = strings.Cut(string(data), "\x00")
	return nil
}
