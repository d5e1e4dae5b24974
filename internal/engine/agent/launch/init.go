//go:build linux && amd64

package launch

import (
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"

	"portcullis/internal/sys"
)

// marker is argv[0] of the init stage.
const marker = "portcullis-init"

// exitFailure is how an init stage ends that could not execute its target.
const exitFailure = 125

// initCalled remembers that Init returned, so that Start can refuse at once
// instead of running the caller's main a second time as an init stage that
// never answers. It only ever goes from false to true.
var initCalled atomic.Bool

// Init is the init stage. In a process that Start started it does not return;
// in any other it returns at once. Call it first in main.
func Init() {
	if len(os.Args) == 3 && os.Args[0] == marker {
		sock, err := strconv.Atoi(os.Args[1])
		files, err2 := strconv.Atoi(os.Args[2])
		// A set-user-id program must not execute what its caller hands it.
		if err == nil && err2 == nil && sys.IsPacketSocket(sock) && !sys.Elevated() {
			stage{sock}.run(files)
		}
	}
	initCalled.Store(true)
}

// stage is an init stage; sock leads to the supervisor.
type stage struct{ sock int }

// run never returns. Nothing of what it does may disturb the filtered thread:
// garbage is not collected, and the two threads that wait for each other have
// all processors of the runtime to themselves, see sys.Launch.Open.
// The socket is the first of so many files that the target is not to inherit.
func (s stage) run(files int) {
	_ = sys.NotDumpable() // see hiddenProgram; execve makes the target dumpable again
	for fd := s.sock; fd < s.sock+files; fd++ {
		sys.CloseOnExec(fd)
	}
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(2)
	s.say(message{kind: hello}, -1)
	cfg, err := s.configuration()
	if err != nil {
		s.fail(stepConfig, err)
	}
	listen := cfg.Listen
	if listen == ListenProbe {
		if listen, err = probeKillable(); err != nil {
			s.fail(stepProbe, err)
		}
	}
	l, err := sys.NewLaunch(cfg.Filter, flags(listen), cfg.Path, cfg.Argv, cfg.Env, cfg.Token)
	if err != nil {
		s.fail(stepExec, err)
	}
	sys.RestoreOpenFiles()
	go s.install(l, cfg)
	s.attend(l, listen)
}

func flags(l Listen) uint {
	switch l {
	case ListenKillable:
		return sys.FlagNewListener | sys.FlagWaitKillableRecv
	case ListenPlain:
		return sys.FlagNewListener
	}
	return 0
}

func (s stage) configuration() (*Config, error) {
	var buf [maxMessage]byte
	_, fd, err := sys.RecvMessage(s.sock, buf[:])
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "configuration")
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// install becomes the filtered thread, and the target.
func (s stage) install(l *sys.Launch, cfg *Config) {
	runtime.LockOSThread()
	if cfg.DeathSignal != 0 { // belongs to the thread, and this is not the one that has it
		_ = sys.ParentDeathSignal(cfg.DeathSignal)
	}
	if err := sys.NoNewPrivs(); err != nil {
		s.fail(stepPrivs, err)
	}
	sys.ResetHandlers()
	sys.IgnoreSignals(cfg.Ignored)
	l.Run()
}

// attend is the unfiltered thread beside it: it hands the listener over and
// reports a failed execve. Success ends it.
func (s stage) attend(l *sys.Launch, listen Listen) {
	fd, installed, errno := l.Installed()
	for ; !installed; fd, installed, errno = l.Installed() {
		if errno != 0 {
			s.fail(stepSeccomp, errno)
		}
		sys.Pause(20_000)
	}
	s.say(message{kind: listening, killable: listen}, fd)
	var buf [maxMessage]byte
	if _, _, err := sys.RecvMessage(s.sock, buf[:]); err != nil {
		sys.ExitGroup(exitFailure) // the supervisor is gone
	}
	s.fail(stepExec, l.Open())
}

// say sends m; a supervisor that does not listen any more ends the stage.
func (s stage) say(m message, fd int) {
	if sys.SendMessage(s.sock, m.encode(), fd) != nil {
		sys.ExitGroup(exitFailure)
	}
}

// fail reports and ends the stage, all threads of it.
func (s stage) fail(step string, err error) {
	errno, ok := err.(syscall.Errno)
	if !ok {
		errno, step = syscall.EINVAL, step+": "+err.Error()
	}
	if len(step) > maxMessage/2 {
		step = step[:maxMessage/2]
	}
	s.say(message{kind: failed, errno: errno, step: step}, -1)
	sys.ExitGroup(exitFailure)
}
