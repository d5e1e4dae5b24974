package split_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// dear are programs that part into more and more.
func dear() map[string]string {
	tests := func(test string, n int) string {
		var b strings.Builder
		b.WriteString("map m ARRAY key 4 value 8 entries 1\nr6 = r1\nr7 = *(u32 *)(r1 +0)\nr8 = 0\n")
		for i := 0; i < n; i++ {
			fmt.Fprintf(&b, strings.ReplaceAll(test, "NEXT", fmt.Sprintf("next%d", i))+"next%d:\n", i, i)
		}
		return b.String() + "r0 = r8\nr0 &= 1\nr0 |= 0x50000\nexit\n"
	}
	return map[string]string{
		"arguments":          tests("r2 = *(u64 *)(r6 +16)\nif r2 == %d goto NEXT\nr8 ^= 1\n", 300),
		"what is no test":    tests("r2 = *(u64 *)(r6 +16)\nr2 *= 3\nif r2 == %d goto NEXT\nr8 ^= 1\n", 300),
		"numbers":            tests("if r7 == %d goto NEXT\nr8 += 1\n", 300),
		"bits of the number": tests("r2 = r7\nr2 >>= 3\nif r2 == %d goto NEXT\nr8 ^= 1\n", 300),
		"hashes of numbers":  tests("r2 = r7\nr2 *= %d\nr2 &= 64\nif r2 == 0 goto NEXT\nr8 ^= 1\n", 300),
		"sums of numbers":    tests("r8 += r7\nr8 *= 3\nr2 = r8\nr2 &= 0x155\nif r2 > %d goto NEXT\nr8 ^= 1\n", 300),
		"numbers, then sums": tests("r8 += r7\nr8 *= 3\nr2 = r8\nr2 &= 0x155\nr3 = *(u64 *)(r6 +16)\nr3 &= 0xff\nif r2 > %d goto NEXT\nif r3 > r2 goto NEXT\nr8 ^= r7\n", 300),
		"both":               tests("if r7 > %d goto NEXT\nr2 = *(u64 *)(r6 +16)\nif r2 s> r7 goto NEXT\nr8 ^= 1\n", 300),
		"bytes":              tests("r2 = *(u64 *)(r6 +16)\nr2 &= 255\nr2 *= r2\nif r2 == %d goto NEXT\nr8 ^= 1\n", 300),
		"bytes, then lists":  tests("r2 = *(u64 *)(r6 +16)\nr2 &= 255\nr2 *= r2\nr8 += r2\nif r7 == %d goto NEXT\nr8 ^= 1\n", 300),
		"a byte, then lists": strings.Replace(tests("if r7 == %d goto NEXT\nr8 += 1\n", 300), "r8 = 0\n", "r8 = *(u64 *)(r1 +16)\nr8 &= 255\nr8 *= r8\n", 1),
		"both, and state":    tests("if r7 > %d goto NEXT\nr2 = *(u64 *)(r6 +16)\nif r2 s> r7 goto NEXT\nr3 = map[m][0]+0\n*(u64 *)(r3 +0) = r2\nr8 ^= 1\n", 300),
	}
}

// Whatever a program does, it is split in a bounded time, tenths of a second. Here
// it may be ten times that: the race detector and busy machines count.
func TestDearProgramsAreBounded(t *testing.T) {
	for name, text := range dear() {
		v, err := verify.Program(program(t, text), verify.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		start := cpuTime(t)
		rs := split.Split(v).Decisions(abi.ArchX86_64)
		took := cpuTime(t) - start
		t.Logf("%s: %d parts in %v", name, len(rs), took)
		if took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// As many programs as tail calls reach, each of which makes of the number what it can,
// cost what one does.
func TestDearFamiliesAreBounded(t *testing.T) {
	texts := []string{"r3 = *(u64 *)(r1 +16)\nr3 &= 127\nr3 += 1\nr2 = map[progs]\ncall bpf_tail_call\nr0 = 0\nexit\n"}
	for i := 1; i < 120; i++ {
		var b strings.Builder
		b.WriteString("r0 = 0x7fff0000\nr7 = *(u32 *)(r1 +0)\nif r7 > 1023 goto out\n")
		for k := 0; k < 260; k++ {
			fmt.Fprintf(&b, "r7 *= %d\nr7 ^= 5\n", 3+2*k)
		}
		b.WriteString("if r7 == 0 goto out\nr0 = 0x50001\nout:\nexit\n")
		texts = append(texts, b.String())
	}
	v, err := verify.Program(family(t, texts)[0], verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpuTime(t)
	split.Split(v).Decisions(abi.ArchX86_64)
	took := cpuTime(t) - start
	runtime.ReadMemStats(&after)
	made := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%v, %d MB", took, made)
	if took > 5*time.Second || made > 128 {
		t.Errorf("it took %v and %d MB", took, made)
	}
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
