package object

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// errShort is the cause where .BTF.ext ends in the middle of something.
var errShort = errors.New("shorter than it claims")

// reader takes little-endian words off bytes that may be too short.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.err, r.b = errShort, nil
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) u32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// extHeader is struct btf_ext_header of libbpf, from hdr_len on.
type extHeader struct {
	size                 uint32
	lineOff, lineLen     uint32
	fieldsOff, fieldsLen uint32
}

// readLines reads source lines, and refuses relocations of kernel types, from
// .BTF.ext (Documentation/bpf/btf.rst, section 4.2).
func (o *object) readLines() error {
	_, s := o.section(".BTF.ext")
	if s == nil || o.types == nil {
		return nil
	}
	if s.size > MaxLines {
		return o.failIn(s.name, fmt.Sprintf("%d bytes of line information: expected at most %d", s.size, MaxLines),
			"split the object")
	}
	raw, err := o.contents(s)
	if err != nil {
		return err
	}
	h, err := readExtHeader(raw)
	if err == nil {
		err = o.eachRecord(raw, h.size, h.lineOff, h.lineLen, 16, o.addLine)
	}
	if err == nil {
		err = o.eachRecord(raw, h.size, h.fieldsOff, h.fieldsLen, 16, o.checkField)
	}
	var known *Error
	if err != nil && !errors.As(err, &known) {
		return &Error{
			Path: o.path, Section: s.name, Reason: "not readable line information", Err: err,
			Remedy: damaged,
		}
	}
	o.sortLines()
	return err
}

func readExtHeader(raw []byte) (extHeader, error) {
	r := reader{b: raw}
	magic := r.u32()
	h := extHeader{size: r.u32()}
	r.u32() // func_info_off
	r.u32() // func_info_len
	h.lineOff, h.lineLen = r.u32(), r.u32()
	if h.size >= 32 {
		h.fieldsOff, h.fieldsLen = r.u32(), r.u32()
	}
	if r.err == nil && magic != btfMagic|1<<16 {
		r.err = fmt.Errorf("magic and version %#x: expected %#x", magic, btfMagic|1<<16)
	}
	return h, r.err
}

// eachRecord calls f for each record of one table of .BTF.ext: a record size,
// then for each section its name, a count and the records.
func (o *object) eachRecord(raw []byte, header, off, size, least uint32, f func(*code, []byte) error) error {
	if size == 0 {
		return nil
	}
	whole := reader{b: raw}
	whole.take(uint64(header) + uint64(off))
	r := reader{b: whole.take(uint64(size)), err: whole.err}
	record := r.u32()
	if r.err == nil && record < least {
		return fmt.Errorf("records of %d bytes: expected at least %d", record, least)
	}
	for r.err == nil && len(r.b) > 0 {
		c := o.named[o.types.text(r.u32())]
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			b := r.take(uint64(record))
			if b == nil || c == nil {
				continue
			}
			if err := f(c, b); err != nil {
				return err
			}
		}
	}
	return r.err
}

// addLine keeps one struct bpf_line_info: the byte offset of an instruction,
// file, text, and line << 10 | column. Line 0 is the compiler's own code: it
// goes with the line before. Lines of no instruction would only fill memory.
func (o *object) addLine(c *code, b []byte) error {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	if word(3)>>10 == 0 || uint64(word(0)/prog.Size) >= uint64(len(c.insns)) {
		return nil
	}
	c.lines = append(c.lines, prog.Line{
		Insn: int(word(0) / prog.Size),
		File: strings.TrimPrefix(o.types.text(word(1)), "./"),
		Text: strings.TrimSpace(o.types.text(word(2))),
		Line: int(word(3) >> 10),
	})
	return nil
}

// sortLines orders the lines of each section and keeps the first of each
// instruction, so that there are never more lines than instructions.
func (o *object) sortLines() {
	for _, c := range o.code {
		lines := c.lines
		sort.SliceStable(lines, func(i, j int) bool { return lines[i].Insn < lines[j].Insn })
		c.lines = lines[:0]
		for i, l := range lines {
			if i == 0 || l.Insn != c.lines[len(c.lines)-1].Insn {
				l.File, l.Text = visible(l.File), visible(l.Text)
				c.lines = append(c.lines, l)
			}
		}
	}
}

// fieldOffset is BPF_CORE_FIELD_BYTE_OFFSET of enum bpf_core_relo_kind.
const fieldOffset = 0

// checkField refuses one struct bpf_core_relo, unless it is the offset of a
// field of the context, which never moves: a filter sees no kernel type.
func (o *object) checkField(c *code, b []byte) error {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	name := o.typeName(word(1))
	if name == "seccomp_data" && word(3) == fieldOffset {
		return nil
	}
	return o.failAt(c.name, name, "a type that differs between kernels (CO-RE), which a filter cannot see",
		"use the types of include/portcullis.h")
}

func (o *object) typeName(id uint32) string {
	var t btf.Type
	err := shielded(func() (err error) {
		t, err = o.types.spec.TypeByID(btf.TypeID(id))
		return err
	})
	if err != nil || t == nil {
		return fmt.Sprintf("type %d", id)
	}
	return t.TypeName()
}
