//go:build linux && amd64

package launch

import (
	"io/fs"
	"os"
	"syscall"

	"portcullis/internal/sys"
)

// Exec puts the calling process under the filters of cfg, without a listener,
// and executes path in its place. What can be known beforehand, such as a target
// that is not there, is an error and has changed nothing. What fails later, when
// the process is a stage already, it prints on standard error, and exits with
// 127 or 126 where the target cannot be executed and 125 otherwise.
func Exec(path string, argv, env []string, cfg Config) error {
	if err := executable(path); err != nil {
		return &fs.PathError{Op: "exec", Path: path, Err: err}
	}
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return &InstallError{"socketpair", err}
	}
	defer sys.Close(theirs)
	defer sys.Close(ours)
	if err := sendOrder(ours, &cfg, sys.StageOrder{Token: cfg.Token}, func(i int) int { return int(cfg.Programs[i].File.Fd()) }); err != nil {
		return err
	}
	return become(path, argv, env, cfg.files(), theirs)
}

// become executes the stage, which finds its order in sock.
func become(path string, argv, env []string, files []*os.File, sock int) error {
	target := path
	if path == self { // the stage's own would be another file
		program, err := os.Open(self)
		if err != nil {
			return err
		}
		defer program.Close()
		files, target = append(files, program), pathOf(int(program.Fd()))
	}
	keep := []int{sock}
	for _, f := range files {
		keep = append(keep, int(f.Fd()))
	}
	stage, err := sys.NewLastStage(target, keep, "portcullis: exec "+path+": ")
	if err != nil {
		return stageError(err, "exec", path)
	}
	defer stage.Close()
	if len(argv) == 0 {
		argv = []string{path}
	}
	err = sys.ExecKeeping(pathOf(int(stage.Fd())), argv, env, keep)
	if err == syscall.EACCES {
		return &InstallError{stepStage, err}
	}
	return &fs.PathError{Op: "exec", Path: path, Err: err}
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
