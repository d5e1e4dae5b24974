//go:build linux && amd64

package launch

import (
	"fmt"
	"os"
	"time"

	"portcullis/internal/sys"
)

// Config is what a target is put under: a classic filter, eBPF filters, or the
// latter after the former.
type Config struct {
	// Filter is classic BPF; empty for none.
	Filter []sys.FilterInsn
	// Listen says whether Filter notifies.
	Listen Listen
	// Token is in execveat's sixth argument, where Filter exempts it.
	Token uint64
	// Programs are exempt for the launch by the kernel.
	Programs []Program
	// Log has the kernel log what the filters deny.
	Log bool
	// Patience is how long a launch may take from when somebody else can trace its
	// threads, and keep them from going on; 0 for 10 seconds.
	Patience time.Duration
}

// patience is how long.
func (c *Config) patience() time.Duration {
	if c.Patience > 0 {
		return c.Patience
	}
	return 10 * time.Second
}

// Program is an eBPF filter, loaded.
type Program struct {
	// Name is for errors.
	Name string
	// File is the program's; it stays the caller's.
	File *os.File
	// Extension is how it is installed.
	Extension sys.Extension
}

func (c *Config) files() []*os.File {
	var files []*os.File
	for _, p := range c.Programs {
		files = append(files, p.File)
	}
	return files
}

// step names the installation after n others.
func (c *Config) step(n int) string {
	if len(c.Filter) > 0 {
		n--
	}
	if n < 0 || n >= len(c.Programs) {
		return stepInstall
	}
	return "seccomp(EXTENDED) of " + c.Programs[n].Name
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
