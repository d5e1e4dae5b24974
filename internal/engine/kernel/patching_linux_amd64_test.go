package kernel

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/kit"
	"portcullis/internal/prog"
)

// divisions is a program for which the verifier inserts something at each instruction, and
// moves all others each time.
func divisions() *prog.Program {
	a := newAssembler().load32(3, 1, abi.OffNr).mov(2, 7)
	for len(a.insns) < 32000 {
		a.alu(prog.OpDiv, 2, 3)
	}
	return a.answer(abi.Allow).program("divisions")
}

// loading loads a program.
func loading(p *prog.Program) string {
	l, err := load(plain(p))
	if err == nil {
		l.close()
	}
	return fmt.Sprint(err)
}

// constants is a program of which each instruction is hidden, one by one.
func constants() *prog.Program {
	a := newAssembler()
	for len(a.insns) < 32000 {
		a.mov(2, int32(len(a.insns)))
	}
	return a.answer(abi.Allow).program("constants")
}

// Who loads what takes minutes to patch can be killed meanwhile.
func TestGuestLongPatchingIsKilled(t *testing.T) {
	inGuest(t)
	killedMeanwhile(t, "divide")
}

// So can who has constants blinded (net.core.bpf_jit_harden).
func TestGuestLongBlindingIsKilled(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who sets the sysctl")
	}
	const path = "/proc/sys/net/core/bpf_jit_harden"
	set(t, path, "2")
	defer set(t, path, "0")
	killedMeanwhile(t, "blind")
}

// killedMeanwhile has a victim load for long, and kills it.
func killedMeanwhile(t *testing.T, word string) {
	t.Helper()
	cmd := victim(word)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	const second = 100 // in ticks of /proc
	for inKernel(t, cmd.Process.Pid) < 2*second {
		select {
		case err := <-ended:
			t.Fatalf("it was loaded in a moment: %v", err)
		default:
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Errorf("it ended by itself: %v", cmd.ProcessState)
		}
	case <-time.After(30 * time.Second):
		t.Error("half a minute after SIGKILL it is still there")
	}
}

// inKernel is the time that a process has spent in the kernel, in hundredths of a second.
func inKernel(t *testing.T, pid int) int {
	t.Helper()
	words, err := kit.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := strconv.Atoi(words[kit.StatSystem])
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}
