//go:build !linux

package guest

// MaybeInit does nothing: only Linux starts this program as an init.
func MaybeInit() {}

// Inside reports false: a guest runs Linux.
func Inside() bool { return false }
