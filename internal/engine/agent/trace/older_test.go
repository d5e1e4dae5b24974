//go:build linux && amd64

package trace

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/engine/launch"
	"portcullis/internal/sys"
)

// inner is set for a test that runs once more, under another kernel as it were.
const inner = "TRACE_INNER"

// withoutThreadDescriptors runs a test once more where pidfd_open knows no threads, as before Linux 6.9.
// There it is true.
func withoutThreadDescriptors(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inner) != "" {
		return true
	}
	const load, equal, ret, pidfdOpen = 0x20, 0x15, 0x06, 434
	filter := []sys.FilterInsn{
		{Code: load, K: abi.OffNr},
		{Code: equal, Jf: 3, K: pidfdOpen},
		{Code: load, K: abi.OffArgs + 8},
		{Code: equal, Jf: 1, K: syscall.O_EXCL},
		{Code: ret, K: uint32(abi.Errno(uint16(syscall.EINVAL)))},
		{Code: ret, K: uint32(abi.Allow)},
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", made.Flag())
	cmd.Env = append(os.Environ(), inner+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if _, err := launch.Start(cmd, launch.Config{Filter: filter}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("%v\n%s", err, &out)
	}
	return false
}

// Before Linux 6.9 only processes can be watched: by the number of their first thread,
// which others have not.
func TestThreadsBeforeThreadDescriptors(t *testing.T) {
	victimPath(t)
	if !withoutThreadDescriptors(t) {
		return
	}
	if fd, err := sys.PidfdThread(sys.Gettid()); err != syscall.EINVAL {
		t.Fatalf("%d, %v: expected EINVAL", fd, err)
	}
	expect(t, "open", "leader ends", 7<<8, "outlives: ok 13")
	for i := 0; i < 10; i++ {
		expect(t, "open", "ends 3", 0, "done")
	}
}
