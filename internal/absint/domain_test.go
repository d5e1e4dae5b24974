package absint

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand"
	"testing"

	"pgregory.net/rapid"

	"portcullis/internal/prog"
)

// sample is an abstract number and concrete ones it must hold.
type sample struct {
	s Scalar
	v []uint64
}

// edges are numbers around which ranges wrap.
var edges = [...]uint64{
	0, 1, 2, 7, 31, 32, 63, 64, math.MaxInt32 - 1, math.MaxInt32, 1 << 31, 1<<31 + 1, math.MaxUint32 - 1, math.MaxUint32,
	1 << 32, 1<<32 + 1, math.MaxInt64 - 1, math.MaxInt64, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64,
	0xffffffff80000000, 0xffffffff7fffffff,
}

func someNumber(r *rand.Rand) uint64 {
	switch r.Intn(4) {
	case 0:
		return edges[r.Intn(len(edges))]
	case 1:
		return edges[r.Intn(len(edges))] + uint64(r.Intn(5)) - 2
	case 2:
		return r.Uint64() >> r.Intn(64)
	}
	return r.Uint64()
}

// someSample draws numbers and constrains a scalar by random views of them.
func someSample(t *rapid.T, r *rand.Rand) sample {
	first := someNumber(r)
	x := sample{s: Unknown(), v: []uint64{first}}
	for n := r.Intn(3); n > 0; n-- {
		x.v = append(x.v, first+uint64(r.Intn(9))-4, first^1<<r.Intn(64), someNumber(r))
	}
	if r.Intn(6) == 0 {
		x.v = x.v[:1]
		x.s = Const(first)
		return x
	}
	for n := r.Intn(4); n > 0; n-- {
		x.constrain(r)
	}
	if !x.s.deduce() {
		t.Fatalf("%v became empty though it holds %#x", x.s, x.v)
	}
	x.holds(t, "deduction")
	return x
}

func (x *sample) constrain(r *rand.Rand) {
	switch r.Intn(5) {
	case 0:
		lo, hi := span(x.v, func(v uint64) uint64 { return v })
		x.s.U.meet(lo, hi)
	case 1:
		lo, hi := span(x.v, func(v uint64) int64 { return int64(v) })
		x.s.S.meet(lo, hi)
	case 2:
		lo, hi := span(x.v, func(v uint64) uint32 { return uint32(v) })
		x.s.U32.meet(lo, hi)
	case 3:
		lo, hi := span(x.v, func(v uint64) int32 { return int32(v) })
		x.s.S32.meet(lo, hi)
	case 4:
		t := ConstTnum(x.v[0])
		for _, v := range x.v {
			t.Mask |= v ^ x.v[0]
		}
		t.Mask |= r.Uint64() & r.Uint64()
		t.Value &^= t.Mask
		x.s.Bits, _ = x.s.Bits.Intersect(t)
	}
}

func span[T uint32 | int32 | uint64 | int64](vs []uint64, view func(uint64) T) (lo, hi T) {
	lo, hi = view(vs[0]), view(vs[0])
	for _, v := range vs {
		lo, hi = min(lo, view(v)), max(hi, view(v))
	}
	return lo, hi
}

func (x *sample) holds(t *rapid.T, what string) {
	for _, v := range x.v {
		if !x.s.Contains(v) {
			t.Fatalf("%s: %v lost %#x", what, x.s, v)
		}
	}
}

// check runs f on pairs of samples, many for each seed rapid draws.
func check(t *testing.T, f func(t *rapid.T, r *rand.Rand, a, b sample)) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		for i := 0; i < 200; i++ {
			f(t, r, someSample(t, r), someSample(t, r))
		}
	})
}

var operations = []uint8{
	prog.OpAdd, prog.OpSub, prog.OpMul, prog.OpDiv, prog.OpOr, prog.OpAnd, prog.OpLsh,
	prog.OpRsh, prog.OpMod, prog.OpXor, prog.OpArsh,
}

func TestArithmeticHoldsEveryResult(t *testing.T) {
	check(t, func(t *rapid.T, r *rand.Rand, a, b sample) {
		op := operations[r.Intn(len(operations))]
		if r.Intn(3) == 0 && (op == prog.OpLsh || op == prog.OpRsh || op == prog.OpArsh) {
			n := uint64(r.Intn(66))
			b = sample{Const(n), []uint64{n}}
		}
		variant := int16(0)
		if op == prog.OpDiv || op == prog.OpMod {
			variant = int16(r.Intn(2))
		}
		for _, w := range []Width{W64, W32} {
			got := Arith(op, w, variant, a.s, b.s)
			for _, x := range a.v {
				for _, y := range b.v {
					want := concrete(op, w, variant, x, y)
					if !got.Contains(want) {
						t.Fatalf("op %#x width %d variant %d: %v, %v gives %v without %#x (of %#x, %#x)", op, w, variant, a.s, b.s, got, want, x, y)
					}
				}
			}
		}
	})
}

// concrete is the arithmetic of RFC 9669 4.1 on numbers.
func concrete(op uint8, w Width, variant int16, x, y uint64) uint64 {
	if w == W32 {
		if variant == 1 {
			return uint64(uint32(signed(op, int64(int32(x)), int64(int32(y)))))
		}
		if op == prog.OpArsh {
			return uint64(uint32(int32(x) >> (y & 31)))
		}
		if op == prog.OpLsh || op == prog.OpRsh {
			y &= 31
		}
		return uint64(uint32(concrete(op, W64, 0, uint64(uint32(x)), uint64(uint32(y)))))
	}
	if variant == 1 {
		return uint64(signed(op, int64(x), int64(y)))
	}
	switch op {
	case prog.OpAdd:
		return x + y
	case prog.OpSub:
		return x - y
	case prog.OpMul:
		return x * y
	case prog.OpOr:
		return x | y
	case prog.OpAnd:
		return x & y
	case prog.OpXor:
		return x ^ y
	case prog.OpLsh:
		return x << (y & 63)
	case prog.OpRsh:
		return x >> (y & 63)
	case prog.OpArsh:
		return uint64(int64(x) >> (y & 63))
	case prog.OpDiv:
		if y == 0 {
			return 0
		}
		return x / y
	}
	if y == 0 {
		return x
	}
	return x % y
}

func signed(op uint8, x, y int64) int64 {
	switch {
	case y == 0 && op == prog.OpDiv:
		return 0
	case y == 0:
		return x
	case op == prog.OpDiv:
		return x / y
	}
	return x % y
}

func TestConversionsHoldEveryResult(t *testing.T) {
	check(t, func(t *rapid.T, r *rand.Rand, a, _ sample) {
		for _, n := range []int{1, 2, 4, 8} {
			shift := 64 - 8*n
			for _, v := range a.v {
				zero := v << shift >> shift
				for name, c := range map[string]struct {
					got  Scalar
					want uint64
				}{
					"zero-extended": {a.s.ZeroExtend(n), zero},
					"sign-extended": {a.s.SignExtend(n), uint64(int64(v<<shift) >> shift)},
					"swapped":       {a.s.Swap(n), bits.ReverseBytes64(v) >> shift},
				} {
					if !c.got.Contains(c.want) {
						t.Fatalf("%s to %d bytes: %v gives %v without %#x", name, n, a.s, c.got, c.want)
					}
				}
			}
		}
	})
}

var comparisons = []uint8{
	prog.OpJeq, prog.OpJgt, prog.OpJge, prog.OpJset, prog.OpJne, prog.OpJsgt, prog.OpJsge,
	prog.OpJlt, prog.OpJle, prog.OpJslt, prog.OpJsle,
}

// Of each pair of numbers, the side of the branch that a run takes keeps both.
func TestRefineHoldsEveryRun(t *testing.T) {
	decided := map[string]int{}
	check(t, func(t *rapid.T, r *rand.Rand, a, b sample) {
		if r.Intn(4) == 0 {
			b = a
		}
		for _, op := range comparisons {
			for _, w := range []Width{W64, W32} {
				for _, x := range a.v {
					for _, y := range b.v {
						taken := op
						if !compare(op, w, x, y) {
							taken = opposite(op)
						}
						a1, b1, ok := Refine(taken, w, a.s, b.s)
						if !ok || !a1.Contains(x) || !b1.Contains(y) {
							t.Fatalf("op %#x width %d: %v, %v gives %v, %v, %v without %#x, %#x", taken, w, a.s, b.s, a1, b1, ok, x, y)
						}
						if _, _, other := Refine(opposite(taken), w, a.s, b.s); !other {
							decided[fmt.Sprint(op, w)]++
						}
					}
				}
			}
		}
	})
	if len(decided) != 2*len(comparisons) {
		t.Errorf("only %d of %d comparisons were ever decided", len(decided), 2*len(comparisons))
	}
}

func compare(op uint8, w Width, x, y uint64) bool {
	sx, sy := int64(x), int64(y)
	if w == W32 {
		x, y, sx, sy = uint64(uint32(x)), uint64(uint32(y)), int64(int32(x)), int64(int32(y))
	}
	switch op {
	case prog.OpJeq:
		return x == y
	case prog.OpJne:
		return x != y
	case prog.OpJgt:
		return x > y
	case prog.OpJge:
		return x >= y
	case prog.OpJlt:
		return x < y
	case prog.OpJle:
		return x <= y
	case prog.OpJset:
		return x&y != 0
	case prog.OpJsgt:
		return sx > sy
	case prog.OpJsge:
		return sx >= sy
	case prog.OpJslt:
		return sx < sy
	}
	return sx <= sy
}

// Covers is only ever true of supersets.
func TestCoversIsAboutNumbers(t *testing.T) {
	covered := 0
	check(t, func(t *rapid.T, r *rand.Rand, a, b sample) {
		c := a
		for n := r.Intn(3); n > 0; n-- {
			c.constrain(r)
		}
		c.s.deduce()
		for _, pair := range [][2]sample{{a, c}, {a, b}} {
			if !pair[0].s.Covers(&pair[1].s) {
				continue
			}
			covered++
			for _, v := range pair[1].v {
				if !pair[0].s.Contains(v) {
					t.Fatalf("%v covers %v but lacks %#x", pair[0].s, pair[1].s, v)
				}
			}
		}
	})
	if covered == 0 {
		t.Error("no scalar covered another")
	}
}

// What a compiler relies on: the precision that ordinary filters need.
func TestPrecision(t *testing.T) {
	any32 := Bytes(4)
	for name, c := range map[string]struct{ got, want Scalar }{
		"mask":             {any32.and(Const(0xff)), Between(0, 255)},
		"index":            {Bytes(1).mul(Const(8)).Add(Const(4)), Between(4, 2044)},
		"sign by shifts":   {Arith(prog.OpArsh, W64, 0, Arith(prog.OpLsh, W64, 0, SignedBetween(-5, 9), Const(32)), Const(32)), SignedBetween(-5, 9)},
		"remainder":        {Unknown().mod(Const(10)), Between(0, 9)},
		"quotient":         {any32.div(Const(1 << 30)), Between(0, 3)},
		"upper half":       {Unknown().rsh(Const(32)), Between(0, math.MaxUint32)},
		"minus":            {Between(3, 9).Sub(Between(1, 2)), Between(1, 8)},
		"negative numbers": {SignedBetween(-4, -1).Add(Const(4)), Between(0, 3)},
	} {
		if c.got.U != c.want.U || c.got.S != c.want.S {
			t.Errorf("%s: found %v, expected %v", name, c.got, c.want)
		}
	}
}
