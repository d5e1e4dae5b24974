//go:build linux && amd64

package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"portcullis/internal/sys"
)

// self is this very program, also where its file was replaced or removed.
const self = "/proc/self/exe"

// answerSeconds is how long an init stage may take to say hello. Nothing but
// start-up work of the program's own packages happens before.
const answerSeconds = 20

// probed is what ListenProbe found out about this kernel, which does not change
// while the process runs; 0 before the first launch.
var probed atomic.Uint32

// hidden is this program as the file that init stages execute, made once.
var hidden hiddenProgram

// hiddenProgram makes a stage unreachable from its first moment on. A stage is
// unfiltered and gets the token and the listener, while what this process started
// before may be filtered, of the same user, and lie in wait for it.
type hiddenProgram struct {
	once sync.Once
	file *os.File
}

// get is nil where the system does not let anonymous files be executed: there a
// stage hides as soon as it runs.
func (h *hiddenProgram) get() *os.File {
	h.once.Do(func() { h.file, _ = sys.ExecuteOnly() })
	return h.file
}

// Start starts cmd, which describes the target, under cfg.Filter, and returns
// the listener, or -1 with ListenNone. Path, Argv, Env and DeathSignal are taken
// from cmd, Ignored from this process. On success cmd.Process is the target. A
// target that cannot be executed is a *fs.PathError as from os/exec; what goes
// wrong before is a *NoInitError or *InstallError.
func Start(cmd *exec.Cmd, cfg Config) (listener int, err error) {
	if err := startable(cmd); err != nil {
		return -1, err
	}
	cfg.Path, cfg.Argv, cfg.Env = cmd.Path, cmd.Args, cmd.Environ()
	if len(cfg.Argv) == 0 {
		cfg.Argv = []string{cmd.Path}
	}
	cfg.Ignored = sys.IgnoredSignals() // the stage's runtime forgets them
	if cmd.SysProcAttr != nil {
		cfg.DeathSignal = cmd.SysProcAttr.Pdeathsig
	}
	if known := Listen(probed.Load()); cfg.Listen == ListenProbe && known != ListenNone {
		cfg.Listen = known
	}
	sock, err := startStage(cmd, &cfg)
	if err != nil {
		return -1, err
	}
	defer sys.Close(sock)
	listener, err = supervise(sock, &cfg)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return listener, err
}

func startable(cmd *exec.Cmd) error {
	a := cmd.SysProcAttr
	switch {
	case !initCalled.Load():
		return &NoInitError{errors.New("MaybeInit was not called")}
	case cmd.Process != nil:
		return errors.New("the command was started already")
	case a != nil && a.Chroot != "":
		return errors.New("SysProcAttr.Chroot is not supported: start a command that changes its root itself")
	case a != nil && a.Ptrace:
		return errors.New("SysProcAttr.Ptrace is not supported: attach to the target after Start")
	}
	return nil
}

// startStage starts cmd's process as an init stage and leaves cmd as it was,
// so that its pipes, context and Wait work on the target. What of cmd means
// something else in the stage is put into cfg.
func startStage(cmd *exec.Cmd, cfg *Config) (sock int, err error) {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	end := os.NewFile(uintptr(theirs), "init stage")
	defer end.Close()
	path, args, extra := cmd.Path, cmd.Args, cmd.ExtraFiles
	at := 3 + len(extra)
	cmd.Path, cmd.ExtraFiles = self, append(append([]*os.File(nil), extra...), end)
	if program := hidden.get(); program != nil {
		cmd.Path = pass(cmd, program)
	}
	if path == self { // the stage's own would be another file
		program, err := os.Open(self)
		if err != nil {
			sys.Close(ours)
			return -1, err
		}
		defer program.Close()
		cfg.Path = pass(cmd, program)
	}
	cmd.Args = []string{marker, strconv.Itoa(at), strconv.Itoa(len(cmd.ExtraFiles) - len(extra))}
	err = cmd.Start()
	cmd.Path, cmd.Args, cmd.ExtraFiles = path, args, extra
	if err != nil {
		sys.Close(ours)
		return -1, err
	}
	return ours, nil
}

// pass gives cmd's process one more file, and says under which path it finds it.
func pass(cmd *exec.Cmd, f *os.File) string {
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	return "/proc/self/fd/" + strconv.Itoa(2+len(cmd.ExtraFiles))
}

// supervise is the supervisor's side of the protocol.
func supervise(sock int, cfg *Config) (listener int, err error) {
	if err := greet(sock); err != nil {
		return -1, err
	}
	if err := configureStage(sock, cfg); err != nil {
		return -1, err
	}
	m, listener, err := receive(sock, cfg)
	if err != nil {
		return -1, err
	}
	if cfg.Listen == ListenProbe {
		probed.Store(uint32(m.killable))
	}
	if err := sys.SendMessage(sock, message{kind: proceed}.encode(), -1); err != nil {
		closeListener(listener)
		return -1, &InstallError{"resuming the init stage", err}
	}
	if _, _, err := receive(sock, cfg); !errors.Is(err, errExecuted) {
		closeListener(listener)
		return -1, err
	}
	return listener, nil
}

func closeListener(fd int) {
	if fd >= 0 {
		sys.Close(fd)
	}
}

// greet waits for hello. A program that never calls Init ends, or does
// something else entirely: both are the same mistake.
func greet(sock int) error {
	if err := sys.SetRecvTimeout(sock, answerSeconds); err != nil {
		return &InstallError{"setsockopt(SO_RCVTIMEO)", err}
	}
	var buf [maxMessage]byte
	n, _, err := sys.RecvMessage(sock, buf[:])
	if err == nil && decodeMessage(buf[:n]).kind != hello {
		err = errors.New("it said something else")
	}
	if err != nil {
		return &NoInitError{err}
	}
	return sys.SetRecvTimeout(sock, 0)
}

// configureStage hides this process before it tells anything: from here on
// there is a token to be kept, and soon a listener.
func configureStage(sock int, cfg *Config) error {
	if err := sys.NotDumpable(); err != nil {
		return &InstallError{"prctl(PR_SET_DUMPABLE)", err}
	}
	f, err := sys.MemFile("portcullis-configuration", cfg.encode())
	if err != nil {
		return &InstallError{stepConfig, err}
	}
	defer f.Close()
	if err := sys.SendMessage(sock, message{kind: configure}.encode(), int(f.Fd())); err != nil {
		return &InstallError{"configuring the init stage", err}
	}
	return nil
}

// errExecuted is the end of the conversation: execve closed the stage's socket.
var errExecuted = errors.New("the init stage ended before it installed the filter")

// receive waits for the stage's next message.
func receive(sock int, cfg *Config) (m message, fd int, err error) {
	var buf [maxMessage]byte
	n, fd, err := sys.RecvMessage(sock, buf[:])
	if err != nil {
		return message{}, -1, errExecuted
	}
	m = decodeMessage(buf[:n])
	switch {
	case m.kind == listening:
		return m, fd, nil
	case m.kind == failed && m.step == stepExec:
		return m, -1, &fs.PathError{Op: "exec", Path: cfg.Path, Err: m.errno}
	case m.kind == failed && m.errno != 0:
		return m, -1, &InstallError{m.step, syscall.Errno(m.errno)}
	}
	return m, -1, fmt.Errorf("the init stage said %q: expected %q or %q", m.kind, listening, failed)
}
