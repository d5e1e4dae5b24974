//go:build !linux

package guest

import "syscall"

// MaybeInit does nothing: only Linux starts this program as an init.
func MaybeInit() {}

// Inside reports false: a guest runs Linux.
func Inside() bool { return false }

// dieWithParent has no counterpart here: QEMU outlives a killed parent.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
