package effect

import (
	"math/rand"
	"reflect"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
)

// staged is a world whose calls lead from one stage to the next if they come in order, up to
// the last, in which the call refused fails.
type staged struct {
	order   []int32
	refused int32
	stage   int
}

func (s *staged) Ask(_ int, c *Call) (abi.Verdict, error) {
	switch nr := c.Data.Nr; {
	case s.stage == len(s.order) && nr == s.refused:
		return abi.Errno(1), nil
	case s.stage < len(s.order) && nr == s.order[s.stage]:
		s.stage++
	case s.stage < len(s.order):
		return abi.Errno(2), nil // so that stages can be told apart
	}
	return abi.Allow, nil
}

func (*staged) Do(*Step) error { return nil }

func newStaged(refused int32) func() (World, error) {
	return func() (World, error) {
		return &staged{order: []int32{9, 4, 7, 2, 8}, refused: refused}, nil
	}
}

func TestDirectedTrialsCountFar(t *testing.T) {
	for _, limit := range []int{100, 3000, 8000} {
		w, n, err := trials(newCounting(limit), newCounting(2*limit)).Directed()
		if err != nil || w == nil || n == 0 || len(w.Steps) != limit+1 || w.Before != abi.Errno(1) || w.After != abi.Allow {
			t.Errorf("%d: %v after %d, %v: expected one call more", limit, w, n, err)
		}
	}
	if w, n, err := trials(newCounting(100), newCounting(100)).Directed(); w != nil || n == 0 || err != nil {
		t.Errorf("%v after %d, %v: there is no difference", w, n, err)
	}
}

func TestDirectedTrialsWalk(t *testing.T) {
	d := trials(newStaged(3), newStaged(5))
	d.Open = []Open{{Arch: abi.ArchX86_64, To: 20, Seeds: []abi.SeccompData{{Nr: 1, Arch: abi.ArchX86_64}}}}
	d.Named = []uint32{2, 3, 4, 5, 7, 8, 9, 30}
	w, _, err := d.Directed()
	if err != nil || w == nil {
		t.Fatalf("%v, %v: expected the last stage to be found", w, err)
	}
	var path []int32
	for _, s := range w.Steps {
		path = append(path, s.Call.Data.Nr)
	}
	if want := []int32{9, 4, 7, 2, 8}; len(path) != 6 || !reflect.DeepEqual(path[:5], want) {
		t.Errorf("%v: expected %v and a call", path, want)
	}
	d.Named = nil
	if w, _, err := d.Directed(); w != nil || err != nil {
		t.Errorf("%v, %v: no call that leads there is known", w, err)
	}
}

// However much there is to try, directed trials end.
func TestDirectedTrialsEnd(t *testing.T) {
	d := trials(newCounting(1<<30), newCounting(1<<30))
	for nr := int32(0); nr < 500; nr++ {
		d.Open[0].Seeds = append(d.Open[0].Seeds, abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64})
	}
	if _, _, err := d.Directed(); err != nil || d.made > 3*budget {
		t.Errorf("%d steps, %v", d.made, err)
	}
	d.made = 0
	d.Over = func() bool { return true }
	if w, n, err := d.Directed(); w != nil || err != nil || d.made > fresh || n > 1 {
		t.Errorf("%v after %d, %v, %d steps: there is no time", w, n, err, d.made)
	}
	w, err := trials(newCounting(1), newCounting(2)).Confirm(&Term{Allows: Less, scripts: []script{{turn{nr: 59, times: 3}}}})
	if w != nil || err != nil {
		t.Errorf("%+v, %v: it allows more", w, err)
	}
}

// A witness is made shorter however long it is, and stays one.
func TestShortened(t *testing.T) {
	d := trials(newCounting(150), newCounting(170))
	other := Step{Event: Waiting, Time: 1}
	r := rand.New(rand.NewSource(1))
	var steps []Step
	for asked := 0; asked < 151; {
		if r.Intn(8) == 0 {
			steps = append(steps, other)
			continue
		}
		asked++
		steps = append(steps, Step{Tid: 1})
	}
	w, err := d.run(steps)
	if err != nil || w == nil {
		t.Fatal(w, err)
	}
	if w, err = d.shortened(w); err != nil || len(w.Steps) != 151 {
		t.Errorf("%d steps, %v: expected 151", len(w.Steps), err)
	}
}

func TestNamedCalls(t *testing.T) {
	data := make([]byte, 2*prog.CallSetBits/8+8)
	data[0], data[prog.CallSetBits/8] = 0x0f, 0x0c // read to close, and fstat's neighbours
	data[2*prog.CallSetBits/8] = 41
	m := &prog.Map{Contents: data, Vars: []prog.Var{
		{Kind: prog.VarCallSet, Const: true, Count: 16, Size: 8},
		{Kind: prog.VarCallSet, Const: true, Count: 16, Size: 8, Offset: prog.CallSetBits / 8},
		{Kind: prog.VarUnsigned, Const: true, Count: 1, Size: 4, Offset: 2 * prog.CallSetBits / 8},
		{Kind: prog.VarCallSet, Const: true, Count: 16, Size: 8, Offset: len(data) - 1},
	}}
	n := naming{kinds: map[uint32]string{}}
	n.program(&prog.Program{Maps: []*prog.Map{m}, Insns: []prog.Insn{{Op: prog.ClassJMP | prog.OpJeq, Imm: 59}}})
	if n.kinds[0] != "A" || n.kinds[2] != "AB" || n.kinds[4] != "" || n.sets != 2 {
		t.Errorf("%v", n.kinds)
	}
	if got := n.numbers.numbers(); !reflect.DeepEqual(got, []uint32{41, 58, 59}) {
		t.Errorf("%v", got)
	}
}
