package event

import (
	"syscall"
	"testing"
)

func TestErrnoNames(t *testing.T) {
	for want, e := range map[string]syscall.Errno{
		"EPERM": syscall.EPERM, "ENOSYS": syscall.ENOSYS, "EBADE": syscall.EBADE,
		"EBFONT": syscall.EBFONT, "EOVERFLOW": syscall.EOVERFLOW, "EDQUOT": syscall.EDQUOT,
		"ERFKILL": syscall.ERFKILL, "ECONNREFUSED": syscall.ECONNREFUSED, "": 41,
	} {
		if got := errnoName(int(e)); got != want {
			t.Errorf("errno %d is named %q, want %q", int(e), got, want)
		}
	}
	if errnoName(133) != "EHWPOISON" || errnoName(134) != "" || errnoName(0) != "" {
		t.Error("the table does not end at 133")
	}
}
