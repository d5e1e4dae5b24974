package split

import (
	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/verify"
)

// spans are the numbers in the order in which they are split. Real calls are
// below 1024; x32 calls have bit 30; -1 is what a tracer skips a call with.
var spans = [...]struct{ from, to uint32 }{
	{0, 1023},
	{1024, abi.X32Bit - 1},
	{abi.X32Bit, 2*abi.X32Bit - 1},
	{2 * abi.X32Bit, 1<<32 - 2},
	{1<<32 - 1, 1<<32 - 1},
}

const (
	// visitBudget bounds the instructions visited for one architecture.
	visitBudget = 500_000
	// probes bounds the explorations of one span above the real calls.
	probes = 96
	// stateBytes bounds the memory of one exploration.
	stateBytes = 16 << 20
)

// splitter splits for one architecture.
type splitter struct {
	v      *verify.Verified
	arch   abi.Arch
	left   int // visits
	probes int // explorations of this span
	out    []Range
}

func splitArch(v *verify.Verified, arch abi.Arch) []Range {
	s := &splitter{v: v, arch: arch, left: visitBudget}
	for i, sp := range spans {
		s.probes = probes
		if i == 0 {
			s.probes = 2 * int(sp.to+1)
		}
		whole, ok := s.explore(sp.from, sp.to)
		if !ok {
			whole = summary{trace: &Reason{Text: "too complex to be split"}}
		}
		s.divide(sp.from, sp.to, whole)
	}
	return s.out
}

// divide halves a range until each part is static or a single number. What
// cannot be explored within the budget keeps the leaf of the range around it,
// which holds for every part.
func (s *splitter) divide(from, to uint32, whole summary) {
	leaf := whole.leaf()
	if leaf.Kind == Static || from == to || !whole.divisible() || s.probes < 2 || s.left <= 0 {
		s.emit(Range{from, to, leaf})
		return
	}
	mid := from + (to-from)/2
	for _, half := range [2][2]uint32{{from, mid}, {mid + 1, to}} {
		part, ok := s.explore(half[0], half[1])
		if !ok {
			part = whole
			part.byNr = false
		}
		s.divide(half[0], half[1], part)
	}
}

// emit appends r, merged with its neighbour if they have the same leaf.
func (s *splitter) emit(r Range) {
	if n := len(s.out); n > 0 && s.out[n-1].Leaf == r.Leaf {
		s.out[n-1].To = r.To
		return
	}
	s.out = append(s.out, r)
}

// explore interprets the program for the calls from … to, everything but nr
// and arch symbolic.
func (s *splitter) explore(from, to uint32) (summary, bool) {
	s.probes--
	limits := absint.Limits{Visits: max(s.left, 2*s.v.Visited()), Bytes: stateBytes}
	f := newFollower(s.v, inputOf(s.arch, from, to), limits)
	found, err := f.target(s.v)
	s.left -= f.visits
	return *found, err == nil
}
