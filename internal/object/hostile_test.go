package object

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

// The compiler marks code of its own with line 0, which is no place to send a
// reader to: such code belongs to the line before it. Lines of instructions that
// are not there would only fill memory.
func TestLinesThatAreLeftOut(t *testing.T) {
	o := &object{types: &types{}}
	for _, c := range []struct{ insn, line, want int }{{0, 0, 0}, {0, 7, 1}, {1, 7, 1}, {2, 7, 0}, {1<<29 - 1, 7, 0}} {
		var record [16]byte
		binary.LittleEndian.PutUint32(record[0:], uint32(c.insn*prog.Size))
		binary.LittleEndian.PutUint32(record[12:], uint32(c.line<<10|5))
		code := &code{insns: make([]prog.Insn, 2)}
		if err := o.addLine(code, record[:]); err != nil || len(code.lines) != c.want {
			t.Errorf("line %d of instruction %d: %d lines kept (%v), want %d", c.line, c.insn, len(code.lines), err, c.want)
		}
	}
}

// A record of 30 structs, each of which has the next one twice, has a thousand
// million members: they must not be looked at.
func TestRecordOfSharedStructs(t *testing.T) {
	bit := btf.Member{Name: "bit", Type: &btf.Int{Size: 4}, BitfieldSize: 1} // which is no field
	s := &btf.Struct{Size: 4, Members: []btf.Member{bit}}
	for i := 0; i < 30; i++ {
		s = &btf.Struct{Size: 4, Members: []btf.Member{{Name: "a", Type: s}, {Name: "b", Type: s}}}
	}
	l := &layout{object: &object{}, m: &prog.Map{Name: "ring"}, record: &prog.Record{Size: 4}}
	var e *Error
	if err := l.add("", 0, s.Members, 0); !errors.As(err, &e) || e.Symbol != "ring" {
		t.Errorf("%v: expected an *Error about the ring buffer", err)
	}
	if l.seen > maxMembers+1 {
		t.Errorf("%d members were looked at: expected at most %d", l.seen, maxMembers)
	}
}
