package split_test

import (
	"math"
	"math/rand"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// An interval says of every value what the test says of data with it.
func TestIntervalsAreTests(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	ops := []uint8{prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJle, prog.OpJsgt, prog.OpJsge}
	for i := 0; i < 50_000; i++ {
		op, size := ops[r.Intn(len(ops))], uint8(4+4*r.Intn(2))
		most := uint64(math.MaxUint64) >> (64 - 8*size)
		test := split.Test{Part: split.Part{Off: abi.OffArgs, Size: size, Mask: most}, Op: op, Value: bpfgen.Number(r) & most}
		if op == prog.OpJle {
			test.Low = test.Value & bpfgen.Number(r)
		}
		lo, hi, outside, ok := test.Interval()
		if !ok {
			t.Fatalf("%v is no interval", test)
		}
		for _, v := range []uint64{bpfgen.Number(r), test.Value, test.Value + 1, test.Value - 1, test.Low - 1, test.Low} {
			v &= most
			d := abi.SeccompData{Args: [6]uint64{v}}
			if want := test.Holds(&d); (lo <= v && v <= hi) == outside == want {
				t.Fatalf("%v: %#x … %#x, outside %v, for %#x, where the test is %v", test, lo, hi, outside, v, want)
			}
		}
	}
}
