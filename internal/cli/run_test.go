package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"testing"

	"portcullis"
)

// TestStartStatus tells what is wrong with CMD from what is wrong with the launch.
func TestStartStatus(t *testing.T) {
	cmd := &portcullis.Cmd{Path: "./cmd"}
	for _, c := range []struct {
		err  error
		want int
	}{
		{&fs.PathError{Op: "exec", Path: "./cmd", Err: syscall.ENOENT}, exitNotFound},
		{&fs.PathError{Op: "exec", Path: "./cmd", Err: syscall.EACCES}, exitCannotInvoke},
		{&exec.Error{Name: "cmd", Err: exec.ErrNotFound}, exitNotFound},
		{&exec.Error{Name: "cmd", Err: exec.ErrDot}, exitCannotInvoke},
		{&fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: syscall.ENOENT}, exitOurs},
		{&fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: syscall.EMFILE}, exitOurs},
		{fmt.Errorf("installing: %w", syscall.ENOENT), exitOurs},
		{errors.New("anything else"), exitOurs},
	} {
		var st *status
		if err := startStatus(cmd, c.err); !errors.As(err, &st) || st.code != c.want {
			t.Errorf("%v: %v, expected exit status %d", c.err, err, c.want)
		}
	}
}
