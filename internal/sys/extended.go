//go:build linux && amd64

package sys

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExtendedLaunch is a prepared "install eBPF filters, then execute". As with
// Launch, the filtered thread may make no other system call in between.
type ExtendedLaunch struct {
	attrs     []ExtendedAttr
	path      *byte
	argv, env []*byte

	installed uint32 // how many filters are in place
	failed    uint32 // errno of what failed
	stay      uint32 // never changes; keeps Run in its loop
}

// NewExtendedLaunch prepares to execute path with argv and env under filters,
// installed in this order and each with ExemptLaunch. It fails with EINVAL for
// strings with a NUL.
func NewExtendedLaunch(filters []ExtendedAttr, path string, argv, env []string) (*ExtendedLaunch, error) {
	l := new(ExtendedLaunch)
	for _, f := range filters {
		f.Flags |= ExemptLaunch
		l.attrs = append(l.attrs, f)
	}
	var err error
	if l.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, err
	}
	if l.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return nil, err
	}
	l.env, err = syscall.SlicePtrFromStrings(env)
	return l, err
}

// Run installs the filters on the calling thread and executes. It never returns:
// after a failure, which Failed tells another thread, the thread stays here,
// for a filtered thread can do nothing that is sure to be allowed. The caller
// has locked its thread, set NoNewPrivs and called ResetHandlers.
//
//go:nosplit
//go:norace
func (l *ExtendedLaunch) Run() {
	for i := range l.attrs {
		_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			FlagExtended, uintptr(unsafe.Pointer(&l.attrs[i])))
		if errno != 0 {
			l.fail(errno)
		}
		atomic.AddUint32(&l.installed, 1)
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.path)),
		uintptr(unsafe.Pointer(&l.argv[0])), uintptr(unsafe.Pointer(&l.env[0])))
	l.fail(errno)
}

// fail publishes errno and stays. Reading stay keeps l, and with it all the
// kernel was pointed to, reachable.
//
//go:nosplit
//go:norace
func (l *ExtendedLaunch) fail(errno syscall.Errno) {
	atomic.StoreUint32(&l.failed, uint32(errno))
	for atomic.LoadUint32(&l.stay) == 0 {
	}
}

// Filters is how many programs Run installs.
func (l *ExtendedLaunch) Filters() int { return len(l.attrs) }

// Await waits beside Run until that has failed, and says with what errno and
// how many filters were in place by then: all, if it was executing that failed.
// When Run succeeds the calling thread is gone. There must be two processors of
// the runtime (GOMAXPROCS), for the reason that Launch.Open has, and no handler
// of signals.
func (l *ExtendedLaunch) Await() (errno syscall.Errno, installed int) {
	pause := unix.NsecToTimespec(200_000)
	l.await(&pause)
	return syscall.Errno(atomic.LoadUint32(&l.failed)), int(atomic.LoadUint32(&l.installed))
}

// await never meets the scheduler: without a check of the stack there is no
// point at which it could be preempted.
//
//go:nosplit
//go:norace
func (l *ExtendedLaunch) await(pause *unix.Timespec) {
	for atomic.LoadUint32(&l.failed) == 0 {
		syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0)
	}
}
