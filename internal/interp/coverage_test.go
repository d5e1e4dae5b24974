package interp

import "testing"

// Every opcode that the machine knows comes up in generated programs, or in
// the cases that other tests read: an opcode that nothing exercises is one
// that nothing compares.
func TestEveryOpcodeIsGenerated(t *testing.T) {
	seen := map[opcode]bool{opHelper: false}
	for seed := int64(1); seed <= 100; seed++ {
		l, err := lower(generate(seed, 24))
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range l.code {
			seen[in.op()] = true
		}
	}
	for op := opMov; op < opArithEnd; op += sparse {
		if !seen[op] {
			t.Errorf("arithmetic opcode %d (%d-th) is in no generated program", op, op/sparse)
		}
	}
	for op := opIllegal; op < opEnd; op++ {
		if !seen[op] {
			t.Errorf("opcode %d (illegal+%d) is in no generated program", op, op-opIllegal)
		}
	}
}
