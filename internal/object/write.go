package object

import (
	"debug/elf"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// writer is programs on their way to one ELF object.
type writer struct {
	programs  []*prog.Program
	entries   map[*prog.Program]*body
	shared    []*body          // functions of .text, in their order there
	known     map[string]*body // functions of .text by what they are
	maps      []*prog.Map      // those of section .maps
	globals   []*prog.Map      // sections of variables
	place     map[*prog.Map]int
	file      container
	text      *outSection
	code      []codeSection
	mapAt     map[*prog.Map]*symbol
	varsAt    map[*prog.Map][]*symbol   // variables of a section, by offset
	sectionOf map[*prog.Map]*outSection // of a section of variables
	whole     map[*prog.Map]*symbol     // the symbol that stands for it
	types     typeTable
	btf       []byte
	funcIDs   map[*body]btf.TypeID
}

// codeSection is a section of instructions and the functions in it.
type codeSection struct {
	*outSection
	bodies []*body
}

// writePasses turn programs into the sections of an object, in this order.
func writePasses() []func(*writer) error {
	return []func(*writer) error{
		(*writer).checkPrograms,
		(*writer).collectMaps,
		(*writer).collectBodies,
		(*writer).addCode,
		(*writer).addLicense,
		(*writer).addMaps,
		(*writer).addGlobals,
		(*writer).addTails,
		(*writer).addReferences,
		(*writer).addTypes,
		(*writer).addLines,
	}
}

// Write is the inverse of Read: an ELF object with programs that share maps and
// globals by identity, as clang -target bpf would have written it, for Read,
// libbpf and the kernel. The same programs give the same bytes.
//
// Read gives the same programs again if their functions come in the order of their
// first calls, as Read and the compiler of policies lay them out. Functions that
// nobody calls are left out, and so are the paths of Source. Programs that a map
// of ps goes on in must be among ps. What Read would refuse is refused, by an error of
// type *Error.
func Write(ps []*prog.Program) ([]byte, error) {
	w := &writer{
		programs: ps, entries: map[*prog.Program]*body{}, known: map[string]*body{},
		place: map[*prog.Map]int{}, mapAt: map[*prog.Map]*symbol{},
		varsAt: map[*prog.Map][]*symbol{}, whole: map[*prog.Map]*symbol{}, sectionOf: map[*prog.Map]*outSection{},
	}
	for _, run := range writePasses() {
		if err := run(w); err != nil {
			return nil, err
		}
	}
	data, err := w.file.encode()
	if err == nil {
		err = readable(data, len(ps))
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// readable makes sure that what was written can be read: Read has limits on sums
// that are not known before everything is in its place.
func readable(data []byte, programs int) error {
	ps, err := Read("the written object", data)
	if err == nil && len(ps) != programs {
		return unwritable("", fmt.Sprintf("%d programs became %d", programs, len(ps)), "give each program a name of its own")
	}
	return err
}

// unwritable is an error about a symbol that no object can hold.
func unwritable(symbol, reason, remedy string) error {
	return &Error{Path: "writing an object", Symbol: symbol, Reason: reason, Remedy: remedy}
}

// maxSymbol is the length of the longest name that is written. Kernels before 6.1
// refuse names of 128 bytes and more.
const maxSymbol = 127

// checkPlain refuses names that Read refuses or cuts.
func checkPlain(name string) error {
	if !plain(name) || len(name) > maxSymbol {
		return unwritable(name, fmt.Sprintf("not a name: expected 1 to %d visible ASCII characters", maxSymbol), "rename it")
	}
	return nil
}

// checkPrograms refuses names that could not be told apart, and other licenses than
// the one that an object has.
func (w *writer) checkPrograms() error {
	if n := len(w.programs); n == 0 || n > MaxPrograms {
		return unwritable("", fmt.Sprintf("%d programs: expected 1 to %d", n, MaxPrograms), "write several objects")
	}
	names := map[string]bool{}
	for _, p := range w.programs {
		if err := checkPlain(p.Name); err != nil {
			return err
		}
		if names[p.Name] {
			return unwritable(p.Name, "a second program of this name", "rename one of them")
		}
		names[p.Name] = true
		if p.License != w.programs[0].License {
			return unwritable(p.Name, fmt.Sprintf("license %q beside %q: expected one for the whole object", p.License, w.programs[0].License),
				"write several objects")
		}
	}
	return nil
}

// licenseSection is where the kernel's loaders look for the license.
const licenseSection = "license"

// addLicense adds the license with the NUL at its end.
func (w *writer) addLicense() error {
	text := w.programs[0].License
	switch {
	case text == "":
		return nil
	case strings.IndexByte(text, 0) >= 0 || len(text) > maxSymbol:
		return unwritable("license", fmt.Sprintf("%q: expected a text of at most %d bytes without NUL", visible(text), maxSymbol),
			`write a license such as "GPL" or "Dual BSD/GPL"`)
	}
	s := w.file.add(&outSection{
		name: licenseSection, kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, align: 1,
		data: append([]byte(text), 0),
	})
	w.file.symbol(&symbol{name: "_license", kind: elf.STT_OBJECT, global: true, section: s, size: uint64(len(text) + 1)})
	return nil
}
