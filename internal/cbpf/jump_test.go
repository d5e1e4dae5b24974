package cbpf_test

import (
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

// TestFarEdges puts the targets of one test at distances around what 8 bits
// hold, in every combination, with code that no pass can shorten between them.
func TestFarEdges(t *testing.T) {
	for _, near := range []int{0, 1, 250, 251, 252, 253, 254, 255, 256, 600} {
		for _, between := range []int{0, 1, 2, 253, 254, 255, 256, 257, 700} {
			farEdge(t, near, between, cbpf.JeqK, 7)
			farEdge(t, near, between, cbpf.JgtK, 6)
		}
	}
}

// farEdge assembles "if nr op k goto far else goto near", near and far apart.
func farEdge(t *testing.T, distance, between int, op uint16, k uint32) {
	t.Helper()
	var a cbpf.Assembler
	start, near, far := a.NewLabel(), a.NewLabel(), a.NewLabel()
	a.Goto(start)
	a.Bind(start)
	a.Emit(cbpf.LdAbs, abi.OffNr)
	a.Branch(op, k, far, near)
	pad(&a, distance)
	a.Bind(near)
	a.Emit(cbpf.OrK, 0x100)
	pad(&a, between)
	a.Bind(far)
	a.Emit(cbpf.AddK, 0x1000)
	a.Emit(cbpf.RetA, 0)
	p, err := a.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	taken, other := p.Run(&abi.SeccompData{Nr: 7}), p.Run(&abi.SeccompData{Nr: 5})
	if taken != 0x1007 || other != 0x1105+abi.Verdict(between) {
		t.Errorf("distance %d, then %d: %#x and %#x", distance, between, uint32(taken), uint32(other))
	}
}

// pad adds n to A, one by one.
func pad(a *cbpf.Assembler, n int) {
	for i := 0; i < n; i++ {
		a.Emit(cbpf.AddK, 1)
	}
}

// TestGotoFar starts with a jump that no instruction before it can absorb.
func TestGotoFar(t *testing.T) {
	var a cbpf.Assembler
	begin, out := a.NewLabel(), a.NewLabel()
	a.Goto(begin)
	a.Bind(begin)
	a.Branch(cbpf.JeqK, 0, cbpf.Next, out)
	pad(&a, 300)
	a.Bind(out)
	a.Emit(cbpf.RetA, 0)
	p, err := a.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Run(&abi.SeccompData{}); got != 300 {
		t.Errorf("Run = %d, want 300", got)
	}
}

// TestFirstJumpIsKept: the entry is where the kernel starts, even if the first
// instruction only jumps to code that something else comes before.
func TestFirstJumpIsKept(t *testing.T) {
	p, err := cbpf.Validate([]cbpf.Insn{
		{Op: cbpf.Ja, K: 1},
		ret(abi.KillProcess),
		{Op: cbpf.JeqK, K: 0, Jt: 1},
		ret(abi.Trap),
		ret(abi.Allow),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []cbpf.Program{p, cbpf.Optimise(p)} {
		if got := q.Run(&abi.SeccompData{}); got != abi.Allow {
			t.Errorf("%v, want ALLOW\n%s", got, q)
		}
	}
}
