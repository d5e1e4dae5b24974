package cbpf_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

// The tests in this file hold Validate and Run against the running kernel. A
// copy of the test binary installs the programs, each in a thread of its own
// that ends with it. Kernels free filters late and have choked on thousands at
// once: all tests together make fewer than 200.
const (
	runCases      = 80
	validateCases = 100
)

// childEnv selects the copy that asks the kernel.
const childEnv = "PORTCULLIS_CBPF_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// question is a program for the kernel: to be checked if Calls is empty, else
// to be installed and asked about each of the calls.
type question struct {
	Insns []cbpf.Insn
	Calls []abi.SeccompData
}

// answer is the errno of the installation, and that of each call; fewer if the
// thread was killed.
type answer struct {
	Install syscall.Errno
	Calls   []syscall.Errno
}

// askKernel runs questions in a copy of this binary.
func askKernel(t *testing.T, questions []question) []answer {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the data of a call depends on the architecture")
	}
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

// TestRunLikeTheKernel installs random programs and compares verdicts, all 32
// bits of them: the epilogue turns twelve at a time into an errno.
func TestRunLikeTheKernel(t *testing.T) {
	r := rand.New(rand.NewSource(11))
	var questions []question
	var programs []cbpf.Program
	for len(questions) < runCases {
		p, ok := instrument(r, program(r, 5+r.Intn(60)), callNumber(len(questions)))
		if len(questions)%4 == 0 {
			p = cbpf.Optimise(p)
		}
		if ok {
			programs = append(programs, p)
			questions = append(questions, question{p.Insns(), threeParts(r, callNumber(len(questions)))})
		}
	}
	killed := 0
	for i, a := range askKernel(t, questions) {
		if a.Install != 0 {
			t.Fatalf("the kernel refuses a program that Validate accepts: %v\n%s", a.Install, programs[i])
		}
		killed += compareCalls(t, programs[i], questions[i].Calls, a.Calls)
	}
	if killed == 0 || killed > runCases/2 {
		t.Errorf("%d of %d programs divided by zero; expected a few", killed, runCases)
	}
}

// compareCalls returns 1 if the thread was killed, as it should have been.
func compareCalls(t *testing.T, p cbpf.Program, calls []abi.SeccompData, got []syscall.Errno) int {
	t.Helper()
	for i := range calls {
		want := p.Run(&calls[i])
		switch {
		case i >= len(got) && want == abi.KillThread:
			return 1
		case i >= len(got):
			t.Fatalf("%+v: the kernel killed the thread, Run = %v\n%s", calls[i], want, p)
		case want != abi.Errno(uint16(got[i])):
			t.Fatalf("%+v: the kernel returned %d, Run = %v\n%s", calls[i], got[i], want, p)
		}
	}
	return 0
}

// callNumber is a number that no call has, one for each program.
func callNumber(i int) uint32 { return 0x20000000 + uint32(i) }

// threeParts are calls with random arguments, each once for every part of the
// verdict that the last argument selects.
func threeParts(r *rand.Rand, nr uint32) []abi.SeccompData {
	var out []abi.SeccompData
	for i := 0; i < 6; i++ {
		d := data(r)
		d.Nr, d.Arch = int32(nr), abi.ArchX86_64
		for _, shift := range []uint64{0, 12, 24} {
			d.Args[5] = shift
			out = append(out, *d)
		}
	}
	return out
}

// instrument makes p answer about call nr only, and with an ERRNO that holds
// the twelve bits of its verdict from bit args[5] on. A and X reach p as the
// kernel sets them at the start. It fails where the change of order makes the
// kernel's check of scratch memory refuse the program.
func instrument(r *rand.Rand, p cbpf.Program, nr uint32) (cbpf.Program, bool) {
	const saveA, saveX, result = 13, 14, 15
	var a cbpf.Assembler
	begin, end := a.NewLabel(), a.NewLabel()
	a.Emit(cbpf.St, saveA)
	a.Emit(cbpf.Stx, saveX)
	a.Emit(cbpf.LdAbs, abi.OffNr)
	a.Branch(cbpf.JeqK, nr, begin, cbpf.Next)
	a.Ret(abi.Allow)
	a.Bind(begin)
	a.Emit(cbpf.LdMem, saveA)
	a.Emit(cbpf.LdxMem, saveX)
	body(&a, p, end)
	a.Bind(end)
	a.Emit(cbpf.St, result)
	a.Emit(cbpf.LdAbs, abi.OffArgs+8*5)
	a.Emit(cbpf.Tax, 0)
	a.Emit(cbpf.LdMem, result)
	a.Emit(cbpf.RshX, 0)
	a.Emit(cbpf.AndK, 0xfff)
	a.Emit(cbpf.OrK, uint32(abi.ErrnoAction))
	a.Emit(cbpf.RetA, 0)
	q, err := a.Assemble()
	return q, err == nil
}

// body copies p. Its verdict goes to end in A; it does not read the
// instruction pointer, which this test cannot know.
func body(a *cbpf.Assembler, p cbpf.Program, end cbpf.Label) {
	insns := p.Insns()
	labels := make([]cbpf.Label, len(insns))
	for pc := range labels {
		labels[pc] = a.NewLabel()
	}
	for pc, in := range insns {
		a.Bind(labels[pc])
		switch {
		case in.Op == cbpf.RetK:
			a.Emit(cbpf.LdImm, in.K)
			a.Goto(end)
		case in.Op == cbpf.RetA:
			a.Goto(end)
		case in.Op == cbpf.Ja:
			a.Goto(labels[pc+1+int(in.K)])
		case in.Op&0x07 == cbpf.Ja:
			a.Branch(in.Op, in.K, labels[pc+1+int(in.Jt)], labels[pc+1+int(in.Jf)])
		case in.Op == cbpf.LdAbs && in.K/8 == abi.OffInstructionPointer/8:
			a.Emit(cbpf.LdAbs, in.K+8)
		default:
			a.Emit(in.Op, in.K)
		}
	}
}

// TestValidateLikeTheKernel has the kernel check random programs, about half
// of them broken in one place.
func TestValidateLikeTheKernel(t *testing.T) {
	r := rand.New(rand.NewSource(12))
	var questions []question
	for i := 0; i < validateCases; i++ {
		questions = append(questions, question{Insns: damaged(r, program(r, 2+r.Intn(20)).Insns())})
	}
	refused := 0
	for i, a := range askKernel(t, questions) {
		_, err := cbpf.Validate(questions[i].Insns)
		switch {
		case a.Install == syscall.EINVAL && err != nil:
			refused++
		case a.Install != 0 || err != nil:
			t.Errorf("the kernel says %v, Validate %v: %v", a.Install, err, questions[i].Insns)
		}
	}
	if refused < validateCases/4 || refused > validateCases*3/4 {
		t.Errorf("%d of %d programs refused: expected about half", refused, validateCases)
	}
}

// damaged changes one instruction.
func damaged(r *rand.Rand, insns []cbpf.Insn) []cbpf.Insn {
	pc := r.Intn(len(insns))
	in := &insns[pc]
	switch r.Intn(7) {
	case 0:
		in.Op = uint16(r.Intn(256))
	case 1:
		in.Op |= 1 << (8 + r.Intn(8))
	case 2:
		in.K = word(r)
	case 3:
		in.K = uint32(r.Intn(70))
	case 4:
		in.Jt, in.Jf = uint8(r.Intn(24)), uint8(r.Intn(24))
	case 5:
		*in = cbpf.Insn{Op: cbpf.LdMem, K: uint32(r.Intn(5))}
	case 6:
		return insns[:pc+1]
	}
	return insns
}

// child answers the questions on its standard input.
func child() error {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		return err
	}
	release := make(chan struct{})
	defer close(release)
	answers := make([]answer, len(questions))
	for i := range questions {
		if len(questions[i].Calls) > 0 {
			answers[i] = install(&questions[i])
		}
	}
	if err := checkOnly(questions, answers, release); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// Numbers of <linux/seccomp.h>, <linux/prctl.h> and <linux/futex.h>.
const (
	sysSeccomp         = 317
	setModeFilter      = 1
	flagTsync          = 1
	prSetNoNewPrivs    = 38
	futexWait, futWake = 0, 1
)

// sockFprog is struct sock_fprog.
type sockFprog struct {
	len    uint16
	filter *cbpf.Insn
}

func seccomp(insns []cbpf.Insn, flags uintptr) syscall.Errno {
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return e
	}
	prog := sockFprog{uint16(len(insns)), &insns[0]}
	_, _, e := syscall.RawSyscall(sysSeccomp, setModeFilter, flags, uintptr(unsafe.Pointer(&prog)))
	return e
}

// install answers q in a thread that ends with it, killed or not. The kernel
// clears the word that set_tid_address names and wakes its waiters when a
// thread ends in whatever way, so nothing has to be polled.
func install(q *question) answer {
	a := &answer{Calls: make([]syscall.Errno, 0, len(q.Calls))}
	running := new(int32)
	*running = 1
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its filter
		syscall.RawSyscall(syscall.SYS_SET_TID_ADDRESS, uintptr(unsafe.Pointer(running)), 0, 0)
		if a.Install = seccomp(q.Insns, 0); a.Install == 0 {
			callAll(q, a)
		}
		syscall.RawSyscall(syscall.SYS_SET_TID_ADDRESS, 0, 0, 0)
		atomic.StoreInt32(running, 0)
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(running)), futWake, 1, 0, 0, 0)
	}()
	for atomic.LoadInt32(running) != 0 {
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(running)), futexWait, 1, 0, 0, 0)
	}
	return *a
}

// callAll enters the calls as the scheduler expects of calls that block, so
// that it takes the processor back from a thread that was killed in one.
func callAll(q *question, a *answer) {
	for _, d := range q.Calls {
		n := d.Args
		r, _, e := syscall.Syscall6(uintptr(d.Nr), uintptr(n[0]), uintptr(n[1]), uintptr(n[2]), uintptr(n[3]), uintptr(n[4]), uintptr(n[5]))
		a.Calls = append(a.Calls, errno(r, e))
	}
}

// errno is what a call returned; package syscall takes the largest errno,
// 4095, for success, and otherwise returns -1 and the errno apart.
func errno(r uintptr, e syscall.Errno) syscall.Errno {
	if e == 0 {
		return syscall.Errno(-r)
	}
	return e
}

// checkOnly has the kernel check programs without installing them: they are to
// be installed in all threads, which it refuses after the check, because one
// thread, until release, has a filter that this one lacks.
func checkOnly(questions []question, answers []answer, release <-chan struct{}) error {
	ready := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread()
		ready <- seccomp([]cbpf.Insn{{Op: cbpf.RetK, K: uint32(abi.Allow)}}, 0)
		<-release
	}()
	if e := <-ready; e != 0 {
		return fmt.Errorf("install a filter that allows everything: %w", e)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for i := range questions {
			if len(questions[i].Calls) == 0 {
				answers[i].Install = seccomp(questions[i].Insns, flagTsync)
			}
		}
	}()
	<-done
	return nil
}
