package verify_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// long is a filter of some 4,000 instructions: a decision list of calls, each
// with tests of arguments and a counter.
func long() string {
	var b strings.Builder
	b.WriteString("map globals ARRAY key 4 value 4096 entries 1\nr6 = r1\nr7 = *(u32 *)(r1 +0)\n")
	for i := 0; i < 308; i++ {
		fmt.Fprintf(&b, `if r7 != %d goto next%d
r2 = *(u64 *)(r6 +16)
r3 = *(u64 *)(r6 +24)
if r2 > %d goto deny
r1 = map[globals][0]+%d
r3 &= 7
r1 += r3
r4 = 1
r5 = *(u8 *)(r1 +0)
r5 += r4
*(u8 *)(r1 +0) = r5
if r5 > 100 goto deny
goto allow
next%d:
`, i, i, 1000+i, 8*i, i)
	}
	b.WriteString("allow:\nr0 = 0x7fff0000\nexit\ndeny:\nr0 = 0x50001\nexit\n")
	return b.String()
}

func BenchmarkVerify4000(b *testing.B) {
	p := assemble(b, long())
	b.Logf("%d instructions", len(p.Insns))
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if _, err := verify.Program(p, verify.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// hostile are programs that are dear to verify.
func hostile() map[string]string {
	deepStack := ""
	for off := 8; off <= 512; off += 8 {
		deepStack += fmt.Sprintf("*(u64 *)(r10 -%d) = r6\nr6 = *(u64 *)(r1 +%d)\n", off, 16+off%40/8*8)
	}
	forks := func(join string) string {
		text := "r6 = *(u64 *)(r1 +16)\nr7 = 0\nr0 = 0\n" + deepStack
		for i := 0; i < 2000; i++ {
			text += fmt.Sprintf("r8 = *(u64 *)(r1 +%d)\nif r8 == %d goto skip%d\n%s\nskip%d:\n", 16+i%6*8, i, i, join, i)
		}
		for off := 8; off <= 512; off += 8 {
			text += fmt.Sprintf("r6 = *(u64 *)(r10 -%d)\nr0 += r6\n", off)
		}
		return text + "r0 += r7\nexit\n"
	}
	return map[string]string{
		"forks that differ":      forks("r7 += 1\nr7 <<= 1"),
		"forks that differ less": forks("r7 ^= 1"),
		"pending forks":          forks("r7 = r8"),
		"nested calls":           nested(),
		"a deep loop":            "r6 = *(u64 *)(r1 +16)\nr0 = 0\n" + deepStack + "r7 = 0\nagain:\nr7 += 1\nr8 = *(u64 *)(r1 +16)\nif r8 == 5 goto pc+1\nr0 += 1\nif r7 < 1000000 goto again\nr6 = *(u64 *)(r10 -512)\nexit\n",
		"straight":               "r0 = 0\n" + strings.Repeat("r0 += r1\nr1 = 1\n", 32000) + "exit\n",
		"ties":                   "r6 = *(u64 *)(r1 +16)\n" + strings.ReplaceAll(deepStack, "r6 = *", "r7 = *") + strings.Repeat("if r6 == 3 goto pc+1\nr8 = 1\nif r6 > 9 goto pc+1\nr8 = 2\n", 3000) + "r0 = *(u64 *)(r10 -8)\nexit\n",
	}
}

// nested is a chain of all the frames there can be, each with numbers in
// registers and on the stack, the last of which branches on and on.
func nested() string {
	var b strings.Builder
	for i := 0; i < prog.MaxCallFrames; i++ {
		if i > 0 {
			fmt.Fprintf(&b, "func f%d:\n", i)
		}
		b.WriteString("r6 = r1\nr7 = *(u64 *)(r1 +24)\nr8 = r7\nr9 = r7\n")
		for off := 8; off <= 56; off += 8 {
			fmt.Fprintf(&b, "*(u64 *)(r10 -%d) = r7\n", off)
		}
		if i < prog.MaxCallFrames-1 {
			fmt.Fprintf(&b, "r1 = r6\ncall f%d\nr0 = *(u64 *)(r10 -8)\nr0 += r7\nr0 += r8\nr0 += r9\nexit\n", i+1)
		}
	}
	for i := 0; i < 2000; i++ {
		fmt.Fprintf(&b, "r8 = *(u64 *)(r6 +%d)\nif r8 == %d goto skip%d\nr7 += 1\nr7 <<= 1\nskip%d:\n", 16+i%6*8, i, i, i)
	}
	return b.String() + "r0 = r7\nexit\n"
}

// Any program is verified or refused within 200 ms and 64 MB. The processor
// time may be five times that here: the race detector and busy machines count.
// All that is allocated counts, freed or not, which is no less than the peak.
func TestHostileProgramsAreBounded(t *testing.T) {
	for name, text := range hostile() {
		p := assemble(t, text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := cpuTime(t)
		v, err := verify.Program(p, verify.Options{})
		took := cpuTime(t) - start
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		var e *verify.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %d instructions, verified: %v, %v, %d MB", name, len(p.Insns), v != nil, took, used>>20)
		if took > time.Second || used > 64<<20 {
			t.Errorf("%s took %v and %d MB", name, took, used>>20)
		}
	}
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
