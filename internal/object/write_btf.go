package object

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// addTypes adds .BTF: the sections of variables and maps with their offsets, which
// makes it what the kernel takes, and the functions.
func (w *writer) addTypes() error {
	var b btf.Builder
	sections, err := w.dataSections()
	if err != nil {
		return err
	}
	for _, ds := range sections {
		if _, err := b.Add(ds); err != nil {
			return untyped(err)
		}
	}
	funcs, err := w.functionTypes(&b)
	if err != nil {
		return untyped(err)
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		return untyped(err)
	}
	w.btf, w.funcIDs = raw, funcs
	return nil
}

// untyped is an error of the writer of types.
func untyped(err error) error {
	return &Error{
		Path: "writing an object", Section: ".BTF", Reason: "types that cannot be written", Err: err,
		Remedy: "check the program",
	}
}

// dataSections describes the sections of variables, and .maps.
func (w *writer) dataSections() ([]*btf.Datasec, error) {
	var all []*btf.Datasec
	for _, m := range w.globals {
		if len(m.Vars) == 0 {
			continue
		}
		ds, err := w.variables(m)
		if err != nil {
			return nil, err
		}
		all = append(all, ds)
	}
	if len(w.maps) == 0 {
		return all, nil
	}
	ds, err := w.definitions()
	return append(all, ds), err
}

// variables describes a section of variables.
func (w *writer) variables(m *prog.Map) (*btf.Datasec, error) {
	ds := &btf.Datasec{Name: m.Name, Size: m.ValueSize}
	for i, v := range sortedVars(m) {
		typ, err := w.types.variable(m, v)
		if err != nil {
			return nil, err
		}
		linkage := btf.StaticVar
		if w.varsAt[m][i].global {
			linkage = btf.GlobalVar
		}
		ds.Vars = append(ds.Vars, btf.VarSecinfo{
			Type: &btf.Var{Name: v.Name, Type: typ, Linkage: linkage}, Offset: uint32(v.Offset), Size: uint32(v.Size * v.Count),
		})
	}
	return ds, nil
}

// definitions describes section .maps.
func (w *writer) definitions() (*btf.Datasec, error) {
	ds := &btf.Datasec{Name: mapsSection}
	for _, m := range w.maps {
		def, err := w.types.definition(m)
		if err != nil {
			return nil, err
		}
		at := w.mapAt[m]
		ds.Size = uint32(at.value + at.size)
		ds.Vars = append(ds.Vars, btf.VarSecinfo{
			Type: &btf.Var{Name: m.Name, Type: def, Linkage: btf.GlobalVar}, Offset: uint32(at.value), Size: uint32(at.size),
		})
	}
	return ds, nil
}

// functionTypes adds the functions and returns their types' numbers.
func (w *writer) functionTypes(b *btf.Builder) (map[*body]btf.TypeID, error) {
	ids := map[*body]btf.TypeID{}
	for _, s := range w.code {
		for _, f := range s.bodies {
			typ := &btf.Func{Name: typeName(f.name), Type: w.types.function(), Linkage: btf.StaticFunc}
			if f.entry {
				typ.Type, typ.Linkage = w.types.filter(), btf.GlobalFunc
			}
			id, err := b.Add(typ)
			if err != nil {
				return nil, err
			}
			ids[f] = id
		}
	}
	return ids, nil
}

// Sizes of the records of .BTF.ext, and of its header, struct btf_ext_header.
const (
	extHeaderSize = 32
	funcInfoSize  = 8
	lineInfoSize  = 16
)

// addLines adds .BTF.ext: which function and which line instructions are of. Its
// strings are those of .BTF, which is added here for that.
func (w *writer) addLines() error {
	strs := newStrings(w.btf)
	funcs := w.info(funcInfoSize, strs, w.funcInfo)
	lines := w.info(lineInfoSize, strs, w.lineInfo)
	raw := strs.appended(w.btf)
	if len(raw) > MaxTypes {
		return unwritable("", fmt.Sprintf("%d bytes of types, names and lines of source: expected at most %d", len(raw), MaxTypes),
			"write fewer programs to an object, or shorter lines")
	}
	le := binary.LittleEndian
	ext := append(le.AppendUint16(nil, btfMagic), 1, 0)
	for _, n := range []int{extHeaderSize, 0, len(funcs), len(funcs), len(lines), len(funcs) + len(lines), 0} {
		ext = le.AppendUint32(ext, uint32(n))
	}
	ext = append(append(ext, funcs...), lines...)
	w.file.add(&outSection{name: ".BTF", kind: elf.SHT_PROGBITS, align: 4, data: raw})
	w.file.add(&outSection{name: ".BTF.ext", kind: elf.SHT_PROGBITS, align: 4, data: ext})
	return nil
}

// info is one table of .BTF.ext: the size of its records, then for each section its
// name, the number of records and the records.
func (w *writer) info(size uint32, strs *btfText, of func(*body, *btfText) [][]uint32) []byte {
	le, table := binary.LittleEndian, binary.LittleEndian.AppendUint32(nil, size)
	for _, s := range w.code {
		var records []byte
		for _, b := range s.bodies {
			for _, r := range of(b, strs) {
				for _, word := range r {
					records = le.AppendUint32(records, word)
				}
			}
		}
		table = le.AppendUint32(le.AppendUint32(table, strs.add(s.name)), uint32(len(records))/size)
		table = append(table, records...)
	}
	return table
}

// funcInfo is a struct bpf_func_info.
func (w *writer) funcInfo(b *body, _ *btfText) [][]uint32 {
	return [][]uint32{{uint32(b.start) * prog.Size, uint32(w.funcIDs[b])}}
}

// lineInfo is a struct bpf_line_info for each line. The kernel wants one of the first
// instruction of every function if it is given any, other readers want some, and none
// may be of the second half of an instruction. Line 0 is of nobody's source, as with
// compilers.
func (w *writer) lineInfo(b *body, strs *btfText) [][]uint32 {
	var all [][]uint32
	if len(b.lines) == 0 || b.lines[0].Insn > 0 {
		all = append(all, []uint32{uint32(b.start) * prog.Size, 0, 0, 0})
	}
	for _, l := range b.lines {
		if l.Insn > 0 && b.insns[l.Insn].Op == 0 {
			continue
		}
		all = append(all, []uint32{uint32(b.start+l.Insn) * prog.Size, strs.add(fileName(l.File)), strs.add(l.Text), uint32(l.Line) << 10})
	}
	return all
}

// fileName is what Read makes name of.
func fileName(name string) string {
	if strings.HasPrefix(name, "./") {
		return "./" + name
	}
	return name
}

// btfText is strings behind those that .BTF has already.
type btfText struct {
	*names
	had uint32 // bytes of strings
}

func newStrings(raw []byte) *btfText {
	return &btfText{names: newNames(), had: binary.LittleEndian.Uint32(raw[btfStrLen:])}
}

// btfStrLen is the offset of str_len in struct btf_header, whose strings come last.
const btfStrLen = 20

func (t *btfText) add(s string) uint32 {
	if s == "" {
		return 0
	}
	return t.had + t.names.add(s)
}

// appended is .BTF with the strings.
func (t *btfText) appended(raw []byte) []byte {
	raw = append(raw[:len(raw):len(raw)], t.data...)
	binary.LittleEndian.PutUint32(raw[btfStrLen:], t.had+uint32(len(t.data)))
	return raw
}
