package kernel

import (
	"os"
	"os/exec"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/kit"
	"portcullis/internal/sys"
)

// TestGuestAudit asks the kernel whether it logs what eBPF filters deny, the last and the
// first of a stack.
func TestGuestAudit(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("needs root: to see the flags of a filter")
	}
	for _, audit := range []bool{false, true} {
		for i, flags := range flagsUnder(t, Options{Log: audit}) {
			if logs := flags&sys.FlagLog != 0; logs != audit {
				t.Errorf("filter %d is logged: %v, expected %v", i, logs, audit)
			}
		}
	}
}

// flagsUnder are the flags of two filters that are installed with options.
func flagsUnder(t *testing.T, o Options) (all [2]uint64) {
	t.Helper()
	l, err := load(plain(constant("first", abi.Errno(edom), getpgrp), constant("last", abi.KillProcess, uselib)))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer l.close()
	l.options = o
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/cat")
	cmd.Stdin = r
	err = l.launch(cbpf.Program{}, cmd)
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i], err = kit.FilterFlags(cmd.Process.Pid, uint64(i)); err != nil {
			t.Error(err)
		}
	}
	w.Close() // which ends it
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return all
}
