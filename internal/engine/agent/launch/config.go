//go:build linux && amd64

package launch

import (
	"fmt"

	"portcullis/internal/sys"
)

// Config is what a target is put under.
type Config struct {
	// Filter is the classic BPF to install; at least one instruction.
	Filter []sys.FilterInsn
	// Listen says whether the filter notifies.
	Listen Listen
	// Token is in execveat's sixth argument, where the filter exempts it.
	Token uint64
}

// Listen says whether a listener is made with the filter, and how its
// notifications wait.
type Listen uint8

// The ways to listen.
const (
	ListenNone     Listen = iota // a static filter
	ListenProbe                  // find out which of the other two works
	ListenKillable               // received notifications outlast signals
	ListenPlain                  // they do not: signals restart the call
)

// String names l for logs.
func (l Listen) String() string {
	switch l {
	case ListenNone:
		return "none"
	case ListenProbe:
		return "probe"
	case ListenKillable:
		return "killable"
	case ListenPlain:
		return "plain"
	}
	return fmt.Sprintf("Listen(%d)", uint8(l))
}

// flags are those of the installation.
func (l Listen) flags() uint {
	switch l {
	case ListenKillable:
		return sys.FlagNewListener | sys.FlagWaitKillableRecv
	case ListenPlain:
		return sys.FlagNewListener
	}
	return 0
}
