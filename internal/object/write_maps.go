package object

import (
	"debug/elf"
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/prog"
)

// isSection tells whether m is a section of variables.
func isSection(m *prog.Map) bool { return m.Contents != nil }

// collectMaps lists the maps of all programs, each once, in the order in which
// programs name them.
func (w *writer) collectMaps() error {
	names, bytes := map[string]bool{}, 0
	for _, p := range w.programs {
		for _, m := range p.Maps {
			if _, known := w.place[m]; known {
				continue
			}
			if names[m.Name] {
				return unwritable(m.Name, "the name of two maps", "rename one of them")
			}
			names[m.Name], w.place[m] = true, len(w.place)
			if bytes += len(m.Contents); bytes > MaxGlobals {
				return unwritable(m.Name, fmt.Sprintf("more than %d bytes of variables", MaxGlobals), "keep large state in a map")
			}
			if err := w.collectMap(m); err != nil {
				return err
			}
		}
	}
	if len(w.maps) > MaxMaps {
		return unwritable("", fmt.Sprintf("%d maps: expected at most %d", len(w.maps), MaxMaps), "write several objects")
	}
	return nil
}

func (w *writer) collectMap(m *prog.Map) error {
	if isSection(m) {
		w.globals = append(w.globals, m)
		return checkSection(m)
	}
	w.maps = append(w.maps, m)
	switch {
	case !isIdentifier(m.Name):
		return unwritable(m.Name, "not the name of a map: expected letters, digits, _ and .", "rename it")
	case m.Type == 0:
		return unwritable(m.Name, "a map without a type", "give it one")
	case m.Frozen || len(m.Vars) > 0:
		return unwritable(m.Name, "a map with variables or a constant one: expected contents", "check the program")
	case m.Record != nil && m.Type != prog.RingBuf:
		return unwritable(m.Name, "records of what is no ring buffer", "check the program")
	case m.Type == prog.RingBuf && m.ValueSize != 0:
		return unwritable(m.Name, "a ring buffer with a value size", "leave it 0")
	case len(m.Tails) > 0 && m.Type != prog.ProgArray:
		return unwritable(m.Name, "programs in what is no PROG_ARRAY", "check the program")
	}
	return nil
}

// checkSection wants of a section of variables what Read makes of one.
func checkSection(m *prog.Map) error {
	constant := strings.HasPrefix(m.Name, ".rodata")
	flags := m.Flags
	if constant { // Read gives the flag to all that is frozen
		flags &^= prog.FlagRdonlyProg
	}
	switch {
	case checkPlain(m.Name) != nil || !isGlobals(&section{name: m.Name, size: 1, flags: elf.SHF_ALLOC, kind: elf.SHT_PROGBITS}):
		return unwritable(m.Name, "not a section of variables: expected .rodata, .data or .bss", "rename it")
	case m.Type != prog.Array || m.KeySize != 4 || m.MaxEntries != 1 || flags != 0 || m.Frozen != constant:
		return unwritable(m.Name, "not a section of variables: expected an array of one element, constant if it is .rodata",
			"check the program")
	case len(m.Contents) == 0 || uint64(len(m.Contents)) != uint64(m.ValueSize):
		return unwritable(m.Name, fmt.Sprintf("%d bytes of variables: expected as many as its value has, %d", len(m.Contents), m.ValueSize),
			"check the program")
	}
	return checkVars(m)
}

// checkVars wants variables that lie in the section, none in another, and a lock
// where the section says that one is.
func checkVars(m *prog.Map) error {
	end, locked := 0, m.SpinLock < 0
	for _, v := range sortedVars(m) {
		switch {
		case !isIdentifier(v.Name):
			return unwritable(v.Name, "not the name of a variable: expected letters, digits, _ and .", "rename it")
		case v.Size <= 0 || v.Count <= 0 || v.Offset < end || v.Offset > len(m.Contents) || v.Count > (len(m.Contents)-v.Offset)/v.Size:
			return unwritable(v.Name, fmt.Sprintf("%d elements of %d bytes at %d of %s: expected some that overlap with nothing and end at %d",
				v.Count, v.Size, v.Offset, m.Name, len(m.Contents)), "check the program")
		case v.Const && !m.Frozen:
			return unwritable(v.Name, "a constant outside .rodata", "check the program")
		}
		end = v.Offset + v.Size*v.Count
		locked = locked || isLockVar(m, v)
	}
	if !locked {
		return unwritable(m.Name, fmt.Sprintf("a lock at %d, where no variable of 4 bytes is", m.SpinLock), "check the program")
	}
	return nil
}

// isLockVar tells whether v is the lock of its section.
func isLockVar(m *prog.Map, v prog.Var) bool {
	return m.SpinLock == v.Offset && v.Kind == prog.VarOther && v.Size*v.Count == lockSize
}

// lockSize is the size of struct bpf_spin_lock.
const lockSize = 4

func sortedVars(m *prog.Map) []prog.Var {
	vars := append([]prog.Var(nil), m.Vars...)
	sort.SliceStable(vars, func(i, j int) bool { return vars[i].Offset < vars[j].Offset })
	return vars
}

// isIdentifier tells whether the kernel takes s for the name of a type or variable.
func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		letter := s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z' || s[i] == '_' || s[i] == '.'
		if !letter && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= maxSymbol
}

// addGlobals adds the sections of variables, with a symbol for each variable.
func (w *writer) addGlobals() error {
	for _, m := range w.globals {
		s := &outSection{name: m.Name, kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC, align: 8, size: uint64(len(m.Contents))}
		if !m.Frozen {
			s.flags |= elf.SHF_WRITE
		}
		if strings.HasPrefix(m.Name, ".bss") && isZero(m.Contents) {
			s.kind = elf.SHT_NOBITS
		} else {
			s.data = m.Contents
		}
		w.sectionOf[m] = w.file.add(s)
		for _, v := range sortedVars(m) {
			w.varsAt[m] = append(w.varsAt[m], w.file.symbol(&symbol{
				name: v.Name, kind: elf.STT_OBJECT, global: !w.file.names[v.Name], section: s,
				value: uint64(v.Offset), size: uint64(v.Size * v.Count),
			}))
		}
	}
	return nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// addMaps adds section .maps. A definition holds only pointers: what counts is
// their type. Behind that of a PROG_ARRAY come its programs.
func (w *writer) addMaps() error {
	if len(w.maps) == 0 {
		return nil
	}
	s := w.file.add(&outSection{name: mapsSection, kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, align: 8})
	for _, m := range w.maps {
		size, err := w.definitionSize(m)
		if err != nil {
			return err
		}
		w.mapAt[m] = w.file.symbol(&symbol{
			name: m.Name, kind: elf.STT_OBJECT, global: true, section: s, value: s.size, size: size,
		})
		if s.size += size; s.size > MaxSize {
			return unwritable(m.Name, fmt.Sprintf("section .maps has %d bytes: expected at most %d", s.size, MaxSize),
				"use smaller indices of programs")
		}
	}
	s.data = make([]byte, s.size)
	return nil
}

// definitionSize is how many bytes of section .maps a map takes.
func (w *writer) definitionSize(m *prog.Map) (uint64, error) {
	def, err := w.types.definition(m)
	if err == nil {
		err = w.checkTails(m)
	}
	if err != nil {
		return 0, err
	}
	size := uint64(def.Size)
	if n := len(m.Tails); n > 0 {
		size += pointerSize * (uint64(m.Tails[n-1].Index) + 1)
	}
	return size, nil
}

// checkTails wants programs that are written, too, in ascending order.
func (w *writer) checkTails(m *prog.Map) error {
	for i, t := range m.Tails {
		switch {
		case w.entries[t.Program] == nil:
			return unwritable(m.Name, fmt.Sprintf("index %d: a program that is not in the object", t.Index), "write it, too")
		case t.Index >= m.MaxEntries || i > 0 && t.Index <= m.Tails[i-1].Index:
			return unwritable(m.Name, fmt.Sprintf("a program at index %d of %d, out of order", t.Index, m.MaxEntries), "check the program")
		}
	}
	return nil
}

// addTails has the address of each program filled in at its index.
func (w *writer) addTails() error {
	for _, m := range w.maps {
		if len(m.Tails) == 0 {
			continue
		}
		def, err := w.types.definition(m)
		if err != nil {
			return err
		}
		at := w.mapAt[m]
		for _, t := range m.Tails {
			at.section.relocs = append(at.section.relocs, outReloc{
				offset: at.value + uint64(def.Size) + pointerSize*uint64(t.Index), kind: relocAddress,
				symbol: w.programSymbol(t.Program),
			})
		}
	}
	return nil
}

// programSymbol is the symbol of a program.
func (w *writer) programSymbol(p *prog.Program) *symbol {
	for _, s := range w.file.symbols {
		if s.global && s.kind == elf.STT_FUNC && s.name == w.entries[p].name {
			return s
		}
	}
	return nil // collectBodies gave every program one
}
