//go:build !unix

package guest

import (
	"errors"
	"os"
	"syscall"
)

// socketPair has no counterpart that QEMU could inherit.
func socketPair() (ours, theirs *os.File, err error) {
	return nil, nil, &NeedError{Need: "a Unix system: QEMU inherits a socket", Cause: errors.ErrUnsupported}
}

// dieWithParent has no counterpart here.
func dieWithParent() *syscall.SysProcAttr { return nil }
