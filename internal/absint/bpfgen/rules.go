package bpfgen

import (
	"fmt"
	"math/rand"
	"strings"
)

// Number is one that comparisons go wrong at, most of the time.
func Number(r *rand.Rand) uint64 {
	some := [...]uint64{
		0, 1, 2, 3, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<32 + 1,
		1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(1), 0xffffffff80000000,
	}
	if r.Intn(8) == 0 {
		return r.Uint64()
	}
	return some[r.Intn(len(some))]
}

// Rules draws a list of rules in the notation of bpfasm: each may test the
// number of the call, then tests its data in ways compilers do, against a constant
// or against other data. A rule that matches returns one of verdicts, some after
// counting.
func Rules(r *rand.Rand, verdicts []uint32) string {
	var b strings.Builder
	b.WriteString("map counter ARRAY key 4 value 8 entries 1\n" + tableMap(r) + "r6 = r1\nr7 = *(u32 *)(r6 +0)\n")
	n := 1 + r.Intn(6)
	for i := 0; i < n; i++ {
		if r.Intn(2) == 0 {
			b.WriteString(numberTest(r, fmt.Sprintf("next%d", i)))
		}
		for k := r.Intn(3); k >= 0; k-- {
			b.WriteString(dataTest(r, fmt.Sprintf("v%d", i)))
		}
		if r.Intn(3) == 0 {
			b.WriteString(setTest(r, i))
		}
		fmt.Fprintf(&b, "next%d:\n", i)
	}
	b.WriteString("w0 = 0x7fff0000\nexit\n")
	for i := 0; i < n; i++ {
		fmt.Fprintf(&b, "v%d:\n", i)
		if r.Intn(4) == 0 {
			b.WriteString("r1 = map[counter][0]+0\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\n")
		}
		fmt.Fprintf(&b, "w0 = %#x\nexit\n", verdicts[r.Intn(len(verdicts))])
	}
	return b.String()
}

// Tracing has some rules of a list that Rules drew do what takes a tracer before they
// answer: read a pinned argument, or order their call.
func Tracing(r *rand.Rand, rules string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(rules, "\n") {
		b.WriteString(line)
		if !strings.HasPrefix(line, "v") || r.Intn(3) > 0 {
			continue
		}
		if r.Intn(4) == 0 {
			b.WriteString("r1 = r7\nr2 = 39\ncall bpf_wait_syscall\n")
			continue
		}
		fmt.Fprintf(&b, "r1 = r10\nr1 += -8\nr2 = 8\nr3 = *(u64 *)(r6 +%d)\ncall bpf_safe_read_user\n", 16+8*r.Intn(6))
	}
	return b.String()
}

// comparisons are the operators of conditional jumps.
func comparison(r *rand.Rand) (op, register string) {
	ops := [...]string{"==", "!=", "<", "<=", ">", ">=", "s<", "s<=", "s>", "s>=", "&"}
	return ops[r.Intn(len(ops))], [...]string{"r", "w"}[r.Intn(2)]
}

func numberTest(r *rand.Rand, label string) string {
	op, reg := comparison(r)
	some := [...]int32{0, 1, 2, 59, 257, 317, 322, 425, 0x40000000, -0x80000000, -1}
	k := some[r.Intn(len(some))]
	if r.Intn(3) == 0 {
		add := [...]string{"r2 = r7\nr2 += %d\n", "w2 = w7\nw2 += %d\n", "r2 = r7\nr2 -= %d\nw2 = w2\n"}[r.Intn(3)]
		return fmt.Sprintf(add, some[r.Intn(8)]) + fmt.Sprintf("if %s2 %s %d goto %s\n", reg, op, k, label)
	}
	return fmt.Sprintf("if %s7 %s %d goto %s\n", reg, op, k, label)
}

func dataTest(r *rand.Rand, label string) string {
	text := loaded(r, "2")
	op, reg := comparison(r)
	switch r.Intn(5) {
	case 4:
		return text + loaded(r, "3") + fmt.Sprintf("if %s2 %s %s3 goto %s\n", reg, op, reg, label)
	case 0:
		return text + fmt.Sprintf("r3 = %#x ll\nif %s2 %s %s3 goto %s\n", Number(r), reg, op, reg, label)
	case 1:
		return text + fmt.Sprintf("r3 = %#x ll\nif %s3 %s %s2 goto %s\n", Number(r), reg, op, reg, label)
	}
	return text + fmt.Sprintf("if %s2 %s %d goto %s\n", reg, op, int32(Number(r)), label)
}

// loaded leaves something of the call's data in a register.
func loaded(r *rand.Rand, reg string) string {
	off := 8 + 8*r.Intn(7)
	text := fmt.Sprintf("rX = *(u64 *)(r6 +%d)\n", off)
	switch r.Intn(4) {
	case 0:
		text = fmt.Sprintf("rX = *(u32 *)(r6 +%d)\n", off+4*r.Intn(2))
	case 1:
		text = fmt.Sprintf("rX = *(s32 *)(r6 +%d)\n", off+4*r.Intn(2))
	}
	for k := r.Intn(3); k > 0; k-- {
		text += transformed(r)
	}
	return strings.ReplaceAll(text, "X", reg)
}

func transformed(r *rand.Rand) string {
	return [...]string{
		"rX &= 0xff\n", "rX &= -16\n", "wX &= -2\n", "rX >>= 4\n", "wX >>= 31\n", "rX >>= 32\n", "rX <<= 32\nrX >>= 32\n",
		"rX <<= 32\nrX s>>= 32\n", "wX = wX\n", "rX = (s32)rX\n", "rX = (s8)rX\n", "rX <<= 3\n", "wX <<= 3\n", "rX += 1\n",
		"rX += -3\n", "wX += -41\n", "wX -= 5\n", "rX -= 2147483647\n",
	}[r.Intn(18)]
}

// tableSize is the bytes of the table of constants, which Rules' map 1 is.
const tableSize = 64

// tableMap is a frozen map of small numbers, some verdicts, many alike.
func tableMap(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("map table ARRAY frozen ")
	for i := 0; i < tableSize/4; i++ {
		b.WriteString([...]string{"00000000", "01000000", "02000500", "0000ff7f"}[r.Intn(4)])
	}
	return b.String() + "\n"
}

// setTest tests whether a small number, of the call's data or made of its number, is
// in a set, in the ways that compilers make of a switch: bits of a constant, or a
// table. Rule i matches where it is.
func setTest(r *rand.Rand, i int) string {
	text := loaded(r, "2")
	if r.Intn(4) == 0 {
		text = "r2 = r7\n" + [...]string{"r2 += -50\n", "r2 &= 63\n", ""}[r.Intn(3)]
	}
	if r.Intn(3) == 0 {
		text += fmt.Sprintf("%s2 += %d\n", [...]string{"r", "w"}[r.Intn(2)], r.Intn(20)-8)
	}
	most := [...]int{1, 7, 14, 31, 63}[r.Intn(5)]
	if r.Intn(4) == 0 {
		text += fmt.Sprintf("r2 &= %d\n", most)
	} else {
		text += fmt.Sprintf("if r2 > %d goto next%d\n", most, i)
	}
	some := Number(r) | r.Uint64()&r.Uint64()
	return text + fmt.Sprintf([...]string{
		"r3 = 1\nr3 <<= r2\nr3 &= %[2]d\nif r3 != 0 goto v%[1]d\n",
		"w3 = 1\nw2 &= 31\nw3 <<= w2\nw3 &= %[2]d\nif w3 == 0 goto next%[1]d\ngoto v%[1]d\n",
		"r3 = 1\nr3 <<= r2\nr4 = %#[3]x ll\nr3 &= r4\nif r3 == 0 goto next%[1]d\ngoto v%[1]d\n",
		"r3 = %#[3]x ll\nr3 >>= r2\nr3 &= 1\nif r3 != 0 goto v%[1]d\n",
		"r3 = %#[3]x ll\nr3 >>= r2\nif r3 & 1 goto v%[1]d\n",
		"r2 &= 15\nr2 <<= 2\nr3 = map[table][0]+0\nr3 += r2\nr2 = *(u32 *)(r3 +0)\nif r2 == 0 goto next%[1]d\nif r2 != 1 goto v%[1]d\n",
		"r2 &= 15\nr2 <<= 2\nr3 = map[table][0]+0\nr3 += r2\nr0 = *(u32 *)(r3 +0)\nif r0 == 0 goto next%[1]d\nif r0 == 1 goto next%[1]d\nexit\n",
		"r3 = r2\nr3 *= r3\nif r3 > 100 goto v%[1]d\n",
	}[r.Intn(8)], i, int32(some), some)
}
