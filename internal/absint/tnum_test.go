package absint

import "testing"

// Every operation on every pair of tristate numbers of a few bits holds every
// result; sums, differences and bitwise operations hold nothing more than the
// smallest tristate number that does.
func TestTnumExhaustively(t *testing.T) {
	all := smallTnums(4)
	for name, op := range map[string]struct {
		abstract func(a, b Tnum) Tnum
		concrete func(a, b uint64) uint64
		exact    string
	}{
		"add": {Tnum.Add, func(a, b uint64) uint64 { return a + b }, "exact"},
		"sub": {Tnum.Sub, func(a, b uint64) uint64 { return a - b }, "exact"},
		"and": {Tnum.And, func(a, b uint64) uint64 { return a & b }, "exact"},
		"or":  {Tnum.Or, func(a, b uint64) uint64 { return a | b }, "exact"},
		"xor": {Tnum.Xor, func(a, b uint64) uint64 { return a ^ b }, "exact"},
		"mul": {Tnum.Mul, func(a, b uint64) uint64 { return a * b }, ""},
	} {
		for _, a := range all {
			for _, b := range all {
				got, want := op.abstract(a, b), hull(a, b, op.concrete)
				if !got.Covers(want) {
					t.Fatalf("%v %s %v is %v, which lacks some of %v", a, name, b, got, want)
				}
				if op.exact != "" && got != want {
					t.Fatalf("%v %s %v is %v, expected no more than %v", a, name, b, got, want)
				}
			}
		}
	}
}

// smallTnums lists the tristate numbers of so many bits.
func smallTnums(bits int) (all []Tnum) {
	for mask := uint64(0); mask < 1<<bits; mask++ {
		for value := uint64(0); value < 1<<bits; value++ {
			if value&mask == 0 {
				all = append(all, Tnum{value, mask})
			}
		}
	}
	return all
}

// numbers lists what t holds.
func (t Tnum) numbers() (all []uint64) {
	for sub := uint64(0); ; sub = (sub - t.Mask) & t.Mask {
		all = append(all, t.Value|sub)
		if sub == t.Mask {
			return all
		}
	}
}

// hull is the smallest tristate number that holds every result.
func hull(a, b Tnum, op func(a, b uint64) uint64) Tnum {
	first := op(a.Value, b.Value)
	mask := uint64(0)
	for _, x := range a.numbers() {
		for _, y := range b.numbers() {
			mask |= op(x, y) ^ first
		}
	}
	return Tnum{first &^ mask, mask}
}

func TestRangeTnumHoldsTheRange(t *testing.T) {
	for lo := uint64(0); lo < 40; lo++ {
		for hi := lo; hi < 40; hi++ {
			r := RangeTnum(lo, hi)
			for v := lo; v <= hi; v++ {
				if !r.Contains(v) {
					t.Fatalf("%d..%d is %v, which lacks %d", lo, hi, r, v)
				}
			}
		}
	}
	if r := RangeTnum(0, ^uint64(0)); r != UnknownTnum() {
		t.Errorf("everything is %v", r)
	}
}
