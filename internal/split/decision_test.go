package split_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// interesting are numbers that comparisons go wrong at.
func interesting(r *rand.Rand) uint64 {
	some := []uint64{0, 1, 2, 3, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<32 + 1, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(1), 0xffffffff80000000}
	if r.Intn(8) == 0 {
		return r.Uint64()
	}
	return some[r.Intn(len(some))]
}

// argumentProgram tests the call's data in ways compilers do.
func argumentProgram(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("map counter ARRAY key 4 value 8 entries 1\nr6 = r1\n")
	n := 1 + r.Intn(6)
	for i := 0; i < n; i++ {
		off := 8 + 8*r.Intn(7)
		switch r.Intn(4) {
		case 0:
			fmt.Fprintf(&b, "r2 = *(u32 *)(r6 +%d)\n", off+4*r.Intn(2))
		case 1:
			fmt.Fprintf(&b, "r2 = *(s32 *)(r6 +%d)\n", off+4*r.Intn(2))
		default:
			fmt.Fprintf(&b, "r2 = *(u64 *)(r6 +%d)\n", off)
		}
		for k := r.Intn(3); k > 0; k-- {
			b.WriteString(transform(r))
		}
		ops := []string{"==", "!=", "<", "<=", ">", ">=", "s<", "s<=", "s>", "s>=", "&"}
		op, reg := ops[r.Intn(len(ops))], [...]string{"r", "w"}[r.Intn(2)]
		switch r.Intn(5) {
		case 4:
			fmt.Fprintf(&b, "r3 = *(%s *)(r6 +%d)\n", [...]string{"u32", "s32", "u64"}[r.Intn(3)], 8+8*r.Intn(7))
			for k := r.Intn(3); k > 0; k-- {
				b.WriteString(strings.ReplaceAll(strings.ReplaceAll(transform(r), "r2", "r3"), "w2", "w3"))
			}
			fmt.Fprintf(&b, "if %s2 %s %s3 goto v%d\n", reg, op, reg, i)
		case 0:
			fmt.Fprintf(&b, "r3 = %#x ll\nif %s2 %s %s3 goto v%d\n", interesting(r), reg, op, reg, i)
		case 1:
			fmt.Fprintf(&b, "r3 = %#x ll\nif %s3 %s %s2 goto v%d\n", interesting(r), reg, op, reg, i)
		default:
			fmt.Fprintf(&b, "if %s2 %s %d goto v%d\n", reg, op, int32(interesting(r)), i)
		}
	}
	b.WriteString("w0 = 0x7fff0000\nexit\n")
	for i := 0; i < n; i++ {
		fmt.Fprintf(&b, "v%d:\n", i)
		if r.Intn(4) == 0 {
			b.WriteString("r1 = map[counter][0]+0\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\n")
		}
		fmt.Fprintf(&b, "w0 = %#x\nexit\n", [...]uint32{0x50001, 0x50002, 0x80000000, 0x30000, 0x7fff0000}[r.Intn(5)])
	}
	return b.String()
}

func transform(r *rand.Rand) string {
	return [...]string{
		"r2 &= 0xff\n", "r2 &= -16\n", "w2 &= -2\n", "r2 >>= 4\n", "w2 >>= 31\n", "r2 >>= 32\n", "r2 <<= 32\nr2 >>= 32\n",
		"r2 <<= 32\nr2 s>>= 32\n", "w2 = w2\n", "r2 = (s32)r2\n", "r2 = (s8)r2\n", "r2 <<= 3\n", "w2 <<= 3\n", "r2 += 1\n",
	}[r.Intn(14)]
}

// The tests of a decision choose the leaf that running the program confirms.
func TestDecisionsAreSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	tests, static := 0, 0
	for i := rounds(t, 600); i > 0; i-- {
		text := argumentProgram(r)
		p := program(t, text)
		v, err := verify.Program(p, verify.Options{})
		if err != nil {
			continue // a test may be decided, and leave code dead but reachable: that is no error
		}
		set, err := maps.NewSet(v.Program().Maps)
		if err != nil {
			t.Fatal(err)
		}
		m, err := interp.New(v, set)
		if err != nil {
			t.Fatal(err)
		}
		d := split.Split(v).Arguments(abi.ArchX86_64, 1)
		if d == nil {
			continue
		}
		tests += d.Tests()
		for k := 0; k < 60; k++ {
			data := abi.SeccompData{Nr: 1, Arch: abi.ArchX86_64, InstructionPointer: interesting(r)}
			for a := range data.Args {
				data.Args[a] = interesting(r)
			}
			leaf := d.Decide(&data)
			got := m.Run(env{r}, &data)
			if leaf.Kind == split.Static {
				static++
				if abi.Verdict(got.Ret) != leaf.Verdict {
					t.Fatalf("%v is returned on %+v, decided was %v\n%s\n%s", abi.Verdict(got.Ret), data, leaf.Verdict, text, outline(d, ""))
				}
			}
		}
	}
	if tests < 100 || static < 1000 {
		t.Errorf("%d tests, %d static decisions: too few to mean anything", tests, static)
	}
	t.Logf("%d tests, %d static decisions", tests, static)
}

// outline writes a decision as nested tests.
func outline(d *split.Decision, indent string) string {
	if d.Then != nil {
		return indent + "if " + d.Test.String() + "\n" + outline(d.Then, indent+"  ") + indent + "else\n" + outline(d.Else, indent+"  ")
	}
	if d.Leaf.Kind == split.Static {
		return indent + d.Leaf.Verdict.String() + "\n"
	}
	return fmt.Sprintf("%s%s: instruction %d %s\n", indent, d.Leaf.Kind, d.Leaf.Why.Insn, d.Leaf.Why.Text)
}

func TestDecisionOutline(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"socket", `
r2 = *(u32 *)(r1 +0)
r0 = 0x7fff0000
if r2 != 1 goto out
r2 = *(u64 *)(r1 +16)
if r2 != 16 goto out
r0 = 0x50061
out:
exit`, `if args[0] == 0x10
  ERRNO(97)
else
  ALLOW
`},
		{"clone flags, then a counter", `
map counter ARRAY key 4 value 8 entries 1
r2 = *(u64 *)(r1 +16)
r2 &= 0x7e020000
r0 = 0x50001
if r2 != 0 goto out
r2 = *(u64 *)(r1 +24)
w2 = w2
if r2 s> -1 goto deny
deny:
r3 = map[counter][0]+0
*(u64 *)(r3 +0) = 1
r0 = 0x7fff0000
out:
exit`, `if args[0].low & 0x7e020000 == 0x0
  notify: instruction 9 changes map counter
else
  ERRNO(1)
`},
		{"a trap by argument", `
r2 = *(u32 *)(r1 +24)
r0 = 0x7fff0000
if w2 s< 0 goto trap
exit
trap:
r0 = 0x30000
exit`, `if args[1].low s>= 0x0
  ALLOW
else
  TRAP
`},
		{"one argument against another", `
r2 = *(u64 *)(r1 +16)
r3 = *(u64 *)(r1 +24)
r0 = 0x7fff0000
if r2 s> r3 goto out
r2 >>= 36
w3 &= 0xff
if r2 == r3 goto out
r0 = 0x50001
out:
exit`, `if args[0] s> args[1]
  ALLOW
else
  if args[0].high & 0xfffffff0 >> 4 == args[1].low & 0xff
    ALLOW
  else
    ERRNO(1)
`},
		{"a test made twice", `
r2 = *(u64 *)(r1 +16)
r0 = 0x7fff0000
if r2 == 7 goto more
exit
more:
r2 = *(u64 *)(r1 +16)
r0 = 0x50001
if r2 != 7 goto out
r0 = 0x50002
out:
exit`, `if args[0] == 0x7
  ERRNO(2)
else
  ALLOW
`},
		{"the upper half", `
r2 = *(u64 *)(r1 +32)
r2 >>= 40
r0 = 0x7fff0000
if r2 == 5 goto out
r0 = 0x50001
out:
exit`, `if args[2].high & 0xffffff00 == 0x500
  ALLOW
else
  ERRNO(1)
`},
	} {
		v, err := verify.Program(program(t, c.text), verify.Options{})
		if err != nil {
			t.Fatal(c.name, err)
		}
		d := split.Split(v).Arguments(abi.ArchX86_64, 1)
		if d == nil {
			t.Errorf("%s: found no decision", c.name)
			continue
		}
		if got := outline(d, ""); got != c.want {
			t.Errorf("%s: found\n%sexpected\n%s", c.name, got, c.want)
		}
	}
}
