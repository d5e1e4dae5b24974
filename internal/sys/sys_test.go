//go:build linux && amd64

package sys

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

func TestNotificationsHaveTheKernelsSize(t *testing.T) {
	if err := NotifSizes(); err != nil {
		t.Fatal(err)
	}
	if unsafe.Sizeof(Notif{}) != 80 || unsafe.Sizeof(NotifResp{}) != 24 {
		t.Error("struct seccomp_notif is 80 bytes, struct seccomp_notif_resp 24")
	}
}

func TestUnknownFilterFlag(t *testing.T) {
	if FilterFlagKnown(1 << 30) {
		t.Error("bit 30 is said to be a filter flag")
	}
	if !FilterFlagKnown(FlagNewListener) {
		t.Error("NEW_LISTENER is said to be unknown")
	}
}

func TestActionKnown(t *testing.T) {
	if !ActionKnown(0x7fff0000) || ActionKnown(0x12340000) {
		t.Error("ALLOW is an action and 0x1234 is none")
	}
}

func TestMessagesCarryADescriptor(t *testing.T) {
	a, b, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	f, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(w, "content")
	w.Close()
	if err := SendMessage(a, []byte{7}, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	Close(a)
	var buf [8]byte
	n, fd, err := RecvMessage(b, buf[:])
	if err != nil || n != 1 || buf[0] != 7 || fd < 0 {
		t.Fatalf("received %d bytes %v and descriptor %d: %v", n, buf, fd, err)
	}
	got, _ := io.ReadAll(os.NewFile(uintptr(fd), "received"))
	if string(got) != "content" {
		t.Errorf("the descriptor's content is %q", got)
	}
	if _, _, err := RecvMessage(b, buf[:]); err != io.EOF {
		t.Errorf("a closed peer: %v, want EOF", err)
	}
	Close(b)
}

func TestPidfdTellsIdentityFromNumber(t *testing.T) {
	cmd := exec.Command("/bin/cat")
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := PidfdProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if err := PidfdSignal(fd, 0); err != nil || PidfdGone(fd) {
		t.Errorf("a living process: %v, gone %v", err, PidfdGone(fd))
	}
	in.Close()
	cmd.Wait()
	if err := PidfdSignal(fd, 0); !errors.Is(err, syscall.ESRCH) || !PidfdGone(fd) {
		t.Errorf("a reaped process: %v, gone %v", err, PidfdGone(fd))
	}
	if err := PidfdReap(fd); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("reaping what was reaped: %v, want ECHILD", err)
	}
}

func TestThreadIsNoProcess(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	tids := make(chan int)
	for i := 0; i < 2; i++ {
		go func() {
			runtime.LockOSThread()
			tids <- Gettid()
			<-done
		}()
	}
	other := <-tids
	if second := <-tids; other == os.Getpid() {
		other = second
	}
	if _, err := PidfdProcess(other); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("pidfd_open of a thread that leads no process: %v", err)
	}
}

func TestReadProcess(t *testing.T) {
	src := []byte("four score")
	dst := make([]byte, len(src))
	n, err := ReadProcess(os.Getpid(), dst, uint64(uintptr(unsafe.Pointer(&src[0]))))
	if err != nil || string(dst[:n]) != string(src) {
		t.Errorf("read %q: %v", dst[:n], err)
	}
	if _, err := ReadProcess(os.Getpid(), dst, 1); !errors.Is(err, syscall.EFAULT) {
		t.Errorf("reading address 1: %v, want EFAULT", err)
	}
	runtime.KeepAlive(src)
}

func TestEventFDWakesPoll(t *testing.T) {
	fd, err := EventFD()
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	if _, r, _ := Poll(-1, fd, 0); r != 0 {
		t.Errorf("a fresh counter is ready: %#x", r)
	}
	WakeUp(fd)
	if _, r, _ := Poll(-1, fd, -1); r&Readable == 0 {
		t.Errorf("after WakeUp: %#x", r)
	}
}
