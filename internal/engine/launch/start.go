//go:build linux && amd64

package launch

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"

	"portcullis/internal/sys"
)

// self is the program that opens it.
const self = "/proc/self/exe"

// probed is what ListenProbe found out about this kernel, which does not change
// while the process runs; 0 before the first launch.
var probed atomic.Uint32

// Start starts cmd, which describes the target, under the filters of cfg: Begin
// and Install in one.
func Start(cmd *exec.Cmd, cfg Config) (listener int, err error) {
	stage, err := Begin(cmd, cfg.files()...)
	if err != nil {
		return -1, err
	}
	return stage.Install(cfg)
}

// Stage is a process that waits for its filters to become a command's target.
type Stage struct {
	cmd      *exec.Cmd
	path     string // as the command has it
	sock     int
	programs int // the first one's descriptor there
}

// Begin starts the process of cmd, which describes the target, and leaves cmd as
// it was, so that its pipes, context and Wait work on the target. The programs
// are those that Install will be told of. Install or Abandon must follow. A
// target that cannot be started is an error as from os/exec, what else goes
// wrong an *InstallError.
func Begin(cmd *exec.Cmd, programs ...*os.File) (*Stage, error) {
	if err := startable(cmd); err != nil {
		return nil, err
	}
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return nil, &InstallError{"socketpair", err}
	}
	end := os.NewFile(uintptr(theirs), "stage")
	defer end.Close()
	if err := startStage(cmd, append([]*os.File{end}, programs...)); err != nil {
		sys.Close(ours)
		return nil, err
	}
	return &Stage{cmd, cmd.Path, ours, firstExtra + len(cmd.ExtraFiles) + 1}, nil
}

// firstExtra is the descriptor of the first of exec.Cmd's ExtraFiles.
const firstExtra = 3

func startable(cmd *exec.Cmd) error {
	a := cmd.SysProcAttr
	switch {
	case cmd.Process != nil:
		return errors.New("the command was started already")
	case cmd.Path == "" && cmd.Err == nil:
		return errors.New("exec: no command") // what os/exec says, before it looks for the stage
	case a != nil && a.Chroot != "":
		return errors.New("SysProcAttr.Chroot is not supported: start a command that changes its root itself")
	case a != nil && a.Ptrace:
		return errors.New("SysProcAttr.Ptrace is not supported: attach to the target after Start")
	}
	return nil
}

// startStage starts cmd's process as a stage, with files that are not the
// target's: the socket first.
func startStage(cmd *exec.Cmd, files []*os.File) error {
	path, args, extra := cmd.Path, cmd.Args, cmd.ExtraFiles
	defer func() { cmd.Path, cmd.Args, cmd.ExtraFiles = path, args, extra }()
	cmd.ExtraFiles = append(append([]*os.File(nil), extra...), files...)
	target := path
	if path == self { // the stage's own would be another file
		program, err := os.Open(self)
		if err != nil {
			return err
		}
		defer program.Close()
		target = pass(cmd, program)
	}
	stage, err := sys.NewStage(target, own(len(extra), len(cmd.ExtraFiles)+1))
	if err != nil {
		return stageError(err, opStart, path)
	}
	defer stage.Close()
	if len(args) == 0 {
		cmd.Args = []string{path}
	}
	cmd.Path = pass(cmd, stage)
	return startError(cmd.Start(), path)
}

// own is the descriptors of the extra files from one up to another.
func own(from, to int) []int {
	var fds []int
	for i := from; i < to; i++ {
		fds = append(fds, firstExtra+i)
	}
	return fds
}

// pass gives cmd's process one more file, and says under which path it finds it.
func pass(cmd *exec.Cmd, f *os.File) string {
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	return pathOf(firstExtra + len(cmd.ExtraFiles) - 1)
}

// pathOf is a path to a descriptor, for the process that has it.
func pathOf(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// opStart is what os/exec calls it in errors.
const opStart = "fork/exec"

// stageError says what it means for op on the target path that there is no stage.
func stageError(err error, op, path string) error {
	if err == syscall.EINVAL {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return &InstallError{stepStage, err}
}

// startError says what the error of starting a stage means for the target path.
func startError(err error, path string) error {
	var pe *fs.PathError
	switch {
	case !errors.As(err, &pe) || pe.Op != opStart:
		return err
	case pe.Err == syscall.EACCES:
		return &InstallError{stepStage, pe.Err}
	case pe.Err == syscall.EMFILE, pe.Err == syscall.ENFILE, pe.Err == syscall.EAGAIN, pe.Err == syscall.ENOMEM:
		return &InstallError{"fork", pe.Err} // nothing is wrong with the target
	}
	return &fs.PathError{Op: pe.Op, Path: path, Err: pe.Err}
}

// Abandon ends a process that is not to become the target.
func (s *Stage) Abandon() {
	_ = s.cmd.Process.Kill() // before it ends by itself, with a status that looks like a target's
	sys.Close(s.sock)
	_ = s.cmd.Wait()
}

// Install puts the process under the filters of cfg, makes it the target, and returns
// the listener, or -1 with ListenNone. A target that cannot be executed is a
// *fs.PathError as from os/exec; what goes wrong before is an *InstallError, and
// the process is gone.
func (s *Stage) Install(cfg Config) (listener int, err error) {
	listener, err = s.supervise(&cfg)
	if err != nil {
		s.Abandon()
		return -1, err
	}
	sys.Close(s.sock)
	return listener, nil
}

// supervise is the supervisor's side of the protocol.
func (s *Stage) supervise(cfg *Config) (listener int, err error) {
	if err := s.order(cfg, sys.StageOrder{Token: cfg.Token}); err != nil {
		return -1, err
	}
	if listener, err = s.receiveListener(cfg); err != nil {
		return -1, err
	}
	if listener >= 0 {
		err = s.resume()
	}
	if err == nil {
		err = s.receiveEnd(cfg)
	}
	if err != nil {
		closeListener(listener)
		return -1, err
	}
	return listener, nil
}

// receiveListener is -1 where there is none to come.
func (s *Stage) receiveListener(cfg *Config) (fd int, err error) {
	if cfg.Listen == ListenNone {
		return -1, nil
	}
	fd, err = s.receive(cfg)
	switch {
	case err != nil:
		closeListener(fd)
		return -1, err
	case fd < 0: // this process has as many as it may
		return -1, &InstallError{"receiving the listener", syscall.EMFILE}
	}
	return fd, nil
}

// resume gives the word that the stage waits for.
func (s *Stage) resume() error {
	if err := sys.SendMessage(s.sock, []byte{0}, -1); err != nil {
		return &InstallError{"resuming the stage", err}
	}
	return nil
}

// receiveEnd waits until the stage is the target.
func (s *Stage) receiveEnd(cfg *Config) error {
	fd, err := s.receive(cfg)
	closeListener(fd)
	switch err {
	case errExecuted:
		return nil
	case nil:
		return errTalks
	}
	return err
}

// order sends an order with the filters. If there is a token to be kept, and soon perhaps a
// listener, it hides this process before it tells anything.
func (s *Stage) order(cfg *Config, order sys.StageOrder) error {
	if cfg.Token != 0 || cfg.Listen != ListenNone {
		if err := sys.NotDumpable(); err != nil {
			return &InstallError{"prctl(PR_SET_DUMPABLE)", err}
		}
	}
	if cfg.Listen == ListenProbe {
		found, err := Resolve()
		if err != nil {
			return err
		}
		cfg.Listen = found
	}
	return sendOrder(s.sock, cfg, order, func(i int) int { return s.programs + i })
}

// sendOrder sends a stage an order with the filters of cfg; fd is the descriptor
// that the stage has of a program.
func sendOrder(sock int, cfg *Config, order sys.StageOrder, fd func(i int) int) error {
	if cfg.Log {
		order.LogDenials()
	}
	if len(cfg.Filter) > 0 {
		order.Classic(cfg.Filter, cfg.Listen.flags())
	}
	for i, p := range cfg.Programs {
		order.Extended(fd(i), p.Extension)
	}
	message, err := order.Message()
	if err == nil {
		err = sys.SendMessage(sock, message, -1)
	}
	if err != nil {
		return &InstallError{"telling the stage", err}
	}
	return nil
}

// Resolve finds out what ListenProbe is on this kernel, once in a process.
// Install does it too, when the stage already waits. The error is an *InstallError.
func Resolve() (Listen, error) {
	if known := Listen(probed.Load()); known != ListenNone {
		return known, nil
	}
	found, err := Probe()
	if err == nil {
		probed.Store(uint32(found))
	}
	return found, err
}

func closeListener(fd int) {
	if fd >= 0 {
		sys.Close(fd)
	}
}

// errExecuted is the end of the conversation: execve closed the stage's socket.
var errExecuted = errors.New("the stage ended before it installed the filter")

// errTalks is a message that no stage sends.
var errTalks = errors.New("the stage reports a success: expected nothing more of it")

// receive waits for the stage's next message.
func (s *Stage) receive(cfg *Config) (fd int, err error) {
	var buf [64]byte
	n, fd, err := sys.RecvMessage(s.sock, buf[:])
	if err == io.EOF {
		return -1, errExecuted
	}
	if err != nil {
		return -1, &InstallError{"receiving from the stage", err}
	}
	report, err := sys.ReadStageReport(buf[:n])
	switch {
	case err != nil:
		return fd, err
	case report.Errno != 0:
		return fd, s.failure(report, cfg)
	}
	return fd, nil
}

func (s *Stage) failure(r sys.StageReport, cfg *Config) error {
	errno := syscall.Errno(r.Errno)
	switch r.Step {
	case sys.StagePrivs:
		return &InstallError{stepPrivs, errno}
	case sys.StageThread:
		return &InstallError{"clone", errno}
	case sys.StageInstall:
		return &InstallError{cfg.step(int(r.Installed)), errno}
	case sys.StageTraced:
		return &InstallError{stepExpose, errno}
	}
	return &fs.PathError{Op: opStart, Path: s.path, Err: errno}
}
