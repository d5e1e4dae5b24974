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
	v        *verify.Verified
	arch     abi.Arch
	follower *follower
	left     int // visits
	probes   int // explorations of this span
	out      []Range
}

// splitArch explores all calls at once, told apart by the program's own tests of
// their number, and of what it makes of real ones. What it makes of greater numbers,
// and of numbers and arguments together, is found out by exploring smaller and
// smaller parts.
func splitArch(v *verify.Verified, arch abi.Arch) []Range {
	s := &splitter{v: v, arch: arch, left: visitBudget, follower: newFollower(v), probes: 1}
	all, ok := s.explore(0, ^uint32(0))
	for i, sp := range spans {
		s.probes = probes
		if i == 0 {
			s.probes = 2 * int(sp.to+1)
		}
		part := all.within(sp.from, sp.to)
		if !ok {
			part = s.parts(sp.from, sp.to, unsplit(v))
		}
		s.divideAll(part)
	}
	return s.out
}

// unsplit is what holds of all calls of a program that is too complex to be explored.
func unsplit(v *verify.Verified) summary {
	why := &Reason{Text: "too complex to be split"}
	if v.MayTrace() {
		return summary{trace: why, pins: true}
	}
	return summary{state: why}
}

func (s *splitter) divideAll(p partition) {
	for _, c := range p {
		s.divide(c)
	}
}

// divide parts a run of calls until each is static or a single number, and has
// been explored alone. What cannot be explored within the budget keeps the leaf of
// the run around it, which holds for every part.
func (s *splitter) divide(c cell) {
	leaf := c.leaf()
	single := c.from == c.to
	if leaf.Kind == Static || single && c.alone || !c.divisible() || s.probes < 2 || s.left <= 0 {
		s.emit(Range{From: c.from, To: c.to, Leaf: leaf})
		return
	}
	otherwise := c.summary
	otherwise.byNr = false
	if !c.alone {
		s.divideAll(s.parts(c.from, c.to, otherwise))
		return
	}
	mid := c.from + (c.to-c.from)/2
	s.divideAll(s.parts(c.from, mid, otherwise))
	s.divideAll(s.parts(mid+1, c.to, otherwise))
}

// emit appends r, merged with its neighbour if they have the same leaf.
func (s *splitter) emit(r Range) {
	if n := len(s.out); n > 0 && s.out[n-1].Leaf == r.Leaf {
		s.out[n-1].To = r.To
		return
	}
	s.out = append(s.out, r)
}

// parts explores the calls from … to; if they are too complex they are what
// otherwise says.
func (s *splitter) parts(from, to uint32, otherwise summary) partition {
	if p, ok := s.explore(from, to); ok {
		return p
	}
	return partition{{from: from, to: to, summary: otherwise}}
}

// explore interprets the program for the calls from … to, everything but nr
// and arch symbolic.
func (s *splitter) explore(from, to uint32) (partition, bool) {
	s.probes--
	limits := absint.Limits{Visits: max(s.left, 2*s.v.Visited()), Bytes: stateBytes}
	s.follower.reset(s.arch, absint.NumbersBetween(from, to), limits)
	found, err := s.follower.target(s.v)
	s.left -= s.follower.visits
	if len(found) == 1 {
		found[0].alone = true
	}
	return found, err == nil
}
