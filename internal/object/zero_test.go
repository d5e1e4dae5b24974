package object

import (
	"encoding/binary"
	"testing"

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
