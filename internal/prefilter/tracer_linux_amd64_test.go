package prefilter_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/prefilter"
	"portcullis/internal/split"
)

// heldFilter pins the path of openat, unless its flags say no, and denies
// to map 0x7777 bytes.
const heldFilter = `
r6 = r1
r7 = *(u32 *)(r6 +0)
w0 = 0x7fff0000
if r7 == 257 goto open
if r7 != 9 goto out
r2 = *(u64 *)(r6 +24)
if r2 != 0x7777 goto out
w0 = 0x50001
goto out
open:
r2 = *(u64 *)(r6 +32)
w0 = 0x5000d
if r2 == 0x40 goto out
r2 = *(u64 *)(r6 +24)
w0 = 0x50002
if r2 == 0x1000 goto out
r1 = r10
r1 += -8
r2 = 8
r3 = *(u64 *)(r6 +24)
call bpf_safe_read_user
w0 = 0x7fff0000
out:
exit
`

const (
	openat  = 257
	mmap    = 9
	atFdcwd = ^uint64(99)
	// traceAll has the kernel stop a target at its traced calls, follow its threads,
	// mark the ends of calls, and end it with its tracer (<linux/ptrace.h>).
	traceAll       = 0x80 | 0x8 | 0x1 | 0x100000
	eventSeccomp   = 7
	tracesysgood   = 0x80
	ownThreadsOnly = 0x20000000 // __WNOTHREAD
)

// TestTracerInTheKernel has a tracer do to calls what an agent does, and the kernel
// ask the program again: argument 4 of openat says what.
func TestTracerInTheKernel(t *testing.T) {
	s := &stack{}
	if !s.add(t, assembled(t, heldFilter)) {
		t.Fatal("the filter was refused")
	}
	p, err := prefilter.Build(s.trees, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		call abi.SeccompData
		do   func(*syscall.PtraceRegs)
		want outcome
	}{
		{"denied by the kernel alone", open(0, 0x40), nil, outcome{errno: syscall.EACCES}},
		{"goes on", open(0, 0), func(*syscall.PtraceRegs) {}, outcome{errno: syscall.EFAULT, stops: 1}},
		{"is denied", open(0, 0), func(r *syscall.PtraceRegs) { r.Orig_rax, r.Rax = ^uint64(0), ^uint64(0) }, outcome{errno: syscall.EPERM, stops: 1}},
		{"is redirected", open(0, 0), redirect, outcome{stops: 1}},
		{"is redirected, from what the filter denies", open(0x1000, 0), redirect, outcome{stops: 1}},
		{"is redirected, to what the filter denies", open(0, 0), func(r *syscall.PtraceRegs) { r.Rsi = 0x1000 }, outcome{errno: syscall.EFAULT, stops: 1}},
		{"has other flags", open(0, 0), func(r *syscall.PtraceRegs) { r.Rdx = 0x40 }, outcome{errno: syscall.EACCES, stops: 1}},
		{"maps where the tracer does", open(0, 0), func(r *syscall.PtraceRegs) { r.Rip = abi.CallSite; mapping(r) }, outcome{stops: 1}},
		{"maps where the target could", open(0, 0), mapping, outcome{errno: syscall.EPERM, stops: 1}},
		{"kills the process", open(0, 0), func(r *syscall.PtraceRegs) { r.Orig_rax = abi.KillProcessCall }, outcome{stops: 1, died: "process"}},
		{"kills the thread", open(0, 0), func(r *syscall.PtraceRegs) { r.Orig_rax = abi.KillThreadCall }, outcome{stops: 1, died: "thread"}},
		{"traps", open(0, 0), func(r *syscall.PtraceRegs) { r.Orig_rax = abi.TrapCall }, outcome{stops: 1, died: "trap"}},
		{"traces others", abi.SeccompData{Nr: 101, Args: [6]uint64{16, 1}}, nil, outcome{errno: syscall.EPERM}},
		{"starts an untraced thread", abi.SeccompData{Nr: 56, Args: [6]uint64{0x800000 | 17}}, nil, outcome{errno: syscall.EPERM}},
		{"starts a thread of whose flags nobody knows", abi.SeccompData{Nr: 435}, nil, outcome{errno: syscall.ENOSYS}},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			c.call.Arch = abi.ArchX86_64
			if kind := p.Decide(&c.call).Kind; (kind == split.Trace) != (c.want.stops > 0) {
				t.Fatalf("the leaf is %s", kind)
			}
			if got := traced(t, question{Insns: p.Program().Insns(), Calls: []abi.SeccompData{c.call}}, c.do); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func open(path, flags uint64) abi.SeccompData {
	return abi.SeccompData{Nr: openat, Args: [6]uint64{atFdcwd, path, flags}}
}

// root is "/" on the stack, where redirect points; the tracer puts it there.
const root = 256 // bytes below the stack pointer

func redirect(r *syscall.PtraceRegs) { r.Rsi = r.Rsp - root }

func mapping(r *syscall.PtraceRegs) {
	r.Orig_rax = mmap
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = 0, 0x7777, 0, 0x22, ^uint64(0), 0 // anonymous, private
}

// outcome is what became of a call: its errno, how often the tracer was asked, and what
// died of it.
type outcome struct {
	errno syscall.Errno
	stops int
	died  string
}

// tracer follows one target to its end.
type tracer struct {
	pid  int
	do   func(*syscall.PtraceRegs)
	seen outcome
	// before is the registers of threads whose call's end is waited for.
	before map[int]syscall.PtraceRegs
}

// traced runs a question in a copy of this binary, and does something to the calls at
// which the kernel asks for a tracer.
func traced(t *testing.T, q question, do func(*syscall.PtraceRegs)) outcome {
	t.Helper()
	runtime.LockOSThread() // tracees belong to a thread
	defer runtime.UnlockOSThread()
	in, err := json.Marshal([]question{q})
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = fileOf(t, in), w, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs ptrace: %v", err)
	}
	w.Close()
	tr := &tracer{pid: cmd.Process.Pid, do: do, before: map[int]syscall.PtraceRegs{}}
	if err := tr.follow(); err != nil {
		t.Fatal(err)
	}
	var answers []answer
	if tr.seen.died != "" {
		return tr.seen
	}
	if err := json.NewDecoder(out).Decode(&answers); err != nil || len(answers) != 1 || len(answers[0].Calls) != 1 {
		t.Fatalf("answers %v: %v", answers, err)
	}
	tr.seen.errno = answers[0].Calls[0]
	return tr.seen
}

func fileOf(t *testing.T, data []byte) *os.File {
	t.Helper()
	name := t.TempDir() + "/question"
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// follow is the tracer's loop, from the stop at the target's beginning to its end.
func (tr *tracer) follow() error {
	started := false
	for {
		var ws syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &ws, syscall.WALL|ownThreadsOnly, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return err
		case ws.Exited() || ws.Signaled():
			if tr.ended(tid, ws) {
				return nil
			}
			continue
		case !started:
			started = true
			err = syscall.PtraceSetOptions(tid, traceAll)
		}
		if err == nil {
			err = tr.stopped(tid, ws)
		}
		if err != nil && err != syscall.ESRCH { // which is killed meanwhile
			return err
		}
	}
}

// ended notes who died of a filter; true if that is all of the target.
func (tr *tracer) ended(tid int, ws syscall.WaitStatus) bool {
	killed := ws.Signaled() && ws.Signal() == syscall.SIGSYS
	switch {
	case killed && tid == tr.pid:
		tr.seen.died = "process"
	case killed && tr.seen.died == "":
		tr.seen.died = "thread"
		_ = syscall.Kill(tr.pid, syscall.SIGKILL) // it waits for the thread; not so if it died as well
	}
	return tid == tr.pid
}

func (tr *tracer) stopped(tid int, ws syscall.WaitStatus) error {
	sig := ws.StopSignal()
	switch {
	case ws.TrapCause() == eventSeccomp:
		return tr.asked(tid)
	case int(sig) == int(syscall.SIGTRAP)|tracesysgood:
		return tr.restore(tid)
	case sig == syscall.SIGSYS:
		tr.seen.died = "trap"
		return syscall.Kill(tr.pid, syscall.SIGKILL)
	case sig == syscall.SIGTRAP || sig == syscall.SIGSTOP:
		sig = 0 // of a new thread, or of tracing itself
	}
	return syscall.PtraceCont(tid, int(sig))
}

// asked does to a call what the case is about, and stops at its end.
func (tr *tracer) asked(tid int) error {
	tr.seen.stops++
	var r syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	if _, err := syscall.PtracePokeData(tid, uintptr(r.Rsp-root), []byte("/\x00")); err != nil {
		return err
	}
	tr.before[tid] = r
	tr.do(&r)
	if err := syscall.PtraceSetRegs(tid, &r); err != nil {
		return err
	}
	return syscall.PtraceSyscall(tid, 0)
}

// restore gives the target its registers back, with the result: an address is one too,
// for whoever asked for a descriptor.
func (tr *tracer) restore(tid int) error {
	var r syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	back := tr.before[tid]
	back.Rax = r.Rax
	if err := syscall.PtraceSetRegs(tid, &back); err != nil {
		return err
	}
	return syscall.PtraceCont(tid, 0)
}

// TestNoTracer: without one the kernel fails what is traced.
func TestNoTracer(t *testing.T) {
	s := &stack{}
	if !s.add(t, assembled(t, heldFilter)) {
		t.Fatal("the filter was refused")
	}
	p, err := prefilter.Build(s.trees, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Traced() || !strings.Contains(p.Program().String(), "TRACE") {
		t.Fatalf("the program traces nothing:\n%s", p.Program())
	}
	a := askKernel(t, []question{{p.Program().Insns(), []abi.SeccompData{open(0, 0)}}})[0]
	if a.Install != 0 || len(a.Calls) != 1 || a.Calls[0] != syscall.ENOSYS {
		t.Errorf("%+v: expected ENOSYS", a)
	}
}
