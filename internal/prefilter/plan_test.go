package prefilter

import (
	"math/rand"
	"testing"

	"portcullis/internal/abi"
)

// weighted is what the searches of i … j that p plans cost.
func (p *plan) weighted(weights []int, i, j int) (cost int) {
	if i == j {
		return 0
	}
	for _, w := range weights[i : j+1] {
		cost += w
	}
	if k := p.part(i, j); k != 0 {
		cost += p.weighted(weights, i, k-1) + p.weighted(weights, k, j)
	}
	return cost
}

// cheapest tries every search.
func cheapest(weights []int, i, j int) int {
	if i == j {
		return 0
	}
	whole, best := 0, -1
	for _, w := range weights[i : j+1] {
		whole += w
	}
	for k := i + 1; k <= j; k++ {
		if c := cheapest(weights, i, k-1) + cheapest(weights, k, j); best < 0 || c < best {
			best = c
		}
	}
	return whole + best
}

// A plan is the cheapest of all searches.
func TestPlanIsCheapest(t *testing.T) {
	r := rand.New(rand.NewSource(6))
	for n := 1; n <= 9; n++ {
		for k := 0; k < 30; k++ {
			weights := make([]int, n)
			for i := range weights {
				weights[i] = [...]int{1, 1024, 2048, 9000}[r.Intn(4)]
			}
			p := newPlan(weights, func(int) bool { return false })
			if got, want := p.weighted(weights, 0, n-1), cheapest(weights, 0, n-1); got != want {
				t.Fatalf("%v cost %d, expected %d", weights, got, want)
			}
		}
	}
}

// One comparison tells the middle one of three from others that are alike, and that
// shortens what is around it; what is too long for a plan is parted in the middle.
func TestPlanShortCuts(t *testing.T) {
	odd := func(i int) bool { return i%2 == 1 }
	for _, n := range []int{3, 7, 101} {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1
		}
		p, plain := newPlan(weights, odd), newPlan(weights, func(int) bool { return false })
		if got, most := p.weighted(weights, 0, n-1), plain.weighted(weights, 0, n-1); got >= most {
			t.Errorf("%d cost %d, expected less than %d", n, got, most)
		}
	}
	long := newPlan(make([]int, planned+1), odd)
	if got := long.part(10, 20); got != 16 {
		t.Errorf("10 … 20 are parted at %d, expected 16", got)
	}
}

// What the program is not executed for does not count.
func TestWeights(t *testing.T) {
	allow, deny := &ending{verdict: abi.Allow}, &ending{verdict: abi.Errno(1)}
	rule := &ending{then: allow, els: deny}
	rs := []run{{0, 1, deny}, {2, 40, allow}, {41, 41, rule}, {42, 1<<32 - 2, allow}, {1<<32 - 1, 1<<32 - 1, deny}}
	got, want := weightsOf(abi.ArchX86_64, rs), []int{2 * executed, 1, ruled * executed, 1, executed}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("run %d weighs %d, expected %d", i, got[i], want[i])
		}
	}
}
