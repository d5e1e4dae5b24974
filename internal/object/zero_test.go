package object

import (
	"encoding/binary"
	"testing"
)

// The compiler marks code of its own with line 0, which is no place to send a
// reader to: such code belongs to the line before it.
func TestLineZeroIsLeftOut(t *testing.T) {
	o := &object{types: &types{}}
	for line, want := range map[uint32]int{0: 0, 7: 1} {
		var record [16]byte
		binary.LittleEndian.PutUint32(record[12:], line<<10|5)
		c := &code{}
		if err := o.addLine(c, record[:]); err != nil || len(c.lines) != want {
			t.Errorf("line %d: %d lines kept (%v), want %d", line, len(c.lines), err, want)
		}
	}
}
