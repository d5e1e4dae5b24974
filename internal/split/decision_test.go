package split_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// The tests of a decision choose the leaf that running the program confirms.
func TestDecisionsAreSound(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	tests, static, traced := 0, 0, 0
	for i := rounds(t, 600); i > 0; i-- {
		text := bpfgen.Rules(r, []uint32{0x50001, 0x50002, 0x80000000, 0x30000, 0x7fff0000})
		if i%3 == 0 {
			text = bpfgen.Tracing(r, text)
		}
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
		tree := split.Split(v)
		noTrace(t, v, tree)
		for k := 0; k < 60; k++ {
			nr := int32([...]uint32{1, 59, 317, 322, 0x40000001, 0xffffffff, uint32(bpfgen.Number(r)), uint32(r.Intn(128))}[r.Intn(8)])
			part := tree.Find(abi.ArchX86_64, uint32(nr))
			data := abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64, InstructionPointer: bpfgen.Number(r)}
			for a := range data.Args {
				data.Args[a] = bpfgen.Number(r)
				if r.Intn(2) == 0 {
					data.Args[a] = uint64(r.Intn(80) - 10)
				}
			}
			leaf := part.Leaf
			if part.Decision != nil {
				leaf = part.Decision.Decide(&data)
				tests += part.Decision.Tests()
			}
			env := &pinning{Env: bpfgen.Env{R: r}}
			got := abi.Verdict(m.Run(env, &data).Ret)
			switch action := got.Action(); {
			case leaf.Kind != split.Trace && env.asked:
				t.Fatalf("%s leaf, but %+v takes a tracer\n%s", leaf.Kind, data, text)
			case leaf.Kind == split.Trace && part.Decision != nil:
				traced++
			case leaf.Kind == split.Static && got != leaf.Verdict:
				t.Fatalf("%v is returned on %+v, decided was %v\n%s", got, data, leaf.Verdict, text)
			case leaf.Kind == split.Notify && (action == abi.Trap || action == abi.Trace || action == abi.KillThread):
				t.Fatalf("notify leaf, but %v is returned on %+v\n%s", got, data, text)
			case leaf.Kind == split.Static && part.Decision != nil:
				static++
			}
		}
	}
	if tests < 100 || static < 1000 || traced < 100 {
		t.Errorf("%d tests, %d static decisions, %d traced: too few to mean anything", tests, static, traced)
	}
	t.Logf("%d tests, %d static decisions, %d traced", tests, static, traced)
}

// pinning is a caller that remembers whether it was asked for what takes a tracer.
type pinning struct {
	bpfgen.Env
	asked bool
}

func (p *pinning) SafeRead(dst []byte, addr uint64) maps.Errno {
	p.asked = true
	return p.Env.SafeRead(dst, addr)
}

func (p *pinning) Await(curr, target uint64) maps.Errno {
	p.asked = true
	return p.Env.Await(curr, target)
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
exit`, `if args[1].low s>= 0
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
		{"intervals", `
r2 = *(u64 *)(r1 +16)
r0 = 0x7fff0000
r2 += -3
if r2 < 4 goto out
w2 += -100
if w2 > 10 goto deny
exit
deny:
r0 = 0x50001
out:
exit`, `if 0x3 <= args[0] <= 0x6
  ALLOW
else
  if 0x67 <= args[0].low <= 0x71
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
		{"a table", `
map table ARRAY frozen 000102000201
r2 = *(u64 *)(r1 +16)
r0 = 0x7fff0000
r2 += -10
if r2 > 5 goto out
r3 = map[table][0]+0
r3 += r2
r3 = *(u8 *)(r3 +0)
if r3 == 0 goto out
r0 = 0x50001
if r3 == 1 goto out
r0 = 0x50002
out:
exit`, `if 0xa <= args[0] <= 0xf
  if args[0] == 0xb
    ERRNO(1)
  else
    if args[0] == 0xc
      ERRNO(2)
    else
      if args[0] == 0xe
        ERRNO(2)
      else
        if args[0] == 0xf
          ERRNO(1)
        else
          ALLOW
else
  ALLOW
`},
		{"bits of the number behind a test of an argument", `
r2 = *(u32 *)(r1 +0)
r3 = *(u64 *)(r1 +24)
r0 = 0x7fff0000
if r3 != 7 goto out
if r2 > 63 goto out
r3 = 0x8000000000000003 ll
r3 >>= r2
r3 &= 1
if r3 == 0 goto out
r0 = 0x50001
out:
exit`, `if args[1] == 0x7
  ERRNO(1)
else
  ALLOW
`},
		{"a mask in a register", `
r2 = *(u64 *)(r1 +40)
r3 = 0xfffffebd00000000 ll
r3 &= r2
r0 = 0x7fff0000
if r3 == 0 goto out
r0 = 0x50001
out:
exit`, `if args[3].high & 0xfffffebd == 0x0
  ALLOW
else
  ERRNO(1)
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

// A list of 200 values of one argument, as of ioctl commands, is all tests.
func TestListOfArguments(t *testing.T) {
	var b strings.Builder
	b.WriteString("r2 = *(u32 *)(r1 +24)\nr0 = 0x7fff0000\n")
	for i := 0; i < 200; i++ {
		fmt.Fprintf(&b, "if w2 == %d goto out\n", 0x5400+7*i)
	}
	b.WriteString("r0 = 0x50001\nout:\nexit\n")
	v, err := verify.Program(program(t, b.String()), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := split.Split(v).Arguments(abi.ArchX86_64, 16)
	if d == nil || d.Tests() != 200 || d.Kind() != split.Static {
		t.Errorf("found %+v, expected 200 tests with static leaves", d)
	}
}
