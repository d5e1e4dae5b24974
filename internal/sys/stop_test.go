//go:build linux && amd64

package sys

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStopsOfStatuses(t *testing.T) {
	const trap, stopped = 5, 0x7f
	for status, want := range map[unix.WaitStatus]Stop{
		7 << 8:                                   {Kind: Ended, Value: 7},
		9:                                        {Kind: Killed, Value: 9},
		11<<8 | stopped:                          {Kind: SignalStop, Value: 11},
		trap<<8 | stopped:                        {Kind: SignalStop, Value: trap},
		(trap|0x80)<<8 | stopped:                 {Kind: CallStop},
		1<<16 | trap<<8 | stopped:                {Kind: ForkStop},
		2<<16 | trap<<8 | stopped:                {Kind: VforkStop},
		3<<16 | trap<<8 | stopped:                {Kind: CloneStop},
		4<<16 | trap<<8 | stopped:                {Kind: ExecStop},
		5<<16 | trap<<8 | stopped:                {Kind: UnknownStop}, // VFORK_DONE
		6<<16 | trap<<8 | stopped:                {Kind: ExitStop},
		7<<16 | trap<<8 | stopped:                {Kind: SeccompStop},
		0x80<<16 | trap<<8 | stopped:             {Kind: TrapStop},
		0x80<<16 | 19<<8 | unix.WaitStatus(0x7f): {Kind: JobStop, Value: 19},
	} {
		if got := (Stop{0, stopKind(status), stopValue(status)}); got != want {
			t.Errorf("status %#x: %v, expected %v", uint32(status), got, want)
		}
	}
}

// A tracee's calls, registers and end are seen by the thread that traces it, and
// no other.
func TestTrace(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(TraceSeize(pid, TraceExitKill|TraceSysGood|TraceExit))
	must(TraceInterrupt(pid))
	if stop, err := Wait(-1); err != nil || stop != (Stop{Tid: pid, Kind: TrapStop}) {
		t.Fatalf("%v, %v: expected a trap", stop, err)
	}
	must(TraceCall(pid, 0))
	in.Close() // which ends the read that it is in, or will be
	for kind := CallStop; kind == CallStop; {
		stop, err := Wait(pid)
		must(err)
		if kind = stop.Kind; kind != CallStop {
			break
		}
		seen(t, pid)
		must(TraceCall(pid, 0))
	}
	if status, err := TraceMessage(pid); err != nil || status != 0 {
		t.Errorf("at its end: status %d, %v", status, err)
	}
	must(TraceCont(pid, 0))
	if stop, err := Wait(pid); err != nil || stop != (Stop{Tid: pid, Kind: Ended}) {
		t.Errorf("%v, %v: expected its end", stop, err)
	}
	if _, err := Wait(pid); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("after its end: %v, expected ECHILD", err)
	}
	if err := TraceCont(os.Getpid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a process that is not traced: %v, expected ESRCH", err)
	}
}

// seen compares what is known of the call a tracee is stopped at.
func seen(t *testing.T, tid int) {
	t.Helper()
	var r Regs
	if err := TraceRegs(tid, &r); err != nil {
		t.Fatal(err)
	}
	info, err := TraceCallInfo(tid)
	if err != nil || info.IP != r.Rip || info.SP != r.Rsp || info.Arch != 0xc000003e {
		t.Errorf("%+v, %v: expected what the registers say: %+v", info, err, r)
	}
	if info.Op == CallEntry && (uint64(info.Value) != r.OrigRax || info.Args[1] != r.Rsi) {
		t.Errorf("%+v: expected the call of %+v", info, r)
	}
	if info.Op == CallExit && uint64(info.Value) != r.Rax {
		t.Errorf("%+v: expected the result of %+v", info, r)
	}
	if err := TraceSetRegs(tid, &r); err != nil {
		t.Error(err)
	}
	mask, err := TraceMask(tid)
	if err != nil || TraceSetMask(tid, mask) != nil {
		t.Errorf("the signals that are blocked: %v", err)
	}
}

// tracedCat is cat in the entry of the read that waits for its standard input,
// which stays open.
func tracedCat(t *testing.T, options TraceOption) int {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if err := TraceSeize(pid, options|TraceExitKill|TraceSysGood); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for err := error(nil); err == nil; _, err = Wait(pid) {
		}
	})
	if err := TraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	nextStop(t, pid, TrapStop)
	for {
		nextCall(t, pid)
		info, err := TraceCallInfo(pid)
		if err != nil {
			t.Fatal(err)
		}
		if info.Op == CallEntry && info.Value == syscall.SYS_READ && info.Args[0] == 0 {
			return pid
		}
	}
}

// nextCall lets a tracee run to the next entry or exit of a call.
func nextCall(t *testing.T, pid int) {
	t.Helper()
	if err := TraceCall(pid, 0); err != nil {
		t.Fatal(err)
	}
	nextStop(t, pid, CallStop)
}

func nextStop(t *testing.T, pid int, kind StopKind) Stop {
	t.Helper()
	stop, err := Wait(pid)
	if err != nil || stop.Kind != kind {
		t.Fatalf("%v, %v: expected a %v stop", stop, err, kind)
	}
	return stop
}

// Registers are written one by one: a call gets other arguments, is not made, and
// has the result it is given.
func TestTraceSetsRegisters(t *testing.T) {
	pid := tracedCat(t, 0)
	var was, is Regs
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(TraceRegs(pid, &was))
	for i := 0; i < 6; i++ {
		must(TraceSetArg(pid, i, 1<<40+uint64(i)))
	}
	info, err := TraceCallInfo(pid)
	if want := [6]uint64{1 << 40, 1<<40 + 1, 1<<40 + 2, 1<<40 + 3, 1<<40 + 4, 1<<40 + 5}; err != nil || info.Args != want {
		t.Errorf("arguments %#x, %v: expected %#x", info.Args, err, want)
	}
	must(TraceRegs(pid, &is))
	want := was
	want.Rdi, want.Rsi, want.Rdx, want.R10, want.R8, want.R9 = 1<<40, 1<<40+1, 1<<40+2, 1<<40+3, 1<<40+4, 1<<40+5
	if is != want {
		t.Errorf("registers %+v, expected %+v", is, want)
	}
	must(TraceSetRegs(pid, &was))
	must(TraceSetNumber(pid, -1))
	must(TraceSetResult(pid, 0)) // the end of the file
	must(TraceCont(pid, 0))
	var usage syscall.Rusage
	stop, status, err := WaitUsage(pid, &usage)
	if err != nil || stop != (Stop{Tid: pid, Kind: Ended}) || status != 0 || usage.Maxrss == 0 {
		t.Errorf("%v, status %#x, %+v, %v: expected its end, with what it used", stop, status, usage, err)
	}
}

func TestTraceSiginfo(t *testing.T) {
	pid := tracedCat(t, 0)
	after := func(sig syscall.Signal) (Stop, syscall.WaitStatus) {
		t.Helper()
		if err := TraceCont(pid, sig); err != nil {
			t.Fatal(err)
		}
		stop, status, err := WaitUsage(pid, nil)
		if err != nil {
			t.Fatal(err)
		}
		return stop, status
	}
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if stop, status := after(0); stop.Kind != SignalStop || stop.Value != int(syscall.SIGUSR1) || status.StopSignal() != syscall.SIGUSR1 {
		t.Fatalf("%v, status %#x: expected the signal", stop, status)
	}
	var got, back Siginfo
	if err := TraceSiginfo(pid, &got); err != nil || got.Signo != int32(syscall.SIGUSR1) || uint32(got.CallAddr) != uint32(os.Getpid()) {
		t.Errorf("%+v, %v: expected SIGUSR1 of %d", got, err, os.Getpid())
	}
	want := Siginfo{Signo: int32(syscall.SIGSYS), Errno: 7, Code: 1, SigsysInfo: SigsysInfo{CallAddr: 1 << 40, Syscall: -1, Arch: 0xc000003e}}
	if err := TraceSetSiginfo(pid, &want); err != nil {
		t.Fatal(err)
	}
	if err := TraceSiginfo(pid, &back); err != nil || back != want {
		t.Errorf("%+v, %v: expected %+v", back, err, want)
	}
	if stop, status := after(syscall.SIGSYS); stop != (Stop{pid, Killed, int(syscall.SIGSYS)}) || status.Signal() != syscall.SIGSYS {
		t.Errorf("%v, status %#x: expected its death by SIGSYS", stop, status)
	}
}

// An end is left to os/exec, and a stop is no end.
func TestEndIsLeft(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, c := range []struct{ script, want string }{
		{"read x; exit 7", "exit status 7"},
		{"read x; kill -TERM $$", "signal: terminated"},
	} {
		cmd := exec.Command("/bin/sh", "-c", c.script)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			err = TraceSeize(cmd.Process.Pid, TraceExitKill|TraceExit)
		}
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		stop, err := WaitLeaving(-1)
		for ; err == nil && stop.Kind != Ended && stop.Kind != Killed; stop, err = WaitLeaving(-1) {
			if ended, err := EndedChild(); err != nil || ended != 0 {
				t.Errorf("at %v: child %d ended, %v", stop, ended, err)
			}
			sig := syscall.Signal(0)
			if stop.Kind == SignalStop {
				sig = syscall.Signal(stop.Value)
			}
			if err := TraceCont(stop.Tid, sig); err != nil {
				t.Fatal(err)
			}
		}
		if ended, endErr := EndedChild(); err != nil || endErr != nil || ended != cmd.Process.Pid {
			t.Errorf("at %v, %v: child %d ended, %v", stop, err, ended, endErr)
		}
		if err := cmd.Wait(); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, expected %s", c.script, err, c.want)
		}
	}
}

// What a number stands for is known of tracees that have ended, too, until they are
// waited for.
func TestWhoseNumberItIs(t *testing.T) {
	pid := tracedCat(t, 0)
	var regs Regs
	if err := TraceRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	if err := TracePeek(pid, regs.Rsp); err != nil {
		t.Errorf("looking at the stack: %v", err)
	}
	if err := TracePeek(pid, 16); err != syscall.EIO {
		t.Errorf("looking at nothing: %v, expected EIO", err)
	}
	if !IsThread(pid, pid) || IsThread(os.Getpid(), pid) || !IsTracee(pid) || IsTracee(os.Getpid()) {
		t.Error("alive, it is not its own process' thread and this one's tracee")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	if stop, err := WaitLeaving(pid); err != nil || stop.Kind != Killed || !IsThread(pid, pid) || !IsTracee(pid) {
		t.Errorf("%v, %v: expected it to be there until it is waited for", stop, err)
	}
	if stop, err := Wait(pid); err != nil || stop.Kind != Killed || IsTracee(pid) {
		t.Errorf("%v, %v: expected it to be gone then", stop, err)
	}
}

// A thread that traces may have started other processes: their ends are not its.
func TestWaitLeavesChildren(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	other := exec.Command("/bin/true")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := PidfdProcess(other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if _, _, err := Poll(fd, -1, -1); err != nil {
		t.Fatal(err)
	}
	pid := tracedCat(t, 0)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for name, wait := range map[string]func(int) (Stop, error){"WaitLeaving": WaitLeaving, "Wait": Wait} {
		if stop, err := wait(other.Process.Pid); err != syscall.ECHILD {
			t.Errorf("%s for a child that is not traced: %v, %v, expected ECHILD", name, stop, err)
		}
	}
	for name, wait := range []func(int) (Stop, error){WaitLeaving, Wait} {
		if stop, err := wait(-1); err != nil || stop != (Stop{pid, Killed, int(syscall.SIGKILL)}) {
			t.Errorf("wait %d: %v, %v: expected the death of %d", name, stop, err, pid)
		}
	}
	if stop, err := Wait(-1); err != syscall.ECHILD {
		t.Errorf("without a tracee: %v, %v, expected ECHILD", stop, err)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("its status was taken: %v", err)
	}
}

// What is asked for each decision allocates nothing.
func TestTraceAllocatesNothing(t *testing.T) {
	pid := tracedCat(t, 0)
	var regs Regs
	var memory [64]byte
	allocations := testing.AllocsPerRun(100, func() {
		stop := Stop{}
		err := TraceRegs(pid, &regs)
		for _, f := range []func() error{
			func() error { return TraceSetRegs(pid, &regs) },
			func() error { return TraceSetArg(pid, 0, regs.Rdi) },
			func() error { return TraceSetNumber(pid, -1) },
			func() error { return TraceSetResult(pid, -int64(syscall.EAGAIN)) },
			func() error { _, err := TraceCallInfo(pid); return err },
			func() error { _, err := TraceMessage(pid); return err },
			func() error { _, err := TraceMask(pid); return err },
			func() error { _, err := ReadProcess(pid, memory[:], regs.Rip-2); return err },
			func() error { return TraceSetNumber(pid, syscall.SYS_GETPID) },
			func() error { return TraceCall(pid, 0) },
			func() error { stop, err = Wait(pid); return err },
			func() error {
				again := regs
				again.Rip, again.Rax = regs.Rip-2, syscall.SYS_READ
				return TraceSetRegs(pid, &again)
			},
			func() error { return TraceCall(pid, 0) },
			func() error { stop, err = Wait(pid); return err },
		} {
			if err == nil {
				err = f()
			}
		}
		if err != nil || stop.Kind != CallStop {
			t.Fatalf("%v, %v", stop, err)
		}
	})
	var kind StopKind
	allocations += testing.AllocsPerRun(100, func() { kind = stopKind(unix.PTRACE_EVENT_SECCOMP<<16 | 0x57f) })
	if allocations != 0 || kind != SeccompStop {
		t.Errorf("%v allocations for a stop, expected none", allocations)
	}
}

func TestMemfdIsSealed(t *testing.T) {
	f, err := Memfd("test", 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := MapShared(f, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(b)
	if err := SealContent(f); err != nil {
		t.Fatal(err)
	}
	b[0] = 'x'
	got := make([]byte, 1)
	if _, err := f.ReadAt(got, 0); err != nil || got[0] != 'x' {
		t.Errorf("%q, %v: the mapping from before must write", got, err)
	}
	for what, err := range map[string]error{
		"write": func() error { _, err := f.WriteAt(got, 0); return err }(),
		"size":  f.Truncate(4096),
		"seals": SealContent(f),
	} {
		if !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: %v, expected EPERM", what, err)
		}
	}
	if _, err := MapShared(f, 4096); !errors.Is(err, syscall.EPERM) {
		t.Errorf("another mapping: %v, expected EPERM", err)
	}
}
