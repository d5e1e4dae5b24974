package kernel

import (
	"io/fs"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"portcullis/internal/cbpf"
	"portcullis/internal/split"
	"portcullis/internal/sys"
)

// Exec loads the filters of stack and executes path in place of this process,
// under guards and stack. It returns only if that fails. Once a filter is in
// place a failure leaves a filtered thread behind and signals at their defaults,
// so that the caller can do no more than report it and exit.
func Exec(stack []*split.Tree, guards cbpf.Program, path string, argv, env []string) error {
	filters, err := newFilters(stack)
	if err != nil {
		return err
	}
	l, err := load(filters)
	if err != nil {
		return err
	}
	defer l.close()
	attrs := make([]sys.ExtendedAttr, len(l.progs))
	for i, fd := range l.progs {
		attrs[i] = l.bitmaps[i].attr(fd)
	}
	launch, err := sys.NewExtendedLaunch(attrs, path, argv, env)
	if err != nil {
		return &fs.PathError{Op: "exec", Path: path, Err: err}
	}
	debug.SetGCPercent(-1) // as prepare
	runtime.GOMAXPROCS(2)
	sys.RestoreOpenFiles()
	var refused atomic.Pointer[status]
	go executeConfined(launch, classic(guards), &refused)
	return awaitConfined(launch, path, &refused)
}

// executeConfined is the thread that is filtered, and that executes. It sets
// refused to what failed, or to the zero status when all is up to the launch.
func executeConfined(l *sys.ExtendedLaunch, guards []sys.FilterInsn, refused *atomic.Pointer[status]) {
	runtime.LockOSThread()
	if s := confine(guards); s != nil {
		refused.Store(s)
		return
	}
	sys.ResetHandlers()
	refused.Store(new(status))
	l.Run()
}

// awaitConfined is the thread beside it. It does not park: that would be a
// reason for the runtime to make a thread while the other one executes.
func awaitConfined(l *sys.ExtendedLaunch, path string, refused *atomic.Pointer[status]) error {
	const interval = 20_000 // ns
	for refused.Load() == nil {
		sys.Pause(interval)
	}
	if s := refused.Load(); s.Errno != 0 {
		return &LaunchError{Step: s.Step, Cause: s.Errno}
	}
	errno, n := l.Await()
	if n == l.Filters() {
		return &fs.PathError{Op: "exec", Path: path, Err: errno}
	}
	return &LaunchError{Step: "install a filter", Cause: syscall.Errno(errno)}
}
