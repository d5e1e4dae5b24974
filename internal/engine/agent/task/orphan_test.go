//go:build linux && amd64

package task

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"portcullis/internal/sys"
)

// family is a process that never waits for its child.
type family struct {
	parent *exec.Cmd
	child  int
}

func newFamily(t *testing.T) *family {
	t.Helper()
	if err := sys.Subreaper(); err != nil {
		t.Fatal(err)
	}
	lifeline, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "cat <&3 & echo $!; exec cat 3<&-")
	cmd.ExtraFiles = []*os.File{lifeline}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lifeline.Close()
	t.Cleanup(func() { in.Close(); w.Close(); cmd.Wait() })
	var child int
	fmt.Fprintln(in, "hello")
	if _, err := fmt.Fscanf(bufio.NewReader(out), "%d\nhello\n", &child); err != nil {
		t.Fatal(err) // hello says that it is cat by now, and no shell, which might wait
	}
	return &family{cmd, child}
}

// end kills the parent, whose child becomes this process's.
func (f *family) end() {
	f.parent.Process.Kill()
	f.parent.Wait()
}

func (f *family) reaped() bool { return syscall.Kill(f.child, 0) == syscall.ESRCH }

func TestWhatEndsBeforeItsParentIsReapedAfterIt(t *testing.T) {
	fam := newFamily(t)
	f := newForgotten()
	table := NewTable(f, 0)
	defer table.Close()
	c := callerIn(table, fam.child, always)
	key := c.Process()
	fd := table.procs[fam.child].fd
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	sys.Poll(fd, -1, -1)
	table.sweep()
	if !f.procs[key] || table.Len() != 0 || fam.reaped() {
		t.Fatalf("forgotten: %v, held: %d, reaped before its parent's end: %v", f.procs, table.Len(), fam.reaped())
	}
	fam.end()
	table.sweep()
	if !fam.reaped() || len(table.ended) != 0 {
		t.Errorf("reaped after its parent's end: %v, still waiting: %v", fam.reaped(), table.ended)
	}
}

func TestWhatParentsLeaveIsBounded(t *testing.T) {
	table := NewTable(newForgotten(), 0)
	defer table.Close()
	fam := newFamily(t)
	c := callerIn(table, fam.child, always)
	c.Process()
	fd := table.procs[fam.child].fd
	table.ended = make([]int, maxEnded)
	for i := range table.ended {
		table.ended[i] = -1 // as good as closed
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	sys.Poll(fd, -1, -1)
	table.dropProcess(table.procs[fam.child])
	if len(table.ended) != maxEnded {
		t.Errorf("%d processes wait for their parents: expected %d at most", len(table.ended), maxEnded)
	}
	if table.bury(); len(table.ended) != 0 {
		t.Errorf("%d descriptors of nothing are kept", len(table.ended))
	}
	fam.end()
}

func TestAwaitOrphans(t *testing.T) {
	fam := newFamily(t)
	table := NewTable(newForgotten(), 0)
	c := callerIn(table, fam.child, always)
	c.Process()
	table.AwaitOrphans() // is none yet: does not wait
	fam.end()
	waited := make(chan struct{})
	go func() {
		table.AwaitOrphans()
		close(waited)
	}()
	select {
	case <-waited:
		t.Error("it did not wait for an orphan that lives")
	default:
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	<-waited
	table.Close()
	if !fam.reaped() {
		t.Error("the orphan was not reaped")
	}
}
