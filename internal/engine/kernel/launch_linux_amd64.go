package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"portcullis/internal/cbpf"
	"portcullis/internal/sys"
)

// stageLimit is how long the init stage may take to say hello. It says so first
// thing in main; what needs this long does not call MaybeInit.
const stageLimit = 30 * time.Second

// plan is what the init stage is told, as JSON in an anonymous file. The file,
// the status pipe and the programs follow each other from descriptor First on.
type plan struct {
	Path    string
	Argv    []string
	Env     []string
	Guards  []sys.FilterInsn
	Filters []bitmaps
	Ignored uint64 // signals, as sys.IgnoredSignals has them
}

// bitmaps are those of a filter.
type bitmaps struct{ Native, Compat []byte }

// attr is the filter of the program behind fd.
func (b bitmaps) attr(fd int) sys.ExtendedAttr {
	a := sys.NewExtendedAttr(fd, 0)
	a.Allow(b.Native, b.Compat)
	return a
}

// status is what the stage writes, after a byte of hello, when it fails. End of
// file without one is success, for the pipe is closed on exec.
type status struct {
	Step  string
	Errno syscall.Errno
	Exec  bool // the last step, executing the target, failed
}

// hello is the first byte of the status pipe.
const hello = 'h'

// start installs filters, and guards before them, on the target that cmd
// describes, and starts it. It is cmd that is started: Wait is its own.
func start(filters []filter, guards cbpf.Program, cmd *exec.Cmd) error {
	if err := startable(cmd); err != nil {
		return err
	}
	l, err := load(filters)
	if err != nil {
		return err
	}
	defer l.close() // the target must not reach them by way of this process
	return l.launch(guards, cmd)
}

// launch starts cmd's target under l, whose programs it closes.
func (l *loaded) launch(guards cbpf.Program, cmd *exec.Cmd) error {
	file, err := planFile(cmd, guards, l.bitmaps)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		file.Close()
		return err
	}
	defer r.Close()
	if err := startStage(cmd, append([]*os.File{file, w}, l.files()...)); err != nil {
		return err
	}
	if err := awaitStage(r, cmd.Path); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // reaps it; its status says nothing
		return err
	}
	return nil
}

// startable refuses what the stage cannot carry over.
func startable(cmd *exec.Cmd) error {
	switch {
	case len(os.Args) > 0 && os.Args[0] == Marker:
		return errNoInit()
	case cmd.Err != nil:
		return cmd.Err
	case cmd.SysProcAttr == nil:
		return nil
	case cmd.SysProcAttr.Chroot != "":
		return &UnsupportedError{What: "SysProcAttr.Chroot", Remedy: "enter the root in a program that then starts the sandbox"}
	case cmd.SysProcAttr.Ptrace:
		return &UnsupportedError{What: "SysProcAttr.Ptrace", Remedy: "attach after Start"}
	}
	return nil
}

// errNoInit is what a program that forgot MaybeInit is told.
func errNoInit() error {
	return &LaunchError{Step: "start the init stage", Cause: errors.New("it did not answer: call MaybeInit first in main")}
}

// planFile lays the plan down.
func planFile(cmd *exec.Cmd, guards cbpf.Program, filters []bitmaps) (*os.File, error) {
	p := plan{Path: cmd.Path, Argv: cmd.Args, Env: cmd.Environ(), Filters: filters, Ignored: sys.IgnoredSignals()}
	if len(p.Argv) == 0 {
		p.Argv = []string{cmd.Path}
	}
	p.Guards = classic(guards)
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return sys.MemFile("portcullis-plan", text)
}

// classic is a program as the kernel takes it.
func classic(p cbpf.Program) []sys.FilterInsn {
	var insns []sys.FilterInsn
	for _, in := range p.Insns() {
		insns = append(insns, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return insns
}

// files hands the programs over as files, which exec.Cmd can pass on.
func (l *loaded) files() []*os.File {
	files := make([]*os.File, len(l.progs))
	for i, fd := range l.progs {
		files[i] = os.NewFile(uintptr(fd), "filter "+strconv.Itoa(i))
	}
	l.progs = nil // the files own them, and startStage closes them
	return files
}

// startStage starts this program as the init stage, with extra descriptors after
// cmd's own, and closes those here. cmd is given its own description back.
func startStage(cmd *exec.Cmd, extra []*os.File) error {
	path, args, env, files := cmd.Path, cmd.Args, cmd.Env, cmd.ExtraFiles
	first := 3 + len(files)
	cmd.Path, cmd.Args, cmd.Env = "/proc/self/exe", []string{Marker, strconv.Itoa(first)}, []string{}
	cmd.ExtraFiles = append(append([]*os.File(nil), files...), extra...)
	err := cmd.Start()
	cmd.Path, cmd.Args, cmd.Env, cmd.ExtraFiles = path, args, env, files
	for _, f := range extra {
		f.Close()
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Op == "fork/exec" {
		return &LaunchError{Step: "start the init stage", Cause: pe.Err}
	}
	return err
}

// awaitStage waits until the target runs. A failure of the last step is the
// error that os/exec has for it.
func awaitStage(r *os.File, path string) error {
	if err := r.SetReadDeadline(time.Now().Add(stageLimit)); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil || first[0] != hello {
		return errNoInit()
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return &LaunchError{Step: "wait for the init stage", Cause: err}
	}
	if len(text) == 0 {
		return nil
	}
	var s status
	if err := json.Unmarshal(text, &s); err != nil {
		return &LaunchError{Step: "read the init stage's status", Cause: err}
	}
	if s.Exec {
		return &fs.PathError{Op: "fork/exec", Path: path, Err: s.Errno}
	}
	return &LaunchError{Step: s.Step, Cause: s.Errno}
}

// MaybeInit becomes the init stage, and never returns, in the process that start
// has made for it; elsewhere it does nothing. Call it first in main.
func MaybeInit() {
	// A set-user-id program must not execute what its caller hands it.
	if len(os.Args) != 2 || os.Args[0] != Marker || elevated() {
		return
	}
	first, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return
	}
	runtime.LockOSThread() // it is a thread that is filtered, and that executes
	out := os.NewFile(uintptr(first+1), "status")
	// Exit code 125 is seen by nobody but a start that has failed already.
	if _, err := out.Write([]byte{hello}); err != nil {
		os.Exit(125)
	}
	s := stage(first, out)
	report(out, s)
}

// report tells the failure and ends the process, by the unfiltered thread it is on.
func report(out *os.File, s status) {
	text, _ := json.Marshal(s)
	_, _ = out.Write(text)
	sys.ExitGroup(125)
}

// stage installs and executes; it returns only what failed before the first
// filter was in place.
func stage(first int, out *os.File) status {
	p, err := readPlan(first)
	if err != nil {
		return failure("read the plan", err)
	}
	attrs := make([]sys.ExtendedAttr, len(p.Filters))
	for i, f := range p.Filters {
		attrs[i] = f.attr(first + 2 + i)
	}
	for fd := first; fd < first+2+len(attrs); fd++ {
		syscall.CloseOnExec(fd)
	}
	l, err := sys.NewExtendedLaunch(attrs, p.Path, p.Argv, p.Env)
	if err != nil {
		s := failure("prepare the target's arguments", err)
		s.Exec = true // what os/exec says of a NUL, too
		return s
	}
	prepare(out, l, p.Ignored)
	if s := confine(p.Guards); s != nil {
		return *s
	}
	l.Run()
	return status{}
}

// confine gives up privileges and installs the guards on the calling thread; it
// returns what failed, or nil.
func confine(guards []sys.FilterInsn) *status {
	if err := sys.NoNewPrivs(); err != nil {
		s := failure("set no_new_privs", err)
		return &s
	}
	if len(guards) == 0 {
		return nil
	}
	if _, err := sys.InstallFilter(guards, 0); err != nil {
		s := failure("install the guards", err)
		return &s
	}
	return nil
}

func readPlan(fd int) (*plan, error) {
	f := os.NewFile(uintptr(fd), "plan")
	p := new(plan)
	text, err := io.ReadAll(f)
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	return p, err
}

func failure(step string, err error) status {
	s := status{Step: step, Errno: syscall.EINVAL}
	errors.As(err, &s.Errno)
	return s
}

// prepare takes from the process what could make the filtered thread call the
// kernel, the garbage collector and signal handlers, gives back what package os
// changed, and posts a second thread that no filter is put on: it tells of a
// failure, since the first may be allowed nothing any more. The two have all
// processors of the runtime to themselves, so that it makes no thread meanwhile.
func prepare(out *os.File, l *sys.ExtendedLaunch, ignored uint64) {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(2)
	sys.RestoreOpenFiles()
	sys.ResetHandlers()
	sys.IgnoreSignals(ignored)
	posted := make(chan struct{})
	go func() {
		close(posted)
		errno, n := l.Await()
		report(out, status{Step: fmt.Sprintf("install filter %d", n), Errno: errno, Exec: n == l.Filters()})
	}()
	<-posted
}
