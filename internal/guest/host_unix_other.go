//go:build unix && !linux

package guest

import "syscall"

// dieWithParent has no counterpart here: QEMU outlives a killed parent.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
