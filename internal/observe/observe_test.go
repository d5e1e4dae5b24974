//go:build linux && amd64

package observe

import (
	"os/exec"
	"testing"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/record"
)

// observed runs a command under an observer.
func observed(t *testing.T, argv ...string) *record.Observation {
	t.Helper()
	o, err := New()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer o.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := o.Start(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := o.Take()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestObserve(t *testing.T) {
	all := observed(t, "/bin/sh", "-c", "cat /etc/hostname; true")
	for _, c := range all.Calls {
		name, _ := syscalls.Name(c.Nr)
		t.Log(c.Task, c.Comm, name, c.Args, c.Count)
	}
	t.Log(all.Tasks, all.Steps, all.Lost, all.Foreign)
}
