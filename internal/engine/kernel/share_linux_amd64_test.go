package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// What all users have together, one user does not use up, and what filters look for has an end.

// Storage is looked for in a list of all maps that a process has some in: of 128.
func TestGuestStorageInManyMaps(t *testing.T) {
	inGuest(t)
	const maps = 60
	stores := func(name string) *prog.Program {
		a := newAssembler().unless(getppid, "allow")
		for i := 0; i < maps; i++ {
			m := counter(prog.TaskStorage)
			a.mapTo(1, prog.PseudoMapFD, m).mov(2, 0).mov(3, 0).mov(4, helper.StorageCreate).
				call(helper.TaskStorageGet).jump(prog.OpJeq, 0, 0, "none")
		}
		return a.label("allow").answer(abi.Allow).label("none").answer(abi.Errno(edom)).program(name)
	}
	expect(t, "ok ok", plain(stores("one"), stores("two")), "ppid ppid")
	expect(t, "EDOM EDOM", plain(stores("one"), stores("two"), stores("three")), "ppid ppid")
}

// Machine code has one limit for all. A user who loads as much as there is leaves some to others,
// and has no more of it as other users of a namespace of his own.
func TestGuestShareOfMachineCode(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who sets the sysctl")
	}
	const path, other = "/proc/sys/net/core/bpf_jit_limit", guest.Nobody - 1
	limit, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set(t, path, fmt.Sprint(1<<20))
	defer set(t, path, strings.TrimSpace(string(limit)))
	full := as(guest.Nobody, victim("fill"))
	in, out := pipes(t, full)
	if err := full.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	says(t, lines, "full disk quota exceeded")
	says(t, lines, "in a namespace disk quota exceeded")
	stranger, err := as(other, victim("probe")).Output()
	if s := strings.TrimSpace(string(stranger)); err != nil || s != "ok" {
		t.Errorf("another user's load: %s, %v", s, err)
	}
	in.Close()
	says(t, lines, "afterwards <nil>")
	if err := full.Wait(); err != nil {
		t.Error(err)
	}
}

// pipes connects a command's input and output.
func pipes(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, io.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return in, out
}

// says expects a line.
func says(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if got := strings.TrimSpace(line); got != want {
		t.Fatalf("it says %q, %v, expected %q", got, err, want)
	}
}

// fill loads until there is no more to be had, waits for the end of input, and begins anew.
func fill() []string {
	all, err := more(nil)
	for err == nil && len(all) < 1000 {
		all, err = more(all)
	}
	fmt.Println("full", err)
	within := victim("load")
	within.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 7, HostID: os.Getuid(), Size: 1}},
	}
	seen, err := within.Output()
	if err != nil {
		seen = []byte(err.Error())
	}
	fmt.Println("in a namespace", strings.TrimSpace(string(seen)))
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, l := range all {
		l.close()
	}
	return []string{"afterwards", fmt.Sprint(again())}
}

// more loads a program of some kilobytes.
func more(all []*loaded) ([]*loaded, error) {
	a := newAssembler()
	for len(a.insns) < 1000 {
		a.mov(2, int32(len(a.insns)))
	}
	l, err := load(plain(a.answer(abi.Allow).program("more")))
	if err == nil {
		all = append(all, l)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return all, err
}

// again loads one more as soon as what has been closed is gone.
func again() (err error) {
	for deadline := time.Now().Add(guest.Patience(10 * time.Second)); time.Now().Before(deadline); runtime.Gosched() {
		if _, err = more(nil); err != syscall.EDQUOT {
			break
		}
	}
	return err
}
