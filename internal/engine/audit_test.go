//go:build linux && amd64

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"portcullis/internal/kit"
	"portcullis/internal/sys"
)

// TestAudit asks the kernel whether it logs what the filter of a target denies.
func TestAudit(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to see the flags of a filter")
	}
	for _, filter := range []string{"no-exec", "count-exec"} { // without a supervisor, and with one
		for _, audit := range []bool{false, true} {
			t.Run(fmt.Sprint(filter, audit), func(t *testing.T) {
				logs, err := logged(t, Options{Engine: Agent, Audit: audit}, load(t, filter))
				switch {
				case err == syscall.EIO || err == syscall.EINVAL:
					t.Skip("needs a kernel that tells the flags of filters (CONFIG_CHECKPOINT_RESTORE)")
				case err != nil || logs != audit:
					t.Errorf("the filter is logged: %v, %v; expected %v", logs, err, audit)
				}
			})
		}
	}
}

// logged tells whether the oldest filter of a target has FlagLog.
func logged(t *testing.T, o Options, f Filter) (bool, error) {
	t.Helper()
	cmd := exec.Command("/bin/cat")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = r
	p, err := Start(&Stack{[]Filter{f}}, cmd, o)
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	flags, err := kit.FilterFlags(p.Pid(), 0)
	w.Close() // which ends it
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
	<-p.Done()
	return flags&sys.FlagLog != 0, err
}
