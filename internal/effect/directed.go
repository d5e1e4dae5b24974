package effect

import (
	"encoding/binary"
	"math/rand"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// Bounds of directed trials.
const (
	maxCandidates = 96
	maxPlaces     = 256
	maxWalk       = 12
)

// Directed looks for sequences that drawn ones hardly hold: walks along the calls that lead to
// where others are answered otherwise, and each call thousands of times. It tells how many it
// made. The Witness is nil if no difference was found, which proves nothing.
func (t *Trials) Directed() (w *Witness, n int, err error) {
	all := t.candidates()
	if len(all) == 0 {
		return nil, 0, nil
	}
	d := &directed{Trials: t, calls: all, end: t.made + budget}
	if w, err = d.walk(); w == nil && err == nil {
		d.end = t.made + 2*budget
		w, err = d.repeat()
	}
	if w != nil && err == nil {
		w, err = t.shortened(w)
	}
	return w, d.n, err
}

// directed is directed trials that are being made.
type directed struct {
	*Trials
	calls []Call
	end   int // of the steps that may be made
	n     int
}

func (d *directed) try(steps []Step) (*Witness, error) {
	d.n++
	return d.run(steps)
}

func (d *directed) spent() bool { return d.made > d.end || d.over() }

// repeat makes each call again and again, at first all of them not so often.
func (d *directed) repeat() (*Witness, error) {
	for times := 128; times <= maxRepeats; times *= 4 {
		for _, c := range d.calls {
			if d.spent() {
				return nil, nil
			}
			if w, err := d.try(repeated(c, times)); w != nil || err != nil {
				return w, err
			}
		}
	}
	return nil, nil
}

// maxRepeats is how often a call is made at most.
const maxRepeats = 8192

// walk goes from place to place: two sequences of calls lead to the same place if all calls
// are answered alike then.
func (d *directed) walk() (*Witness, error) {
	seen := map[string]bool{}
	places := [][]Call{nil}
	for ; len(places) > 0 && !d.spent(); places = places[1:] {
		for _, c := range d.calls {
			path := append(append([]Call(nil), places[0]...), c)
			print, w, err := d.fingerprint(path)
			if w != nil || err != nil || d.spent() {
				return w, err
			}
			if !seen[print] && len(seen) < maxPlaces && len(path) < maxWalk {
				seen[print] = true
				places = append(places, path)
			}
		}
	}
	return nil, nil
}

// fingerprint is how all calls are answered behind a path, from the first to the last and the
// other way round.
func (d *directed) fingerprint(path []Call) (string, *Witness, error) {
	var print strings.Builder
	there, back := made(path), made(path)
	for i := range d.calls {
		there = append(there, Step{Tid: 1, Call: d.calls[i]})
		back = append(back, Step{Tid: 1, Call: d.calls[len(d.calls)-1-i]})
	}
	for _, steps := range [][]Step{there, back} {
		w, err := d.try(steps)
		if w != nil || err != nil {
			return "", w, err
		}
		for _, v := range d.heard[min(len(path), len(d.heard)):] {
			binary.Write(&print, binary.LittleEndian, uint32(v))
		}
		print.WriteByte('/')
	}
	return print.String(), nil, nil
}

func made(calls []Call) (steps []Step) {
	for _, c := range calls {
		steps = append(steps, Step{Tid: 1, Call: c})
	}
	return steps
}

// candidates are the calls that directed trials make: of those that are open the ones that
// programs name, and all seeds.
func (t *Trials) candidates() (all []Call) {
	known := map[abi.SeccompData]bool{}
	add := func(s abi.SeccompData) {
		if !known[s] && len(all) < maxCandidates {
			known[s] = true
			all = append(all, t.call(newRand(), s, true))
		}
	}
	for _, o := range t.Open { // one of each run, so that none is crowded out
		for _, s := range o.Seeds[:min(1, len(o.Seeds))] {
			add(s)
		}
	}
	for _, nr := range t.Named {
		if t.open(nr) {
			add(t.seeds(nr)[0])
		}
	}
	for _, o := range t.Open {
		for _, s := range o.Seeds {
			add(s)
		}
	}
	return all
}

func (t *Trials) open(nr uint32) bool {
	for _, o := range t.Open {
		if o.Arch == abi.ArchX86_64 && o.From <= nr && nr <= o.To {
			return true
		}
	}
	return false
}

// Named are calls that the programs of filters name: one of each kind that their sets of calls
// tell apart, and those whose number is in a list, or compared with.
func Named(trees ...*split.Tree) []uint32 {
	n := naming{kinds: map[uint32]string{}}
	for _, t := range trees {
		for _, v := range t.Verified().Programs() {
			n.program(v.Program())
		}
	}
	seen := map[string]bool{}
	var all []uint32
	for _, c := range syscalls.All() {
		if kind := n.kinds[c.Nr]; kind != "" && !seen[kind] {
			seen[kind] = true
			all = append(all, c.Nr)
		}
	}
	return append(all, n.numbers.numbers()...)
}

// naming is what programs say of numbers.
type naming struct {
	kinds   map[uint32]string // each with a letter for every set that it is in
	sets    int
	numbers calls
}

func (n *naming) program(p *prog.Program) {
	for _, in := range p.Insns {
		if in.Class() == prog.ClassJMP || in.Class() == prog.ClassJMP32 {
			n.numbers.add(uint32(in.Imm))
			n.numbers.add(uint32(in.Imm) - 1) // a search compares with the first of several
		}
	}
	for _, m := range p.Maps {
		for i := range m.Vars {
			n.variable(&m.Vars[i], m.Contents)
		}
	}
}

// maxSets is how many sets of calls tell kinds apart.
const maxSets = 64

func (n *naming) variable(v *prog.Var, contents []byte) {
	if !v.Const || v.Offset < 0 || v.Offset > len(contents) {
		return
	}
	data := contents[v.Offset:]
	switch {
	case v.Kind == prog.VarCallSet && len(data) >= prog.CallSetBits/8 && n.sets < maxSets:
		n.set(data)
	case (v.Kind == prog.VarUnsigned || v.Kind == prog.VarSigned) && v.Size == 4:
		for i := 0; i < v.Count && len(data) >= 4*(i+1); i++ {
			n.numbers.add(binary.LittleEndian.Uint32(data[4*i:]))
		}
	}
}

func (n *naming) set(data []byte) {
	letter := string(rune('A' + n.sets))
	n.sets++
	for _, c := range syscalls.All() {
		if c.Nr < prog.CallSetBits && data[c.Nr/8]>>(c.Nr%8)&1 != 0 {
			n.kinds[c.Nr] += letter
		}
	}
}

// newRand draws the same for every call.
func newRand() *rand.Rand { return rand.New(rand.NewSource(1)) }
