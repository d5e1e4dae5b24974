package effect

import (
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

func low(arg uint8, mask uint64) split.Part {
	return split.Part{Off: abi.OffArgs + 8*arg, Size: 4, Mask: mask}
}

func TestWords(t *testing.T) {
	const all = 0xffffffff
	wide := split.Part{Off: abi.OffArgs + 16, Size: 8, Mask: ^uint64(0)}
	high := split.Part{Off: abi.OffArgs + 8 + 4, Size: 4, Mask: all}
	for _, c := range []struct {
		call  string
		test  split.Test
		holds bool
		want  string
	}{
		{"openat", split.Test{Part: low(2, 3), Op: prog.OpJeq, Value: 1}, true, "flags & O_ACCMODE = O_WRONLY"},
		{"openat", split.Test{Part: low(2, 3), Op: prog.OpJeq, Value: 0}, false, "flags & O_ACCMODE != O_RDONLY"},
		{"openat", split.Test{Part: low(2, 0x40), Op: prog.OpJeq}, true, "flags & O_CREAT = 0"},
		{"openat", split.Test{Part: low(2, all), Op: prog.OpJset, Value: 0x41}, true, "flags & O_WRONLY|O_CREAT != 0"},
		{"openat", split.Test{Part: low(2, all), Op: prog.OpJset, Value: 0x41}, false, "flags & O_WRONLY|O_CREAT = 0"},
		{"openat", split.Test{Part: high, Op: prog.OpJeq, Value: 9}, true, "path.high = 9"},
		{"read", split.Test{Part: wide, Op: prog.OpJgt, Value: 4096}, false, "count <= 0x1000"},
		{"read", split.Test{Part: wide, Op: prog.OpJle, Low: 1, Value: 20}, false, "count not in 1..20"},
		{"socket", split.Test{Part: low(0, all), Op: prog.OpJeq, Value: 2}, true, "family = AF_INET"},
		{"kill", split.Test{Part: low(0, all), Op: prog.OpJsgt, Value: 0xffffffff}, true, "pid s> -1"},
		{"kill", split.Test{Part: low(0, all), Op: prog.OpJge, With: low(1, all)}, false, "pid < sig"},
		{"kill", split.Test{Part: low(5, all), Op: prog.OpJeq, Value: 3}, true, "arg5.low = 3"},
	} {
		nr, ok := syscalls.Number(c.call)
		if !ok {
			t.Fatal(c.call)
		}
		if got := (dictionary{}).condition(Condition{c.test, c.holds}, abi.ArchX86_64, nr); got != c.want {
			t.Errorf("%s: %s: %q, want %q", c.call, c.test, got, c.want)
		}
	}
}

func TestMoves(t *testing.T) {
	allow, deny, kill := Outcome{Verdict: abi.Allow}, Outcome{Verdict: abi.Errno(1)}, Outcome{Verdict: abi.KillProcess}
	notify, trace := Outcome{Kind: split.Notify}, Outcome{Kind: split.Trace}
	for want, pair := range map[string][2]Outcome{
		"allowed": {deny, allow}, "refused": {allow, kill}, "verdict": {deny, kill},
		"dynamic": {allow, notify}, "static": {trace, deny}, "leaf": {notify, trace},
	} {
		if got := (&Change{Before: pair[0], After: pair[1]}).Move(); got != want {
			t.Errorf("%v -> %v: %s, want %s", pair[0], pair[1], got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	n := Numbers{}.add(nameless(abi.ArchX86_64, 330, 430)).add(Numbers{{431, 431}})
	n = n.add(Numbers{{432, 433}}).add(Numbers{{600, 600}})
	want := []string{"337-423", "431-433", "600"}
	got := n.Strings()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
