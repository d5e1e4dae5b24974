//go:build linux && amd64

package engine

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/event"
	"portcullis/internal/prefilter"
)

// attempts is a program that asks for what guards deny, then for what filters may.
const attempts = `
import ctypes, errno, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(nr, *args):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno(), "ok") if libc.syscall(nr, *args) == -1 else "ok"
print("io_uring", call(425, 1, 0), "listener", call(317, 1, 8, 0))
print("exec", subprocess.run(["/bin/echo", "child"], stdout=subprocess.PIPE).stdout.decode().strip())
pid = os.fork()
if pid == 0:
    os.execv("/bin/true", ["true"])
print("fork", os.waitpid(pid, 0)[1])
sys.stdout.flush()
os.execv("/bin/echo", ["echo", "last"])
`

func TestPermissiveLiftsFiltersAndNoGuard(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	for name, stack := range map[string][]Filter{
		"static":   {load(t, "no-exec")},
		"stateful": {load(t, "count-exec", "max=0")},
		"traced":   {traced(t, "open"), load(t, "no-exec")},
	} {
		for user, uid := range map[string]uint32{"root": 0, "nobody": 65534} {
			if uid != uint32(os.Getuid()) && os.Getuid() != 0 {
				continue // only root can start it
			}
			cmd := exec.Command(python, "-c", attempts)
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			}
			r := run(t, cmd, Options{Observe: prefilter.ObservePermissive}, stack...)
			if want := "io_uring ENOSYS listener EBUSY\nexec child\nfork 0\nlast\n"; r.out != want {
				t.Errorf("%s as %s: %v, printed\n%swant\n%s", name, user, r.state, r.out, want)
			}
			lifted := 0
			for _, e := range r.events {
				if e.Denies() {
					t.Errorf("%s as %s: denied: %s", name, user, e.String())
				}
				if e.Permitted && strings.HasPrefix(e.Call.Name, "execve") {
					lifted++
				}
			}
			if lifted < 3 {
				t.Errorf("%s as %s: %d programs would have been denied, want 3", name, user, lifted)
			}
		}
	}
}

// int80 is a program that makes an i386 call: mov eax, 20; int 0x80; ret.
const int80 = `
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
print("survived")
`

// x32 is a program that makes an x32 call.
const x32 = `
import ctypes
ctypes.CDLL(None).syscall(0x40000000 + 110)
print("survived")
`

func TestPermissiveKeepsOtherTablesOut(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs python3: " + err.Error())
	}
	for _, script := range []string{int80, x32} {
		r := run(t, exec.Command(python, "-c", script), Options{Observe: prefilter.ObservePermissive}, load(t, "no-exec"))
		if status := r.state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGSYS || r.out != "" {
			t.Errorf("%v, printed %q: want SIGSYS", r.state, r.out)
		}
	}
}

// Nothing is enforced by the wrong engine, or for want of a supervisor.
func TestPermissiveTakesTheAgent(t *testing.T) {
	s := &Stack{[]Filter{load(t, "no-exec")}}
	o := Options{Observe: prefilter.ObservePermissive, Engine: Kernel, Events: event.Discard{}}
	var refused *OptionError
	if _, err := Start(s, exec.Command("/bin/true"), o); !errors.As(err, &refused) {
		t.Errorf("on the kernel engine: %v", err)
	}
	o.Engine = Auto
	if err := Exec(s, "/bin/true", []string{"true"}, nil, o); !errors.As(err, &refused) {
		t.Errorf("in place: %v", err)
	}
	p, err := Start(s, exec.Command("/bin/true"), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil || p.Engine() != Agent {
		t.Errorf("%v, on engine %s", err, p.Engine())
	}
	<-p.Done()
}
