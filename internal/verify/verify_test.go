package verify_test

import (
	"errors"
	"fmt"
	"testing"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

func assemble(t testing.TB, text string) *prog.Program {
	p, err := bpfasm.Assemble("p", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What was proven stays as it was, whatever happens to the program.
func TestVerifiedIsACopy(t *testing.T) {
	p := assemble(t, `
map consts ARRAY frozen 0700000000000000
map counter ARRAY key 4 value 8 entries 1
r1 = map[consts][0]+0
r0 = *(u32 *)(r1 +0)
r1 = map[counter][0]+0
exit`)
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Insns[0].Dst = 5
	p.Maps[0].Contents[0] = 8
	if got := v.Program(); got.Insns[0].Dst != 1 || got.Maps[0].Contents[0] != 7 {
		t.Errorf("the verified program changed: %v, %v", got.Insns[0], got.Maps[0].Contents)
	}
	if v.Program().Maps[1] != p.Maps[1] {
		t.Error("a map that programs share has lost its identity")
	}
}

// An error tells where it is, down to the source line.
func TestErrorHasAPosition(t *testing.T) {
	p := &prog.Program{
		Name:  "filter",
		Insns: []prog.Insn{{Op: prog.ClassALU64 | prog.OpMov, Dst: 6}, {Op: prog.OpExitInsn}},
		Lines: []prog.Line{{Insn: 0, File: "filter.c", Line: 3}, {Insn: 1, File: "filter.c", Line: 4, Text: "}"}},
	}
	_, err := verify.Program(p, verify.Options{})
	var e *verify.Error
	if !errors.As(err, &e) {
		t.Fatalf("found %v, expected an *Error", err)
	}
	const want = "filter: instruction 1 (filter.c:4), exit: R0 is read but was not written [R0=uninitialised]; initialise it on every path to here"
	if e.Error() != want || e.Insn != 1 || e.Line.Text != "}" || e.Err == nil {
		t.Errorf("found %q, %+v", e.Error(), e)
	}
}

func TestBudgetIsAnOption(t *testing.T) {
	p := assemble(t, "r0 = 0\nagain:\nr0 += 1\nif r0 < 100 goto again\nexit\n")
	if _, err := verify.Program(p, verify.Options{Budget: 100}); err == nil {
		t.Error("200 visits fit into a budget of 100")
	}
	v, err := verify.Program(p, verify.Options{Budget: 1000})
	if err != nil || v.Visited() != 202 {
		t.Errorf("found %v, expected 202 visits", err)
	}
}

// What no engine runs is refused here.
func TestMapsAreBounded(t *testing.T) {
	const remedy = "; keep in one map what has the same type, or go on in another program by a tail call"
	for n, want := range map[int]string{verify.MaxMaps: "", verify.MaxMaps + 1: "p: a program with 65 maps: expected at most 64" + remedy} {
		p := assemble(t, "r0 = 0\nexit\n")
		for i := 0; i < n; i++ {
			p.Maps = append(p.Maps, &prog.Map{Name: fmt.Sprintf("m%d", i), Type: prog.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1, SpinLock: -1})
		}
		p.Name = "p"
		got := ""
		_, err := verify.Program(p, verify.Options{})
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%d maps: found %q, expected %q", n, got, want)
		}
		var refused *verify.Error
		if want != "" && !errors.As(err, &refused) {
			t.Errorf("%d maps: found %T, expected a *verify.Error", n, err)
		}
	}
}

func TestStackDepthIsPerFunction(t *testing.T) {
	p := assemble(t, `
*(u8 *)(r10 -9) = 1
r1 = r10
r1 += -16
call f
exit
func f:
*(u64 *)(r10 -8) = 0
*(u32 *)(r1 -24) = 0
r0 = 0
exit`)
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := v.StackDepth(); len(got) != 2 || got[0] != 40 || got[1] != 8 {
		t.Errorf("found %v, expected [40 8]", got)
	}
}

// TestMayTrace: no program that needs a tracer says that it needs none.
func TestMayTrace(t *testing.T) {
	const read = `*(u64 *)(r10 -8) = 0
r1 = r10
r1 += -8
r2 = 8
r3 = 4096
call bpf_safe_read_user
r0 = 0x7fff0000
exit`
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"nothing", "r0 = 0x7fff0000\nexit", false},
		{"an error number", "r0 = *(u32 *)(r1 +16)\nr0 &= 0xffff\nw0 |= 0x50000\nexit", false},
		{"a kill", "w0 = 0x80000000\nexit", false},
		{"state", "call bpf_ktime_get_ns\nr0 = 0x7fff0000\nexit", false},
		{"a pinned read", read, true},
		{"a pinned read of one call", "r4 = *(u32 *)(r1 +0)\nr0 = 0x7fff0000\nif r4 == 257 goto read\nexit\nread:\n" + read, true},
		{"order", "r1 = 110\nr2 = 110\ncall bpf_wait_syscall\nr0 = 0x7fff0000\nexit", true},
		{"a trap", "r0 = 0x30007\nexit", true},
		{"a thread's end", "r0 = 0\nexit", true},
		{"a debugger's", "r0 = 0x7ff00001\nexit", true},
		{"anything", "r0 = *(u32 *)(r1 +16)\nexit", true},
		{"storage", "map store TASK_STORAGE key 4 value 8 flags 0x1\nr1 = map[store]\nr2 = 0\ncall bpf_task_storage_delete\nr0 = 0x7fff0000\nexit", false},
		{"storage that forks copy", "map store TASK_STORAGE key 4 value 8 flags 0x201\nr1 = map[store]\nr2 = 0\ncall bpf_task_storage_delete\nr0 = 0x7fff0000\nexit", true},
	} {
		v, err := verify.Program(assemble(t, c.text), verify.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if v.MayTrace() != c.want {
			t.Errorf("%s: MayTrace is %v, expected %v", c.name, v.MayTrace(), c.want)
		}
	}
}
