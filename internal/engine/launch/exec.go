//go:build linux && amd64

package launch

import (
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"portcullis/internal/sys"
)

// Exec installs cfg.Filter on the calling process and executes path in its
// place, without a listener. What can be known beforehand, such as a target
// that is not there, fails harmlessly. A later failure leaves behind a thread
// that is filtered and spins, a stopped garbage collector and signals at their
// defaults: the caller reports it and exits.
func Exec(path string, argv, env []string, cfg Config) error {
	if err := executable(path); err != nil {
		return &fs.PathError{Op: "exec", Path: path, Err: err}
	}
	l, err := sys.NewLaunch(cfg.Filter, 0, path, argv, env, cfg.Token)
	if err != nil {
		return &fs.PathError{Op: "exec", Path: path, Err: err}
	}
	debug.SetGCPercent(-1) // nothing may disturb the filtered thread
	runtime.GOMAXPROCS(2)
	sys.RestoreOpenFiles()
	refused := make(chan error, 1)
	go execFiltered(l, refused)
	return awaitExec(l, path, refused)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err.(*fs.PathError).Err
	case info.IsDir():
		return syscall.EACCES
	}
	return sys.Executable(path)
}

// execFiltered becomes the filtered thread, and the target.
func execFiltered(l *sys.Launch, refused chan<- error) {
	runtime.LockOSThread()
	if err := sys.NoNewPrivs(); err != nil {
		refused <- &InstallError{stepPrivs, err}
		return
	}
	sys.ResetHandlers()
	l.Run()
}

func awaitExec(l *sys.Launch, path string, refused <-chan error) error {
	_, installed, errno := l.Installed()
	for ; !installed; _, installed, errno = l.Installed() {
		if errno != 0 {
			return &InstallError{stepInstall, errno}
		}
		select {
		case err := <-refused:
			return err
		default:
			sys.Pause(20_000)
		}
	}
	return &fs.PathError{Op: "exec", Path: path, Err: l.Open()}
}
