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
