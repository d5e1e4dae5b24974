//go:build !linux || !amd64

package guest

import (
	"errors"
	"os"
)

// errNoTerminal is what systems without package sys answer.
var errNoTerminal = errors.New("guest: a terminal is passed on by Linux on amd64 only")

func terminalSize(*os.File) (*winsize, error) { return nil, errNoTerminal }

func follow(*os.File, *frameWriter) (stop func(), err error) { return nil, errNoTerminal }
