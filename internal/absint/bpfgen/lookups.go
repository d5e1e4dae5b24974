package bpfgen

import (
	"fmt"
	"math/rand"
	"strings"
)

// Lookups draws a program, in the notation of bpfasm, that makes much of the call's
// number: it computes with it, looks up constants by it, saves and copies what comes
// of that, mixes it with arguments on some paths, and tests it or returns it. R7 and
// R8 hold numbers at all times, R9 the call's.
func Lookups(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("map constants ARRAY frozen ")
	for i := 0; i < 72; i++ {
		fmt.Fprintf(&b, "%02x", r.Intn(256)&r.Intn(256))
	}
	b.WriteString("\nmap counter ARRAY key 4 value 8 entries 1\nr6 = r1\nr9 = *(u32 *)(r6 +0)\nr0 = 0x7fff0000\n")
	if r.Intn(6) > 0 {
		fmt.Fprintf(&b, "if r9 > %d goto out\n", []int{20, 100, 459, 1023, 1024, 1500}[r.Intn(6)])
	}
	b.WriteString("r7 = r9\nr8 = r9\n")
	for n, i := 2+r.Intn(9), 0; i < n; i++ {
		b.WriteString(lookupStep(r, fmt.Sprintf("s%d", i)))
	}
	if r.Intn(2) == 0 {
		b.WriteString("w7 &= 3\nw0 = w7\nw0 |= 0x50000\n")
	}
	b.WriteString("out:\nexit\n")
	return b.String()
}

// lookupStep is one statement, with a label of its own.
func lookupStep(r *rand.Rand, label string) string {
	a, b := "78"[r.Intn(2)], "789"[r.Intn(3)]
	switch r.Intn(9) {
	case 0, 1:
		return fmt.Sprintf("%c%c %s %s\n", "rw"[r.Intn(2)], a, [...]string{"+=", "-=", "*=", "^=", "&=", "|="}[r.Intn(6)],
			[...]string{"1", "5", "7", "63", "-1", "0x1fc"}[r.Intn(6)])
	case 2:
		w := "rw"[r.Intn(2)]
		return fmt.Sprintf("%c%c %s %c%c\n", w, a, [...]string{"+=", "-=", "^=", "&=", "|=", "="}[r.Intn(6)], w, b)
	case 3:
		return fmt.Sprintf("r%c %s %d\n", a, [...]string{">>=", "<<=", "s>>="}[r.Intn(3)], 1+r.Intn(7))
	case 4, 5:
		return constant(r, a, b)
	case 6:
		return mixed(r, a, label) + lookupTest(r, a, b, label+"t")
	case 7:
		return fmt.Sprintf("*(u64 *)(r10 -8) = r%c\nr%c = *(%s *)(r10 -8)\n", b, a, [...]string{"u64", "u32", "u8"}[r.Intn(3)])
	}
	return lookupTest(r, a, b, label)
}

// mixed has an argument, or what else there is, in the place of a number on one of two
// paths, which is not always followed first.
func mixed(r *rand.Rand, a byte, label string) string {
	other := fmt.Sprintf("r%c = *(u64 *)(r6 +16)\nr%c &= %d\n", a, a, [...]int{3, 31, 255}[r.Intn(3)])
	if r.Intn(4) == 0 {
		other = fmt.Sprintf("r%c = r9\nr%c >>= %d\n", a, a, 1+r.Intn(3))
	}
	if r.Intn(4) == 0 { // on the stack
		save := fmt.Sprintf("*(u64 *)(r10 -8) = r%c\n", a)
		return fmt.Sprintf("%s%sgoto %sb\n%s:\n%s%s%sb:\nr%c = *(u64 *)(r10 -8)\n", save, branch(r, label), label, label, other, save, label, a)
	}
	if r.Intn(2) == 0 {
		return branch(r, label) + other + label + ":\n"
	}
	return branch(r, label) + "goto " + label + "b\n" + label + ":\n" + other + label + "b:\n"
}

// branch depends on an argument.
func branch(r *rand.Rand, label string) string {
	return fmt.Sprintf("r2 = *(u64 *)(r6 +%d)\nif r2 %s %d goto %s\n", 16+8*r.Intn(2), [...]string{"==", ">"}[r.Intn(2)], r.Intn(3), label)
}

// constant loads a byte or more of the constants, within their bounds.
func constant(r *rand.Rand, a, b byte) string {
	size := []string{"u8", "u16", "u32", "u64"}[r.Intn(4)]
	argument := ""
	if r.Intn(4) == 0 {
		argument = "r2 = *(u64 *)(r6 +24)\nr2 &= 7\nr4 += r2\n"
	}
	return fmt.Sprintf("r3 = r%c\nr3 &= %d\nr4 = map[constants][0]+%d\nr4 += r3\n%sr%c = *(%s *)(r4 +%d)\n",
		b, [...]int{7, 31, 24}[r.Intn(3)], r.Intn(17), argument, a, size, r.Intn(9))
}

// lookupTest tests a number, and returns a verdict if it holds, or counts.
func lookupTest(r *rand.Rand, a, b byte, label string) string {
	op := [...]string{"==", "!=", ">", ">=", "<", "<=", "s>", "s<=", "&"}[r.Intn(9)]
	with := fmt.Sprintf("%d", [...]int{0, 1, 2, 8, 64, 300, -1}[r.Intn(7)])
	if r.Intn(3) == 0 {
		with = "r" + string(b)
	}
	then := fmt.Sprintf("r0 = %#x\nexit\n", 0x50000+r.Intn(4))
	if r.Intn(4) == 0 {
		then = "r1 = map[counter][0]+0\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\n"
	}
	return fmt.Sprintf("if r%c %s %s goto %s\n%s%s:\n", a, op, with, label, then, label)
}
