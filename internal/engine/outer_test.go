//go:build linux && amd64

package engine

import (
	"bytes"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/engine/launch"
	"portcullis/internal/object"
	"portcullis/internal/sys"
)

// tracer is an object of filters that take a tracer.
//
//go:embed agent/trace/testdata/filters/trace.o
var tracer []byte

// traced is a program of that object.
func traced(t testing.TB, name string) Filter {
	t.Helper()
	ps, err := object.Read("trace", tracer)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Name == name {
			return ready(t, p)
		}
	}
	t.Fatalf("no program %s", name)
	return Filter{}
}

// inner tells a test that it runs under an outer filter.
const inner = "PORTCULLIS_TEST_INNER"

// denying is a classic filter that answers calls with an errno.
func denying(errno syscall.Errno, calls ...uint32) []sys.FilterInsn {
	f := []sys.FilterInsn{{Code: 0x20, K: abi.OffNr}}
	for i, nr := range calls {
		f = append(f, sys.FilterInsn{Code: 0x15, Jt: uint8(len(calls) - i), K: nr})
	}
	return append(f, sys.FilterInsn{Code: 0x06, K: uint32(abi.Allow)}, sys.FilterInsn{Code: 0x06, K: uint32(abi.Errno(uint16(errno)))})
}

// under runs a test of this binary once more, where an outer sandbox answers calls with
// an errno. It tells whether this is that run.
func under(t *testing.T, errno syscall.Errno, calls ...uint32) bool {
	t.Helper()
	return underFilter(t, denying(errno, calls...))
}

// underFilter is under, with any outer filter.
func underFilter(t *testing.T, filter []sys.FilterInsn) bool {
	t.Helper()
	if os.Getenv(inner) != "" {
		return true
	}
	cmd := victim("-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inner+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if _, err := launch.Start(cmd, launch.Config{Filter: filter}); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	switch {
	case bytes.Contains(out.Bytes(), []byte("--- SKIP: "+t.Name()+" ")):
		_, why, _ := strings.Cut(out.String(), "needs ")
		t.Skip("needs " + strings.TrimSpace(why))
	case err != nil, !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("under the outer sandbox: %v\n%s", err, &out)
	}
	return false
}

// feature is what Probe says of one.
func feature(t *testing.T, name string) Feature {
	t.Helper()
	for _, f := range Probe() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no feature %q", name)
	return Feature{}
}

// refused expects a stack not to be started, and no process to be left.
func refused(t *testing.T, name, call string, errno syscall.Errno) {
	t.Helper()
	cmd := exec.Command("/bin/true")
	_, err := Start(&Stack{[]Filter{traced(t, name)}}, cmd, Options{Engine: Agent})
	var te *TracingError
	if !errors.As(err, &te) || te.Call != call || te.Err != errno {
		t.Errorf("%s: %v, expected that %s fails with %v", name, err, call, errno)
	}
	if cmd.Process != nil && cmd.ProcessState == nil {
		t.Errorf("%s: process %d was not waited for", name, cmd.Process.Pid)
	}
}

func TestOuterSandboxWithoutPtrace(t *testing.T) {
	if !under(t, syscall.ENOSYS, syscall.SYS_PTRACE) {
		return
	}
	for _, name := range []string{"open", "serial", "inherit", "trap"} {
		refused(t, name, "ptrace", syscall.ENOSYS)
	}
	if f := feature(t, "tracing"); f.Have || !strings.Contains(f.Detail, "function not implemented") || f.Remedy == "" {
		t.Errorf("%+v", f)
	}
	if f := feature(t, "process_vm_readv"); !f.Have {
		t.Errorf("%+v", f)
	}
	// What takes no tracer goes on to work.
	if r := run(t, victim("echo"), Options{}, conformance(t, "global-count")); !r.state.Success() {
		t.Errorf("without a tracer: %v", r.state)
	}
}

func TestOuterSandboxWithoutReading(t *testing.T) {
	const processVMReadv = 310
	if !under(t, syscall.EPERM, processVMReadv) {
		return
	}
	refused(t, "open", "process_vm_readv", syscall.EPERM)
	if f := feature(t, "process_vm_readv"); f.Have || f.Detail != syscall.EPERM.Error() || f.Remedy == "" {
		t.Errorf("%+v", f)
	}
	if f := feature(t, "tracing"); !f.Have {
		t.Errorf("%+v", f)
	}
}

// A supervisor that cannot take notifications is found out before the command runs.
func TestOuterSandboxWithoutNotifications(t *testing.T) {
	const sysSeccomp, getNotifSizes = 317, 3
	if !underFilter(t, []sys.FilterInsn{
		{Code: 0x20, K: abi.OffNr},
		{Code: 0x15, Jf: 3, K: sysSeccomp},
		{Code: 0x20, K: abi.OffArgs},
		{Code: 0x15, Jf: 1, K: getNotifSizes},
		{Code: 0x06, K: uint32(abi.Errno(uint16(syscall.EPERM)))},
		{Code: 0x06, K: uint32(abi.Allow)},
	}) {
		return
	}
	for _, f := range []Filter{conformance(t, "global-count"), traced(t, "open")} {
		cmd := exec.Command("/bin/true")
		_, err := Start(&Stack{[]Filter{f}}, cmd, Options{Engine: Agent})
		var ran *exec.ExitError
		if !errors.Is(err, syscall.EPERM) || errors.As(err, &ran) || cmd.Process != nil && cmd.ProcessState == nil {
			t.Errorf("%s: %v, process %v", f.Name, err, cmd.Process)
		}
	}
}

// What is found out here is left behind neither as a process nor as a descriptor.
func TestProbeLeavesNothing(t *testing.T) {
	before := open(t)
	earlier, _ := sys.EndedChild()
	for _, name := range []string{"tracing", "process_vm_readv", "sealed memory"} {
		if f := feature(t, name); f.Needed || f.Detail == "" || !f.Have && f.Remedy == "" {
			t.Errorf("%+v", f)
		}
	}
	if after := open(t); after > before {
		t.Errorf("%d descriptors are open after, %d before", after, before)
	}
	if pid, err := sys.EndedChild(); pid != earlier {
		t.Errorf("child %d is left: %v", pid, err)
	}
}
