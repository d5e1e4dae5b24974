package kernel

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// The verifier writes its log to the loader's memory, which may be a page that
// the loader gives when it likes. One user who does that for ever must not keep
// others from loading, nor be there for ever himself.
func TestGuestVerifierIsNotHeld(t *testing.T) {
	inGuest(t)
	mayHold(t)
	const villain, other = 1000, 1001
	holder := as(villain, victim("hold"))
	held(t, holder)
	second := as(villain, victim("probe"))
	queued(t, second)
	out := new(strings.Builder)
	stranger := as(other, victim("probe"))
	stranger.Stdout = out
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	ends(t, "another user's load", stranger)
	if s := strings.TrimSpace(out.String()); s != "ok" {
		t.Errorf("another user's load: %s", s)
	}
	killAll(t, second, holder)
}

// Loads that wait for another one of their user have none of the memory for machine code yet: a few
// users whose loads all wait leave it to others.
func TestGuestWaitingLoadsHaveNoShare(t *testing.T) {
	inGuest(t)
	mayHold(t)
	defer fewMachineCode(t)()
	var all []*exec.Cmd
	for uid := uint32(1); uid <= 4; uid++ {
		holder := as(guest.Nobody-uid, victim("hold"))
		held(t, holder)
		for i := 0; i < 4; i++ { // an eighth, at 64 bytes an instruction
			waiting := as(guest.Nobody-uid, victim("load"))
			queued(t, waiting)
			all = append(all, waiting)
		}
		all = append(all, holder)
	}
	out, err := as(guest.Nobody, victim("load")).Output()
	if s := strings.TrimSpace(string(out)); err != nil || s != "<nil>" {
		t.Errorf("another user's load: %s, %v", s, err)
	}
	killAll(t, all...)
}

// mayHold has users answer faults of the kernel.
func mayHold(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone starts processes of other users")
	}
	const knob = "/proc/sys/vm/unprivileged_userfaultfd"
	if err := os.WriteFile(knob, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
}

// queued starts cmd and waits until it waits in bpf(2).
func queued(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const bpf = 321
	if err := until(cmd.Process.Pid, bpf, nil); err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
}

// killAll kills all, which have to end.
func killAll(t *testing.T, all ...*exec.Cmd) {
	t.Helper()
	for _, cmd := range all {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		ends(t, strings.Join(cmd.Args, " "), cmd)
	}
}

// as makes cmd run as uid.
func as(uid uint32, cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// held starts cmd and waits until it says so.
func held(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says(t, bufio.NewReader(out), "held")
}

// ends fails the test, and leaves cmd, if it does not end in time.
func ends(t *testing.T, what string, cmd *exec.Cmd) {
	t.Helper()
	done := make(chan bool)
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(guest.Patience(2 * time.Second)):
		t.Fatalf("%s does not end", what)
	}
}

// hold has a load write its log to a page that is never given.
func hold() string {
	const size = 1 << 20
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err.Error()
	}
	fd, err := faultsOf(mem)
	if err != nil {
		return err.Error()
	}
	go func() {
		_, err := confined(func() (int, error) {
			insns := prog.Encode(newAssembler().answer(abi.Allow).insns)
			return sys.ProgLoad(sys.ProgAttr{Type: sys.ProgTypeSeccomp, Insns: insns, License: "GPL", Log: mem})
		})
		fmt.Println("the load has ended:", err)
	}()
	event := make([]byte, 32) // struct uffd_msg
	if _, err := syscall.Read(fd, event); err != nil {
		return err.Error()
	}
	fmt.Println("held")
	_, err = syscall.Read(fd, event) // for ever
	return fmt.Sprint(err)
}

// faultsOf is a userfaultfd for mem.
func faultsOf(mem []byte) (int, error) {
	const userfaultfd, ioctlAPI, ioctlRegister, missing = 323, 0xc018aa3f, 0xc020aa00, 1
	fd, _, errno := syscall.Syscall(userfaultfd, syscall.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, fmt.Errorf("userfaultfd: %w", errno)
	}
	api := [3]uint64{0xaa}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlAPI, uintptr(unsafe.Pointer(&api))); errno != 0 {
		return -1, fmt.Errorf("UFFDIO_API: %w", errno)
	}
	area := [4]uint64{uint64(uintptr(unsafe.Pointer(&mem[0]))), uint64(len(mem)), missing}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlRegister, uintptr(unsafe.Pointer(&area))); errno != 0 {
		return -1, fmt.Errorf("UFFDIO_REGISTER: %w", errno)
	}
	return int(fd), nil
}
