//go:build linux && amd64

package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/prefilter"
	"portcullis/internal/sys"
)

// ending runs cmd under filters, and fails the test where it does not end.
func ending(t *testing.T, cmd *exec.Cmd, fs ...Filter) result {
	t.Helper()
	hang := time.AfterFunc(time.Minute, func() {
		t.Errorf("%s hangs", cmd)
		_ = cmd.Process.Kill()
	})
	defer hang.Stop()
	return run(t, cmd, Options{}, fs...)
}

// secret is a file that everybody may open, but not under the filter "open": it says
// hidden.
func secret(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp("", "secret-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	_, err = f.WriteString("hidden\n")
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// tries prints what came of opening two paths, by raw calls.
func tries(args []string) int {
	for _, path := range args {
		fmt.Println(name(rawOpen(path)))
	}
	return 0
}

func TestTracedNamespaces(t *testing.T) {
	switch {
	case os.Getuid() == 0:
		asNobody(t, t.Name())
		const user, pid = syscall.CLONE_NEWUSER, syscall.CLONE_NEWPID
		for _, flags := range []uintptr{user, user | pid, everyNamespace} {
			inNamespaces(t, flags)
		}
	case !sys.Dumpable(): // a supervisor already: it would take privilege to map users
		again(t, t.Name(), nil)
	default:
		inNamespaces(t, everyNamespace)
	}
}

const everyNamespace = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
	syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

func inNamespaces(t *testing.T, flags uintptr) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "id -u; (cat $0 || true) 2>/dev/null; head -c 4 /etc/passwd; exit 6", secret(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := unsandboxed(cmd); err != nil {
		t.Skip("needs user namespaces: " + err.Error())
	}
	r := ending(t, cmd, traced(t, "open"), traced(t, "exec"))
	if r.state.ExitCode() != 6 || r.out != "0\nroot" {
		t.Errorf("%#x: %v, %q", flags, r.state, r.out)
	}
}

// unsandboxed starts a copy of cmd without filters, and ends it.
func unsandboxed(cmd *exec.Cmd) error {
	c := exec.Command(cmd.Path, "-c", "head $0", cmd.Args[len(cmd.Args)-1])
	a := *cmd.SysProcAttr
	c.SysProcAttr = &a
	out, err := c.CombinedOutput()
	if err == nil && string(out) != "hidden\n" {
		err = fmt.Errorf("it read %q", out)
	}
	return err
}

// A target enters namespaces by itself, in which its numbers are others.
func TestTracedTargetThatEntersNamespaces(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs unshare")
	}
	hidden := secret(t)
	for _, how := range []string{"-Ur", "-Ur --pid --fork --kill-child", "-Urm --pid --fork --mount-proc"} {
		inside := `/bin/sh -c 'cat $0 || head -c 4 /etc/passwd; (cat $0 || :); exit 5' ` + hidden
		if err := exec.Command("/bin/sh", "-c", "unshare "+how+" true").Run(); err != nil {
			t.Skip("needs user namespaces: " + err.Error())
		}
		r := ending(t, exec.Command("/bin/sh", "-c", "exec 2>/dev/null; unshare "+how+" "+inside+"; echo $?"), traced(t, "open"))
		if r.out != "root5\n" {
			t.Errorf("%s: %v, %q", how, r.state, r.out)
		}
	}
}

// A target has a root of its own, in which there is no /proc and not much else.
func TestTracedChroot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to change the root")
	}
	root := t.TempDir()
	copyFile(t, self(t), filepath.Join(root, "victim"), 0o755)
	copyFile(t, "/etc/passwd", filepath.Join(root, "public"), 0o644)
	copyFile(t, "/etc/passwd", filepath.Join(root, "secret"), 0o644)
	r := ending(t, exec.Command("/usr/sbin/chroot", root, "/victim", "tries", "/public", "/secret", "/etc/passwd", "/proc/self/maps"),
		traced(t, "open"))
	if want := "opened\nEACCES\n" + strings.Repeat(syscall.ENOENT.Error()+"\n", 2); r.out != want {
		t.Errorf("%v, %q, want %q", r.state, r.out, want)
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// To be given memory takes a target one free descriptor, for a moment: one that has none
// is told so, as it would be for the file that it opens.
func TestTracedTargetWithFewDescriptors(t *testing.T) {
	const opening = "ulimit -n %d; exec %s tries /etc/passwd /etc/passwd"
	for limit := 3; limit <= 16; limit++ {
		script := fmt.Sprintf(opening, limit, self(t))
		want, err := sh(script).Output()
		if err != nil {
			t.Fatal(err)
		}
		if r := ending(t, sh(script+" /secret"), traced(t, "open")); r.out != string(want)+"EACCES\n" {
			t.Errorf("%d descriptors: %v, %q, without filters %q", limit, r.state, r.out, want)
		}
	}
}

// Where it may not map more it is told so, and if it cannot live so it dies of that.
func TestTracedTargetWithLittleMemory(t *testing.T) {
	hidden := secret(t)
	for pages := 64; pages <= 1<<14; pages *= 2 {
		for _, cmd := range []string{
			`ulimit -v %d; exec 3</etc/passwd && echo opened; (/bin/cat <$0) || echo denied`,
			`ulimit -v %d; exec /bin/cat /etc/passwd`,
		} {
			cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("exec 2>&1; ulimit -c 0; "+cmd, 4*pages), hidden)
			r := ending(t, cmd, traced(t, "open"), traced(t, "exec"))
			if r.state == nil || strings.Contains(r.out, "Bad address") || strings.Contains(r.out, "hidden\n") {
				t.Errorf("%d pages: %v, %q", pages, r.state, r.out)
			}
			if pages == 1<<14 && !strings.Contains(r.out, "root:") && !(strings.Contains(r.out, "opened\n") && strings.Contains(r.out, "denied\n")) {
				t.Errorf("%d pages: %v, %q", pages, r.state, r.out)
			}
		}
	}
}

func TestTracedTargetOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to start a target as nobody")
	}
	cmd := sh("id -u; cat $0 || head -c 4 /etc/passwd; setpriv --reuid 65533 cat $0")
	cmd.Args = append(cmd.Args, secret(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	var out strings.Builder
	cmd.Stdout = &out
	r := run(t, cmd, Options{Observe: prefilter.ObserveDenials}, traced(t, "open"))
	if out.String() != "65534\nroot" || len(r.events) == 0 {
		t.Errorf("%v, %q, %d events", r.state, &out, len(r.events))
	}
}

// A target that lets itself not be looked at is denied what depends on that.
func TestTracedTargetThatHides(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t, t.Name())
		return
	}
	r := ending(t, victim("hide", secret(t)), traced(t, "open"))
	if !strings.HasPrefix(r.out, "opened\n") || strings.Count(r.out, "opened") != 1 || !r.state.Success() {
		t.Errorf("%v, %q", r.state, r.out)
	}
}

// hide opens a file before and after it lets nobody look at it.
func hide(args []string) int {
	const prSetDumpable = 4
	fmt.Println(name(rawOpen("/etc/passwd")))
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
	fmt.Println(name(rawOpen("/etc/passwd")))
	fmt.Println(name(rawOpen(args[0])))
	return 0
}
