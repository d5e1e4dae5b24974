package prefilter

import (
	"errors"
	"math/rand"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// choice is a filter as a decision tree that Go can evaluate and that compiles
// to eBPF: the tests below hold what verifier, splitter and prefilter make of
// the one against the other.
type choice struct {
	// off is the field that is compared with k; yes is taken if equal, or
	// larger if greater. A leaf has neither branch.
	off     uint32
	greater bool
	k       uint32
	yes, no *choice
	// verdict is a leaf's, unless it is dynamic: some ERRNO then.
	verdict abi.Verdict
	dynamic bool
}

func randomChoice(r *rand.Rand, depth int) *choice {
	if depth == 0 || r.Intn(6) == 0 {
		return &choice{verdict: verdicts[r.Intn(len(verdicts))], dynamic: r.Intn(6) == 0}
	}
	fields := []uint32{abi.OffNr, abi.OffNr, abi.OffNr, abi.OffArch, abi.OffArgs, abi.OffArgs + 12}
	c := &choice{off: fields[r.Intn(len(fields))], greater: r.Intn(2) == 0, k: anyNumber(r)}
	if c.off == abi.OffArch {
		c.k = uint32([]abi.Arch{abi.ArchX86_64, abi.ArchI386}[r.Intn(2)])
	}
	c.yes, c.no = randomChoice(r, depth-1), randomChoice(r, depth-1)
	return c
}

func (c *choice) decide(d *abi.SeccompData) *choice {
	for c.yes != nil {
		raw := d.Bytes()
		v := uint32(raw[c.off]) | uint32(raw[c.off+1])<<8 | uint32(raw[c.off+2])<<16 | uint32(raw[c.off+3])<<24
		if v == c.k || c.greater && v > c.k {
			c = c.yes
		} else {
			c = c.no
		}
	}
	return c
}

func (c *choice) compile() []prog.Insn {
	set := func(v abi.Verdict) []prog.Insn {
		return []prog.Insn{
			{Op: prog.ClassALU | prog.OpMov, Dst: prog.R0, Imm: int32(v)},
			{Op: prog.OpExitInsn},
		}
	}
	switch {
	case c.yes != nil:
		yes, no := c.yes.compile(), c.no.compile()
		op := uint8(prog.OpJeq)
		if c.greater {
			op = prog.OpJge
		}
		test := []prog.Insn{
			{Op: prog.ClassLDX | prog.ModeMem | prog.SizeW, Dst: 2, Src: prog.R1, Off: int16(c.off)},
			{Op: prog.ClassJMP32 | op, Dst: 2, Imm: int32(c.k), Off: int16(len(no))},
		}
		return append(append(test, no...), yes...)
	case c.dynamic:
		return []prog.Insn{
			{Op: prog.OpCallInsn, Imm: int32(helper.GetPrandomU32)},
			{Op: prog.ClassALU | prog.OpAnd, Dst: prog.R0, Imm: 0xff},
			{Op: prog.ClassALU | prog.OpOr, Dst: prog.R0, Imm: int32(abi.ErrnoAction)},
			{Op: prog.OpExitInsn},
		}
	}
	return set(c.verdict)
}

func splitChoice(t *testing.T, c *choice) *split.Tree {
	t.Helper()
	p := &prog.Program{Name: "choice", Insns: c.compile(), Funcs: []prog.Func{{Name: "choice"}}, License: "GPL"}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return split.Split(v)
}

// TestRealFilters: from eBPF to classic BPF, a static verdict is what the
// filters return, and a notification is asked for only if some filter calls for
// state on its way: their tests are all such as classic BPF can make.
func TestRealFilters(t *testing.T) {
	r := rand.New(rand.NewSource(21))
	static, refused := 0, 0
	for i := 0; i < 60; i++ {
		choices := []*choice{randomChoice(r, 1+r.Intn(4)), randomChoice(r, 1+r.Intn(3))}
		trees := []*split.Tree{splitChoice(t, choices[0]), splitChoice(t, choices[1])}
		o := Options{Lift: []Guard{GuardI386, GuardX32, GuardIOUring}}
		p, err := Build(trees, o)
		var mine *Error
		if errors.As(err, &mine) {
			refused++ // a dynamic path beside one that returns what only a tracer can deliver
			continue
		}
		for j := 0; j < 200; j++ {
			static += agreeWithFilters(t, p, choices, r)
		}
	}
	if static < 1000 || refused > 50 {
		t.Errorf("%d static verdicts, %d stacks refused: this tests little", static, refused)
	}
}

func agreeWithFilters(t *testing.T, p *Prefilter, choices []*choice, r *rand.Rand) int {
	t.Helper()
	d := abi.SeccompData{Nr: int32(anyNumber(r)), Arch: abi.ArchX86_64, Args: [6]uint64{uint64(anyNumber(r)), uint64(anyNumber(r)) << 32}}
	if r.Intn(3) == 0 {
		d.Arch = abi.ArchI386
	}
	l := p.Decide(&d)
	if l.Guard != "" {
		return 0
	}
	v, dynamic := abi.Allow, false
	for _, c := range choices {
		end := c.decide(&d)
		dynamic = dynamic || end.dynamic
		v = abi.Strictest(end.verdict, v)
	}
	if dynamic != (l.Kind != split.Static) {
		t.Fatalf("%+v: %s, but that a filter needs state is %v", d, leafText(l), dynamic)
	}
	if dynamic {
		return 0
	}
	if v = (&builder{traced: p.Traced()}).delivered(v); p.Recheck(&d) != v || l.Verdict != v {
		t.Fatalf("%+v: %s, program %v, filters %v", d, leafText(l), p.Recheck(&d), v)
	}
	return 1
}
