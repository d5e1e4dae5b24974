// Package guest boots a Linux kernel in QEMU and runs one command in it as if it were an ordinary exec.Cmd.
//
// The guest sees the host's root file system read-only and its own tmpfs on
// /tmp; it ends with its command. The running program is its own init: it is
// packed, alone, into the initial file system, so a program that uses this
// package calls [MaybeInit] (or, in a test, [Main]) before anything else and
// is built without cgo.
package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Nobody is the uid and gid of the unprivileged user of tests.
const Nobody = 65534

// Clock selects how the guest's time passes.
type Clock int

const (
	// RealTime lets the guest's clock follow the host's.
	RealTime Clock = iota
	// Counted advances the guest's clock by one nanosecond an instruction
	// (QEMU's -icount shift=0), so that a figure does not depend on the host's load.
	Counted
)

// Config describes the machine. The zero value is one processor, 512 MiB, the
// newest kernel image and no time limit.
type Config struct {
	Kernel  string        // path of the bzImage; empty: the flavour's
	Flavour Flavour       // of the kernel
	Memory  int           // MiB; 0: 512, or 2048 for Debug
	CPUs    int           // 0: 1
	Clock   Clock         // how time passes
	Timeout time.Duration // of the whole life of the guest; 0: none
	Append  []string      // further words of the kernel command line; the last one of a kind wins
	Share   []string      // host directories the guest may write to, absolute
	Console io.Writer     // receives the console as it is written; may be nil
}

// Cmd is one command in a guest of its own. Its fields mean what they mean in
// exec.Cmd; a Cmd cannot be used twice.
type Cmd struct {
	Config Config
	Path   string   // looked up in the guest's PATH when it has no slash
	Args   []string // with the name as Args[0]
	Env    []string // nil: the environment of this process
	Dir    string   // empty: the current directory. The same path in the guest
	UID    int      // user and group of the command; 0 is root
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// TTY is a terminal of this process that takes the place of the three
	// streams: the command gets one of its own in the guest, to which this one is
	// connected, raw, until the command ends.
	TTY *os.File

	ctx     context.Context
	machine *machine
}

// Self names, as a command, the running program inside the guest, where its
// path on the host may be hidden or closed to other users. It is also found by
// the name it was started by, at the end of the PATH that a nil Env stands for.
const Self = "/run/portcullis/self"

// selfDir has the running program under its own name.
const selfDir = "/run/portcullis/bin"

// Command returns the command name with args, to be run in a machine made from cfg.
func Command(cfg Config, name string, args ...string) *Cmd {
	return CommandContext(context.Background(), cfg, name, args...)
}

// CommandContext is Command with a context: when ctx ends, so does the guest.
func CommandContext(ctx context.Context, cfg Config, name string, args ...string) *Cmd {
	return &Cmd{Config: cfg, Path: name, Args: append([]string{name}, args...), ctx: ctx}
}

// Run starts the command and waits for its end; see Wait for its errors.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns both its outputs, interleaved.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Start boots the guest and returns before the command runs. A *NeedError says
// that QEMU, the kernel image or a static executable is missing.
func (c *Cmd) Start() error {
	if c.machine != nil {
		return errors.New("guest: command already started: make a new one")
	}
	job, err := c.job()
	if err != nil {
		return err
	}
	if c.Config.Kernel == "" {
		if c.Config.Kernel, err = c.Config.Flavour.Image(); err != nil {
			return err
		}
	}
	c.machine, err = boot(c.ctx, c.Config, job)
	if err != nil {
		return err
	}
	if c.TTY == nil {
		c.machine.attach(c.Stdin, c.Stdout, c.Stderr, func() {})
		return nil
	}
	stop, err := follow(c.TTY, c.machine.frames)
	if err != nil {
		c.machine.abandon()
		return err
	}
	c.machine.attach(c.TTY, c.TTY, c.TTY, stop)
	return nil
}

// Wait waits for the end of the guest. The error is nil for exit status 0, an
// *ExitError for another end of the command, a *StartError when it could not be
// started, and a *MachineError when the guest itself did not boot, panicked,
// died or did not end in time.
func (c *Cmd) Wait() error {
	if c.machine == nil {
		return errors.New("guest: command not started: call Start first")
	}
	return c.machine.wait()
}

// Complaints returns the lines of the console in which the kernel reported a
// fault of its own (BUG, WARNING, Oops, a sanitizer). Valid after Wait.
func (c *Cmd) Complaints() []string {
	if c.machine == nil {
		return nil
	}
	return c.machine.console.complaints()
}

// Terminal is in as the terminal that it is, for Cmd.TTY, or nil.
func Terminal(in io.Reader) *os.File {
	f, ok := in.(*os.File)
	if !ok {
		return nil
	}
	if _, err := terminalSize(f); err != nil {
		return nil
	}
	return f
}

// job is what the init is told to run.
func (c *Cmd) job() (*job, error) {
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = os.Getwd(); err != nil {
			return nil, err
		}
	}
	env := c.Env
	if env == nil {
		env = hostEnv()
	}
	shares := make([]string, 0, len(c.Config.Share))
	for _, s := range c.Config.Share {
		abs, err := filepath.Abs(s)
		if err != nil {
			return nil, err
		}
		shares = append(shares, abs)
	}
	j := &job{Self: filepath.Base(os.Args[0]), Path: c.Path, Args: c.Args, Env: env, Dir: filepath.Clean(dir), UID: c.UID, Shares: shares}
	if c.TTY != nil {
		size, err := terminalSize(c.TTY)
		if err != nil {
			return nil, err
		}
		j.Terminal = size
	}
	return j, nil
}

// hostEnv is this process's environment without what names places the guest
// does not have, and with this program in its PATH.
func hostEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := cut(kv); name {
		case "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK":
		case "PATH":
			env = append(env, kv+":"+selfDir)
		default:
			env = append(env, kv)
		}
	}
	return env
}
