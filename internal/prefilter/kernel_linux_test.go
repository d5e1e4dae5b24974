package prefilter_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/cbpf"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
)

// kernelStacks is how many programs are installed. Kernels free filters late and
// have choked on thousands at once.
const kernelStacks = 40

// childEnv selects the copy of the test binary that asks the kernel.
const childEnv = "PORTCULLIS_PREFILTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// question is a program to be installed in a thread, and the calls it then makes.
type question struct {
	Insns []cbpf.Insn
	Calls []abi.SeccompData
}

// answer is the errno of the installation, and that of each call.
type answer struct {
	Install syscall.Errno
	Calls   []syscall.Errno
}

// nowhere is a number that no call has: what is let through fails with ENOSYS, and
// so does what nobody listens for.
const nowhere = 0x20000000

// TestStacksInTheKernel installs programs of random stacks and makes calls: what
// they return is what the filters decide.
func TestStacksInTheKernel(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the data of a call depends on the architecture")
	}
	r := rand.New(rand.NewSource(9))
	var questions []question
	var stacks []*stack
	var programs []*prefilter.Prefilter
	for len(questions) < kernelStacks {
		s := &stack{}
		for n := 1 + r.Intn(2); n > 0; n-- {
			s.add(t, assembled(t, elsewhere(bpfgen.Rules(r, []uint32{0x50001, 0x50002, 0x50003, 0x7fff0000}))))
		}
		p, err := prefilter.Build(s.trees, prefilter.Options{})
		if err != nil || looksAt(p.Program(), abi.OffInstructionPointer) || p.Find(abi.ArchX86_64, nowhere).Decision == nil {
			continue
		}
		q := question{Insns: p.Program().Insns()}
		for i := 0; i < 40; i++ {
			q.Calls = append(q.Calls, near(r, abi.ArchX86_64, nowhere, p.Find(abi.ArchX86_64, nowhere).Decision))
		}
		questions, stacks, programs = append(questions, q), append(stacks, s), append(programs, p)
	}
	denied := 0
	for i, a := range askKernel(t, questions) {
		if a.Install != 0 || len(a.Calls) != len(questions[i].Calls) {
			t.Fatalf("installing: %v, %d answers\n%s", a.Install, len(a.Calls), programs[i].Program())
		}
		for k, got := range a.Calls {
			d := &questions[i].Calls[k]
			want := abi.Verdict(abi.Errno(uint16(syscall.ENOSYS)))
			if programs[i].Decide(d).Kind == split.Static {
				if v := stacks[i].run(bpfgen.Env{R: r}, d, programs[i].Traced()); v != abi.Allow {
					want = v
					denied++
				}
			}
			if abi.Errno(uint16(got)) != want {
				t.Errorf("%+v: the kernel returned %v, expected %v\n%s", d, got, want, programs[i].Program())
			}
		}
	}
	if denied < 100 {
		t.Errorf("%d calls were denied: too few to mean anything", denied)
	}
}

// elsewhere lets all real calls pass rules, so that the thread goes on.
func elsewhere(rules string) string {
	const load = "r7 = *(u32 *)(r6 +0)\n"
	return strings.Replace(rules, load, load+"if r7 >= 0x20000000 goto rules\nw0 = 0x7fff0000\nexit\nrules:\n", 1)
}

func looksAt(p cbpf.Program, off uint32) bool {
	for _, in := range p.Insns() {
		if in.Op == cbpf.LdAbs && in.K&^4 == off {
			return true
		}
	}
	return false
}

// askKernel runs questions in a copy of this binary.
func askKernel(t *testing.T, questions []question) []answer {
	t.Helper()
	in, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the copy that asks the kernel: %v", err)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions: %v", len(answers), len(questions), err)
	}
	if answers[0].Install == syscall.ENOSYS {
		t.Skip("needs seccomp: the kernel has none")
	}
	return answers
}

// child answers the questions on its standard input, each in a thread of its own
// that ends with its filter.
func child() error {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		return err
	}
	answers := make([]answer, len(questions))
	for i := range questions {
		apart(func() { answers[i] = questions[i].ask() })
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// apart calls f in a thread that ends with it, and is not the process' first, whose end
// nobody would see while there are others.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if syscall.Gettid() == os.Getpid() {
			apart(f) // in another, as this one is taken
		} else {
			f()
		}
	}()
	<-done
}

// ask installs the program in the calling thread, and makes the calls.
func (q *question) ask() (a answer) {
	if a.Install = install(q.Insns); a.Install != 0 {
		return a
	}
	for _, d := range q.Calls {
		n := d.Args
		_, _, e := syscall.Syscall6(uintptr(d.Nr), uintptr(n[0]), uintptr(n[1]), uintptr(n[2]), uintptr(n[3]), uintptr(n[4]), uintptr(n[5]))
		a.Calls = append(a.Calls, e)
	}
	return a
}

// install puts a filter on the calling thread; numbers of <linux/prctl.h> and
// <linux/seccomp.h>.
func install(insns []cbpf.Insn) syscall.Errno {
	const sysSeccomp, setModeFilter, setNoNewPrivs = 317, 1, 38
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return e
	}
	prog := struct {
		len    uint16
		filter *cbpf.Insn
	}{uint16(len(insns)), &insns[0]}
	_, _, e := syscall.RawSyscall(sysSeccomp, setModeFilter, 0, uintptr(unsafe.Pointer(&prog)))
	return e
}
