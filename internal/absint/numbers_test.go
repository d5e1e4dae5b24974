package absint

import (
	"math"
	"math/rand"
	"testing"

	"portcullis/internal/prog"
)

// turning are the numbers around which comparisons change.
func turning(r *rand.Rand) uint64 {
	some := []uint64{
		0, 1, 59, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xc0000000, 0xf0000000, 0xffffffff,
		1 << 32, 1<<32 + 1, math.MaxInt64, 1 << 63, math.MaxUint64, 0xffffffff80000000,
	}
	return some[r.Intn(len(some))] + uint64(r.Intn(3)) - 1
}

// A cut by a test parts a set into those numbers that pass and those that do not.
func TestCutByTests(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	tested := 0
	for i := 0; i < 20000; i++ {
		var set Numbers
		for next := uint64(0); len(set) < 1+r.Intn(4) && next <= math.MaxUint32; {
			lo := next + uint64(r.Int63n(1<<uint(1+r.Intn(32))))
			hi := lo + uint64(r.Intn(1<<uint(1+r.Intn(30))))
			set = append(set, few{}.and(lo, hi).list()...)
			next = hi + 2
		}
		if len(set) == 0 {
			continue
		}
		op := []uint8{prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJsgt, prog.OpJsge}[r.Intn(6)]
		w := []Width{W32, W64}[r.Intn(2)]
		k := turning(r)
		pass, ok := passing(op, w, k)
		if !ok {
			continue
		}
		tested++
		in, out := set.Cut(pass.r[:pass.n])
		wellFormed(t, in)
		wellFormed(t, out)
		for j := 0; j < 40; j++ {
			nr := uint32(turning(r))
			if j%2 == 0 {
				s := set[r.Intn(len(set))]
				nr = [...]uint32{s.Min, s.Max, s.Min - 1, s.Max + 1}[r.Intn(4)]
			}
			has, want := set.contains(nr), holds(op, w, uint64(nr), k)
			if in.contains(nr) != (has && want) || out.contains(nr) != (has && !want) {
				t.Fatalf("%v cut by op %#x w %d k %#x: %v, %v, wrong about %#x", set, op, w, k, in, out, nr)
			}
		}
		if len(in) > 0 && !set.meets(in) || len(in) > 0 && len(out) > 0 && in.meets(out) || !set.covers(in) || len(in) > 0 && len(out) > 0 && in.covers(set) {
			t.Fatalf("%v cut into %v and %v: meets and covers disagree", set, in, out)
		}
	}
	if tested < 5000 {
		t.Errorf("%d cuts were tested: too few", tested)
	}
}

func (f few) list() Numbers { return append(Numbers(nil), f.r[:f.n]...) }

func wellFormed(t *testing.T, n Numbers) {
	t.Helper()
	for i, r := range n {
		if r.Min > r.Max || i > 0 && uint64(n[i-1].Max)+1 >= uint64(r.Min) {
			t.Fatalf("%v is not ascending with gaps", n)
		}
	}
}
