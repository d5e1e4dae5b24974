//go:build linux && amd64

package notify

import "testing"

// changes counts how often p changes its mode over n samples.
func changes(p *pace, n int, sample func(i int) (task uint32, waiting bool)) (count int) {
	for i := 0; i < n; i++ {
		if p.sample(sample(i)) {
			count++
		}
	}
	return count
}

func TestPace(t *testing.T) {
	var p pace
	few := func(i int) (uint32, bool) { return uint32(i%4 + 1), true }
	sequence := func(i int) (uint32, bool) { return uint32(i + 1), false }
	crowd := func(i int) (uint32, bool) { return uint32(i%100 + 1), true }
	if n := changes(&p, 1000, few); n != 0 || p.spread {
		t.Errorf("four tasks that call at once: %d changes, spread %v", n, p.spread)
	}
	if n := changes(&p, 1000, sequence); n != 0 || p.spread {
		t.Errorf("many tasks that call one after the other: %d changes, spread %v", n, p.spread)
	}
	if n := changes(&p, 1000, crowd); n != 1 || !p.spread {
		t.Errorf("a hundred tasks that call at once: %d changes, spread %v", n, p.spread)
	}
	if n := changes(&p, 1000, few); n != 1 || p.spread {
		t.Errorf("back to four: %d changes, spread %v", n, p.spread)
	}
	// A crowd that is not always there when it is looked for does not flap.
	mixed := func(i int) (uint32, bool) { return uint32(i%100 + 1), i%4 != 0 }
	if n := changes(&p, 1000, mixed); n != 1 || !p.spread {
		t.Errorf("a crowd with gaps: %d changes, spread %v", n, p.spread)
	}
}

func TestPaceSamples(t *testing.T) {
	var p pace
	due := 0
	for i := 0; i < 100*sampled; i++ {
		if p.due() {
			due++
		}
	}
	if due != 100 {
		t.Errorf("%d samples in %d decisions, want 100", due, 100*sampled)
	}
}
